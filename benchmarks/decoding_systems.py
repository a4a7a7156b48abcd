"""The systems that `decoding_speed.py` compares: one model of random weights, built with each library, decoding ids.

    python decoding_systems.py NAME IDS.npy THREADS SENTENCES BEAM LENGTH REPEATS PARALLEL

is one system in a process of its own. It decodes the first SENTENCES rows of ids twice, so that everything is compiled,
says "ready", then decodes them REPEATS times for each line on standard input and prints the seconds it took. Every
sentence is decoded to LENGTH tokens. PARALLEL batches are worked on side by side.
"""

import os
import sys
import time

from training_systems import HEADS, INNER, LAYERS, PAD, POSITIONS, START, VOCABULARY, WIDTH, marian_config


def _model():
    """Return this package's model."""
    from transformer.models.transformer import Transformer

    model = Transformer(LAYERS, WIDTH, HEADS, INNER, VOCABULARY, VOCABULARY, POSITIONS, POSITIONS)
    model.build()
    return model


def trimmed(ids):
    """Return ids without the columns that hold nothing but padding."""
    return ids[:, : (ids != PAD).any(axis=0).sum()]


def transformer(ids, threads, beam, length, parallel):
    """Decode with this package, compiled."""
    import numpy as np
    import tensorflow as tf

    from transformer.config.settings import SearchConfig
    from transformer.search.searcher import Searcher
    from transformer.system.threads import in_order

    tf.config.threading.set_inter_op_parallelism_threads(2)
    tf.config.threading.set_intra_op_parallelism_threads(threads)
    search = SearchConfig(beam_size=beam, length_penalty=0.0, min_length=length - 1, max_length=length)
    searcher = Searcher([_model()], search, compile_after=0)

    def decode(rows):
        size = len(rows)
        return searcher(rows, np.full(size, length, np.int32), np.full(size, length - 1, np.int32)).ids[:, 0]

    order = np.argsort((ids != PAD).sum(axis=1), kind="stable")  # as of a file, and as CTranslate2 does

    def decode_all():
        parts = [trimmed(ids[rows]) for rows in np.array_split(order, parallel)]
        found = np.concatenate(list(in_order(decode, parts)))
        return found[np.argsort(order)]

    return decode_all


class _Words:
    """Stands for a tokenizer of as many words as the vocabulary has."""

    vocabulary_size, joint = VOCABULARY, True
    words = ["<pad>", "<unk>", "<s>", "</s>", *(f"w{i}" for i in range(4, VOCABULARY))]

    def pieces(self, ids):
        return [self.words[index] for index in ids]


def _converted(folder):
    """Write this package's model for CTranslate2 and return its tokenizers."""
    from pathlib import Path
    from types import SimpleNamespace

    from transformer.checkpoints.arrays import model_variables
    from transformer.config.settings import ModelConfig
    from transformer.inference.ctranslate2_model import save

    sizes = {"num_layers": LAYERS, "d_model": WIDTH, "num_heads": HEADS, "dff": INNER, "max_positions": POSITIONS}
    arrays = {name: variable.numpy() for name, variable in model_variables(_model()).items()}
    tokenizers = SimpleNamespace(source=_Words(), target=_Words(), joint=True)
    save(arrays, ModelConfig(**sizes), tokenizers, Path(folder), "float32")
    return tokenizers


def engine(ids, threads, beam, length, parallel):
    """Decode with this package's engine for CTranslate2, float32."""
    import tempfile
    from pathlib import Path

    import numpy as np

    from transformer.config.settings import SearchConfig
    from transformer.inference import ctranslate2_engine
    from transformer.system.threads import in_order

    ctranslate2_engine.PARALLEL, ctranslate2_engine.cores_each = parallel, lambda: threads
    with tempfile.TemporaryDirectory() as folder:
        tokenizers = _converted(folder)
        fast = ctranslate2_engine.CTranslate2Engine(Path(folder), tokenizers, 1)
    search = SearchConfig(beam_size=beam, length_penalty=0.0, min_length=length - 1, max_length=length)
    sentences = [[token for token in row if token != PAD] for row in ids.tolist()]
    order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))

    def decode(places):
        rows, size = [sentences[place] for place in places], len(places)
        limits = np.full(size, length, np.int32)
        return fast.search(rows, [()] * size, limits, limits - 1, search, scored=False).ids[:, 0]

    def decode_all():
        parts = [part.tolist() for part in np.array_split(order, parallel)]
        found = np.concatenate(list(in_order(decode, parts)))
        return found[np.argsort(order)]

    return decode_all


