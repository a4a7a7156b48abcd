"""What several test modules compare with: the formulas of the paper in plain NumPy, one number or one row at a time."""

import numpy as np

from transformer.layers.positions import Rotary


def randomised(layer, seed=0):
    """Give every weight of a built layer a random value: zero biases and unit gammas would hide mistakes."""
    generator = np.random.default_rng(seed)
    for weight in layer.weights:
        if weight.trainable:
            centre = 1.0 if weight.name == "gamma" else 0.0
            weight.assign(generator.normal(centre, 0.4, weight.shape))
    return layer


def softmax(scores):
    exponents = np.exp(scores - np.max(scores))
    return exponents / exponents.sum()


def attention(q, k, v, mask=None):
    """Attention of one head of one sentence: q (T, K), k and v (S, K), mask (T, S), True = may attend."""
    weights = np.zeros((len(q), len(k)))
    for t in range(len(q)):
        allowed = [s for s in range(len(k)) if mask is None or mask[t][s]]
        weights[t, allowed] = softmax(np.array([q[t] @ k[s] / np.sqrt(q.shape[1]) for s in allowed]))
    return weights @ v, weights


def turned(x):
    """Queries or keys of one head of one sentence (T, K), each pair i and i + K / 2 turned by p / 10000^(2i / K)."""
    width = x.shape[1]
    pairs = x[:, : width // 2] + 1j * x[:, width // 2 :]
    for p in range(len(x)):
        for i in range(width // 2):
            pairs[p, i] *= np.exp(1j * p / 10000 ** (2 * i / width))
    return np.concatenate([pairs.real, pairs.imag], axis=1)


def dense(layer, x):
    return x @ layer.kernel.numpy() + layer.bias.numpy()


def multi_head_attention(mha, v, k, q, mask=None):
    """Multi-head attention of one sentence: v and k (S, D), q (T, D), mask (T, S)."""
    width = mha.d_model // mha.num_heads
    heads = []
    for head in range(mha.num_heads):
        part = slice(head * width, (head + 1) * width)
        queries, keys = dense(mha.wq, q)[:, part], dense(mha.wk, k)[:, part]
        if isinstance(mha.positions, Rotary):
            queries, keys = turned(queries), turned(keys)
        heads.append(attention(queries, keys, dense(mha.wv, v)[:, part], mask)[0])
    return dense(mha.dense, np.concatenate(heads, axis=1))


def layer_norm(layer, x):
    rows = [(row - row.mean()) / np.sqrt(((row - row.mean()) ** 2).mean() + 1e-6) for row in x]
    return np.array(rows) * layer.gamma.numpy() + layer.beta.numpy()


def feed_forward(ffn, x):
    inner, outer = ffn.layers
    return dense(outer, np.maximum(dense(inner, x), 0.0))


def residual(x, norm, sublayer, norm_first):
    """The paper's norm(x + sublayer(x)), or x + sublayer(norm(x)) where the norm comes first."""
    return x + sublayer(layer_norm(norm, x)) if norm_first else layer_norm(norm, x + sublayer(x))
