"""The systems that `language_model_speed.py` compares: nanoGPT's model for a CPU, trained on given windows.

    python language_model_systems.py NAME WINDOWS.npy THREADS

is one system in a process of its own. It makes a step of each batch of windows, ids (N, B, T + 1), says "ready", then
makes them all again for each line on standard input and prints the seconds it took. Nothing of this package is imported
but by the system `transformer`, so that a peer may live in another environment.
"""

import os
import sys
import time

LAYERS, WIDTH, HEADS, CONTEXT, RATE, DECAY = 4, 128, 4, 64, 1e-3, 0.1


def transformer(threads, vocabulary):
    """Return a step of this package's trainer."""
    import tensorflow as tf

    from transformer.config.run import Config
    from transformer.data.tokenizers.exact import FIRST_ID, Characters
    from transformer.data.tokenizers.vocabularies import TextVocabulary
    from transformer.tasks.language_model import LanguageModel
    from transformer.training.cluster import open_strategy
    from transformer.training.optimizer import build_optimizer
    from transformer.training.steps import Steps

    strategy = open_strategy("single")  # two threads where the process may use two cores
    config = Config().override(
        {
            "task": {"name": "language-model"},
            "model": {
                **{"num_layers": LAYERS, "d_model": WIDTH, "num_heads": HEADS, "dff": 4 * WIDTH, "dropout_rate": 0.0},
                **{"activation": "gelu_tanh", "norm_first": True, "embeddings": "shared", "scale_embeddings": False},
                **{"positions": "learned", "max_positions": CONTEXT, "use_bias": False},
            },
            "data": {"max_tokens": CONTEXT},
            "training": {
                **{"schedule": "inverse_sqrt", "peak_learning_rate": RATE, "weight_decay": DECAY, "beta_2": 0.99},
                "label_smoothing": 0.0,
            },
        }
    )
    characters = Characters.of([chr(0x4E00 + i) for i in range(vocabulary - FIRST_ID)])
    task = LanguageModel(config, TextVocabulary(characters), {})
    network = task.network("float32")
    steps = Steps(task, network, build_optimizer(config, network.trainable_variables), config.training, strategy)

    def step(window):
        steps.train([{"ids": window[:, :-1], "labels": window[:, 1:]}])

    return step, tf.constant


def pytorch(threads, vocabulary):
    """Return a step of the same model in plain PyTorch, with its fused attention and fused AdamW."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)

    class Block(nn.Module):
        """A layer of pre-norm self-attention and feed-forward."""

        def __init__(self):
            super().__init__()
            self.norm1, self.norm2 = nn.LayerNorm(WIDTH, bias=False), nn.LayerNorm(WIDTH, bias=False)
            self.joint, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=False), nn.Linear(WIDTH, WIDTH, bias=False)
            self.inner, self.outer = nn.Linear(WIDTH, 4 * WIDTH, bias=False), nn.Linear(4 * WIDTH, WIDTH, bias=False)

        def forward(self, x):
            batch, length, _ = x.shape
            parts = self.joint(self.norm1(x)).view(batch, length, 3, HEADS, -1).permute(2, 0, 3, 1, 4)
            heads = functional.scaled_dot_product_attention(*parts, is_causal=True)
            x = x + self.out(heads.transpose(1, 2).reshape(batch, length, WIDTH))
            return x + self.outer(functional.gelu(self.inner(self.norm2(x)), approximate="tanh"))

    class Model(nn.Module):
        """The whole, whose output is tied to the embedding."""

        def __init__(self):
            super().__init__()
            self.tokens, self.places = nn.Embedding(vocabulary, WIDTH), nn.Embedding(CONTEXT, WIDTH)
            self.layers = nn.Sequential(*(Block() for _ in range(LAYERS)))
            self.norm = nn.LayerNorm(WIDTH, bias=False)
            for weights in self.parameters():
                if weights.ndim == 2:
                    nn.init.normal_(weights, std=0.02)

        def forward(self, ids):
            x = self.tokens(ids) + self.places.weight[: ids.shape[1]]
            return self.norm(self.layers(x)) @ self.tokens.weight.T

    model = Model()
    optimizer = torch.optim.AdamW(model.parameters(), RATE, (0.9, 0.99), weight_decay=DECAY, fused=True)

    def step(window):
        logits = model(window[:, :-1])
        loss = functional.cross_entropy(logits.flatten(0, 1), window[:, 1:].flatten())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        return loss.item()

    return step, lambda array: torch.from_numpy(array).long()


SYSTEMS = {system.__name__: system for system in (transformer, pytorch)}


def main() -> int:
    """Be one system until standard input ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name, path, threads = sys.argv[1:4]
    import numpy as np

    windows = np.load(path)
    step, convert = SYSTEMS[name](int(threads), int(windows.max()) + 1)
    batches = [convert(batch) for batch in windows]

    def once():
        start = time.perf_counter()
        for batch in batches:
            step(batch)
        return time.perf_counter() - start

    once()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(once(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