def ctranslate2(ids, threads, beam, length, parallel):
    """Decode with CTranslate2 called by hand, float32."""
    import tempfile

    import ctranslate2
    import numpy as np

    words = _Words.words
    numbers = {word: number for number, word in enumerate(words)}
    with tempfile.TemporaryDirectory() as folder:
        _converted(folder)
        translator = ctranslate2.Translator(
            folder, device="cpu", compute_type="float32", intra_threads=threads, inter_threads=parallel
        )
    sentences = [[words[token] for token in row if token != PAD] for row in ids]
    options = {"beam_size": beam, "min_decoding_length": length, "max_decoding_length": length, "length_penalty": 0}
    options["max_batch_size"] = -(-len(ids) // parallel) if parallel > 1 else 0

    def decode():
        found = translator.translate_batch(sentences, **options)
        return np.array([[numbers[word] for word in one.hypotheses[0]] for one in found])

    return decode


def hf_marian(ids, threads, beam, length, parallel):
    """Decode with `generate` of Hugging Face's Marian model."""
    import torch
    from transformers import MarianMTModel

    torch.set_num_threads(threads)
    model = MarianMTModel(marian_config()).eval()
    model.generation_config.forced_eos_token_id = None
    source = torch.from_numpy(ids).long()
    options = {"num_beams": beam, "do_sample": False, "min_new_tokens": length, "max_new_tokens": length}

    def decode():
        with torch.inference_mode():
            return model.generate(source, attention_mask=source != PAD, **options)[:, 1:].numpy()

    return decode


def keras_hub(ids, threads, beam, length, parallel):
    """Decode with KerasHub's layers and its greedy sampler, compiled by XLA."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)
    import keras
    import keras_hub as hub
    from keras import ops

    if beam > 1:
        raise SystemExit("KerasHub's beams go on after the end of a sentence; only its greedy sampler is compared")
    positions = [hub.layers.TokenAndPositionEmbedding(VOCABULARY, POSITIONS, WIDTH) for _ in range(2)]
    encoders = [hub.layers.TransformerEncoder(INNER, HEADS) for _ in range(LAYERS)]
    decoders = [hub.layers.TransformerDecoder(INNER, HEADS) for _ in range(LAYERS)]
    output = keras.layers.Dense(VOCABULARY)
    source, target = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    x = positions[0](source)
    for layer in encoders:
        x = layer(x, padding_mask=source != PAD)
    y = positions[1](target)
    for layer in decoders:
        y = layer(y, x, encoder_padding_mask=source != PAD)
    keras.Model([source, target], output(y))  # builds the weights
    sampler = hub.samplers.GreedySampler()
    size, width = ids.shape

    @tf.function(jit_compile=True)
    def search(source_ids):
        real = source_ids != PAD
        memory = positions[0](source_ids)
        for layer in encoders:
            memory = layer(memory, padding_mask=real)
        shape = (size, LAYERS, 2, length + 1, HEADS, WIDTH // HEADS)
        cross = ops.zeros((size, LAYERS, 2, width, HEADS, WIDTH // HEADS))

        def run(tokens, own, cross, index, fill=None):
            z, owns, crosses = positions[1](tokens, start_index=index), [], []
            for i, layer in enumerate(decoders):
                z, mine, other = layer(
                    z,
                    memory,
                    encoder_padding_mask=real,
                    self_attention_cache=own[:, i],
                    self_attention_cache_update_index=index,
                    cross_attention_cache=cross[:, i],
                    cross_attention_cache_update_index=fill,
                )
                owns.append(mine)
                crosses.append(other)
            return output(z), ops.stack(owns, axis=1), ops.stack(crosses, axis=1)

        first = ops.full((size, 1), START, "int32")
        _, own, cross = run(first, ops.zeros(shape), cross, 0, fill=0)

        def following(prompt, cache, index):
            token = ops.slice(prompt, [0, index - 1], [size, 1])
            logits, cache, _ = run(token, cache, cross, index - 1)
            return logits[:, 0], None, cache

        prompt = ops.concatenate([first, ops.zeros((size, length), "int32")], axis=1)
        return sampler(following, prompt, cache=own, index=1)[:, 1:]

    given = tf.constant(ids)
    return lambda: search(given).numpy()


SYSTEMS = {system.__name__: system for system in (transformer, engine, ctranslate2, hf_marian, keras_hub)}


def main() -> int:
    """Be one system until standard input ends."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    name, path = sys.argv[1:3]
    threads, sentences, beam, length, repeats, parallel = map(int, sys.argv[3:])
    import numpy as np

    ids = trimmed(np.load(path)[:sentences])
    decode = SYSTEMS[name](ids, threads, beam, length, parallel)
    start = time.perf_counter()
    found = decode()
    first = time.perf_counter() - start
    if found.shape != (sentences, length):
        raise SystemExit(f"{name} decoded {found.shape}, not {(sentences, length)}")
    decode()
    print("ready", flush=True)
    print(first, flush=True)
    for _ in sys.stdin:
        start = time.perf_counter()
        for _ in range(repeats):
            decode()
        print((time.perf_counter() - start) / repeats, flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
