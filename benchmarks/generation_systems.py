"""The systems that `generation_speed.py` compares: one GPT of random weights, built with each library.

    python generation_systems.py NAME PROMPT.npy THREADS LAYERS WIDTH HEADS TOKENS

is one system in a process of its own. It continues the prompt, ids (P,), greedily by TOKENS tokens, whatever they say,
twice, so that everything is compiled, says "ready" and the seconds of the first time, then continues it once more for
each line on standard input and prints the seconds it took. Nothing of this package is imported but by the system
`transformer`, so that a peer may live in another environment.
"""

import os
import sys
import time

VOCABULARY, CONTEXT = 8000, 512


def transformer(prompt, threads, layers, width, heads, tokens):
    """Continue with this package, compiled."""
    import tensorflow as tf

    from transformer.config.run import Config
    from transformer.data.tokenizers.exact import FIRST_ID, Characters
    from transformer.data.tokenizers.vocabularies import TextVocabulary
    from transformer.inference.generator import Generator
    from transformer.tasks.language_model import LanguageModel

    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    config = Config().override(
        {
            "task": {"name": "language-model", "start_token": False},
            "model": {
                "num_layers": layers,
                "d_model": width,
                "num_heads": heads,
                "dff": 4 * width,
                "activation": "gelu_tanh",
                "norm_first": True,
                "embeddings": "shared",
                "scale_embeddings": False,
                "positions": "learned",
                "max_positions": CONTEXT,
            },
            "data": {"max_tokens": CONTEXT},
            "search": {"beam_size": 1, "min_length": tokens - 1, "max_length": tokens},
        }
    )
    characters = Characters.of([chr(0x4E00 + i) for i in range(VOCABULARY - FIRST_ID)])
    task = LanguageModel(config, TextVocabulary(characters), {})
    generator = Generator(task, task.network("float32"), config.search, compile_after=0)
    text = characters.decode(prompt)
    return lambda: len(generator.generate([text])[0][0].ids)


def huggingface(prompt, threads, layers, width, heads, tokens):
    """Continue with `generate` of Hugging Face's GPT-2."""
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.set_num_threads(threads)
    config = GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, n_embd=width, n_layer=layers, n_head=heads)
    config.bos_token_id = config.eos_token_id = config.pad_token_id = None
    model = GPT2LMHeadModel(config).eval()
    ids = torch.from_numpy(prompt).long()[None]
    options = {"do_sample": False, "min_new_tokens": tokens, "max_new_tokens": tokens}

    def continued():
        with torch.inference_mode():
            return model.generate(ids, attention_mask=torch.ones_like(ids), **options).shape[1] - len(prompt)

    return continued


def keras_hub(prompt, threads, layers, width, heads, tokens):
    """Continue with `generate` of KerasHub's GPT-2, compiled by XLA."""
    import numpy as np
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras_hub as hub

    backbone = hub.models.GPT2Backbone(VOCABULARY, layers, heads, width, 4 * width, max_sequence_length=CONTEXT)
    model = hub.models.GPT2CausalLM(backbone, preprocessor=None)
    model.compile(sampler="greedy", jit_compile=True)
    length = len(prompt) + tokens
    inputs = {
        "token_ids": np.pad(prompt, (0, tokens))[np.newaxis],
        "padding_mask": (np.arange(length) < len(prompt)).astype(np.int32)[np.newaxis],
    }
    return lambda: model.generate(inputs, stop_token_ids=None)["token_ids"].shape[1] - len(prompt)


SYSTEMS = {system.__name__: system for system in (transformer, huggingface, keras_hub)}


def main() -> int:
    """Be one system until standard input ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name, path = sys.argv[1:3]
    threads, layers, width, heads, tokens = map(int, sys.argv[3:])
    import numpy as np

    go_on = SYSTEMS[name](np.load(path), threads, layers, width, heads, tokens)
    start = time.perf_counter()
    found = go_on()
    first = time.perf_counter() - start
    if found != tokens:
        raise SystemExit(f"{name} chose {found} tokens, not {tokens}")
    go_on()
    print("ready", flush=True)
    print(first, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        go_on()
        print(time.perf_counter() - start, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
