"""Our layers equal those of PyTorch and of Keras when they hold the same weights."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from reference import randomised

from transformer.layers.attention import MultiHeadAttention
from transformer.layers.blocks import NORM_EPSILON, DecoderLayer, EncoderLayer
from transformer.layers.masks import create_masks

WITHOUT_TORCH = "needs PyTorch; install the extra [parity]"
D_MODEL, NUM_HEADS, DFF = 24, 4, 40
SOURCE = tf.constant([[4, 5, 6, 7, 8, 9], [4, 5, 6, 0, 0, 0], [4, 0, 0, 0, 0, 0]])
TARGET = tf.constant([[2, 4, 5, 6, 7], [2, 4, 5, 0, 0], [2, 3, 4, 5, 0]])
SOURCE_MASK, TARGET_MASK, _ = create_masks(SOURCE, TARGET)
OPTIONS = [(False, "relu"), (True, "relu"), (False, "gelu"), (True, "gelu")]


def states(length, seed):
    return np.random.default_rng(seed).normal(size=(3, length, D_MODEL)).astype(np.float32)


def options(norm_first, activation):
    return {"norm_first": norm_first, "activation": activation}


def torch_options(norm_first, activation):
    shape = {"d_model": D_MODEL, "nhead": NUM_HEADS, "dim_feedforward": DFF, "layer_norm_eps": NORM_EPSILON}
    return {**shape, **options(norm_first, activation), "batch_first": True}


def copy_to_torch(torch, pairs):
    """Copy Keras layers to torch modules; Keras kernels are (in, out), those of torch (out, in)."""
    with torch.no_grad():
        for ours, theirs in pairs:
            if isinstance(ours, MultiHeadAttention):
                parts = (ours.wq, ours.wk, ours.wv)
                theirs.in_proj_weight.copy_(torch.tensor(np.concatenate([part.kernel.numpy().T for part in parts])))
                theirs.in_proj_bias.copy_(torch.tensor(np.concatenate([part.bias.numpy() for part in parts])))
                ours, theirs = ours.dense, theirs.out_proj
            if isinstance(ours, keras.layers.LayerNormalization):
                weight, bias = ours.gamma.numpy(), ours.beta.numpy()
            else:
                weight, bias = ours.kernel.numpy().T, ours.bias.numpy()
            theirs.weight.copy_(torch.tensor(weight))
            theirs.bias.copy_(torch.tensor(bias))


@pytest.mark.slow  # PyTorch is imported
@pytest.mark.parametrize("norm_first, activation", OPTIONS)
def test_encoder_layer_equals_torch(norm_first, activation):
    torch = pytest.importorskip("torch", reason=WITHOUT_TORCH)
    ours = EncoderLayer(D_MODEL, NUM_HEADS, DFF, **options(norm_first, activation))
    ours.build()
    randomised(ours)
    theirs = torch.nn.TransformerEncoderLayer(**torch_options(norm_first, activation)).eval()
    inner, outer = ours.ffn.layers
    copy_to_torch(
        torch,
        [
            (ours.mha, theirs.self_attn),
            (inner, theirs.linear1),
            (outer, theirs.linear2),
            (ours.layernorm1, theirs.norm1),
            (ours.layernorm2, theirs.norm2),
        ],
    )
    x = states(6, 1)
    hidden = torch.tensor(SOURCE.numpy() == 0)  # torch's True = hidden
    expected = theirs(torch.tensor(x), src_key_padding_mask=hidden).detach().numpy()
    real = SOURCE.numpy() != 0
    np.testing.assert_allclose(ours(x, False, SOURCE_MASK).numpy()[real], expected[real], rtol=1e-5, atol=1e-5)
    unmasked = theirs(torch.tensor(x)).detach()
    np.testing.assert_allclose(ours(x, False, None), unmasked, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # PyTorch is imported
@pytest.mark.parametrize("norm_first, activation", OPTIONS)
def test_decoder_layer_equals_torch(norm_first, activation):
    torch = pytest.importorskip("torch", reason=WITHOUT_TORCH)
    ours = DecoderLayer(D_MODEL, NUM_HEADS, DFF, **options(norm_first, activation))
    ours.build()
    randomised(ours)
    theirs = torch.nn.TransformerDecoderLayer(**torch_options(norm_first, activation)).eval()
    inner, outer = ours.ffn.layers
    copy_to_torch(
        torch,
        [
            (ours.mha1, theirs.self_attn),
            (ours.mha2, theirs.multihead_attn),
            (inner, theirs.linear1),
            (outer, theirs.linear2),
            (ours.layernorm1, theirs.norm1),
            (ours.layernorm2, theirs.norm2),
            (ours.layernorm3, theirs.norm3),
        ],
    )
    x, memory = states(5, 1), states(6, 2)
    expected = theirs(
        torch.tensor(x),
        torch.tensor(memory),
        tgt_mask=torch.triu(torch.ones(5, 5, dtype=torch.bool), diagonal=1),
        tgt_key_padding_mask=torch.tensor(TARGET.numpy() == 0),
        memory_key_padding_mask=torch.tensor(SOURCE.numpy() == 0),
    )
    output, _, _ = ours(x, memory, False, TARGET_MASK, SOURCE_MASK)
    np.testing.assert_allclose(output, expected.detach(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_multi_head_attention_equals_keras(masked):
    ours = MultiHeadAttention(D_MODEL, NUM_HEADS)
    ours.build((None, None, D_MODEL))
    randomised(ours)
    theirs = keras.layers.MultiHeadAttention(NUM_HEADS, D_MODEL // NUM_HEADS)
    q, v, k = states(5, 1), states(6, 2), states(6, 3)
    theirs.build(q.shape, v.shape, k.shape)
    heads = (D_MODEL, NUM_HEADS, D_MODEL // NUM_HEADS)
    theirs.set_weights(
        [
            array
            for part in (ours.wq, ours.wk, ours.wv)
            for array in (part.kernel.numpy().reshape(heads), part.bias.numpy().reshape(heads[1:]))
        ]
        + [ours.dense.kernel.numpy().reshape((*heads[1:], D_MODEL)), ours.dense.bias.numpy()]
    )
    mask = SOURCE_MASK if masked else None
    attention_mask = tf.repeat(mask[:, 0], 5, axis=1) if masked else None  # (B, T, S)
    expected = theirs(q, v, k, attention_mask=attention_mask, return_attention_scores=True)
    for result, reference in zip(ours(v, k, q, mask), expected, strict=True):
        np.testing.assert_allclose(result, reference, rtol=1e-5, atol=1e-5)
