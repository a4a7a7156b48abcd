"""What tests of whole runs share: a generated corpus and the smallest config that learns from it."""

import json
import random
import re
from pathlib import Path

import keras

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.run_directory import RunDirectory
from transformer.config.run import Config
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.tasks.sequence_to_sequence import build_model

WORDS = {"um": "one", "dois": "two", "três": "three", "sol": "sun", "mar": "sea", "rio": "river", "lua": "moon"}


def pairs(count, seed=0):
    """Return unlike pairs of 1 to 5 words, each word with one translation."""
    chance, found = random.Random(seed), {}
    while len(found) < count:
        words = chance.choices(list(WORDS), k=chance.randint(1, 5))
        found[" ".join(words)] = " ".join(WORDS[word] for word in words)
    return list(found.items())


def write_corpus(folder, count=100):
    """Write `count` training and 12 validation pairs as aligned files; returns their settings in [data]."""
    data = {"train": [], "valid": []}
    every = pairs(count + 12)
    for split, rows in (("train", every[:count]), ("valid", every[count:])):
        for language, lines in zip(("pt", "en"), zip(*rows, strict=True), strict=True):
            path = folder / f"{split}.{language}"
            path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
            data[split].append(str(path))
    return data


def tiny_config(folder, data=None, **changes):
    """Return the config; `changes` are sections that override it."""
    sizes = {
        "model": {
            "num_layers": 1,
            "d_model": 16,
            "num_heads": 2,
            "dff": 32,
            "max_positions": 32,
            "embeddings": "shared",
        },
        "task": {"source_language": "pt", "target_language": "en"},
        "text": {"vocabulary_size": 300},
        "data": {
            "max_tokens": 24,
            "batch_tokens": 192,
            "length_step": 4,
            "shuffle_buffer": 64,
            "cache": str(folder / "cache"),
            **(data or {}),
        },
        "training": {"warmup_steps": 4, "score_examples": 0},
    }
    return Config().override(sizes).override(changes)


def language_model(folder, **changes):
    """Return the config of a language model of the corpus's English sentences, each a document that sees no other."""
    (folder / "text.txt").write_text("".join(f"{english}\n" for _, english in pairs(120)), encoding="utf-8")
    data = {"train": [str(folder / "text.txt")], "max_tokens": 16}
    task = {"name": "language-model", "documents": "line", "cross_documents": False}
    return (
        tiny_config(folder, text={"tokenizer": "characters"}).override({"task": task, "data": data}).override(changes)
    )


def masked_model(folder, **changes):
    """Return the config of a masked language model of the corpus's English sentences, five of them a document."""
    lines = [english for _, english in pairs(120)]
    texts = ["\n".join(lines[i : i + 5]) for i in range(0, len(lines), 5)]
    (folder / "documents.txt").write_text("\n\n".join(texts) + "\n", encoding="utf-8")
    data = {"train": [str(folder / "documents.txt")], "max_tokens": 16}
    task = {"name": "masked-lm", "documents": "blank_line"}
    return tiny_config(folder, text={"tokenizer": "wordpiece"}).override({"task": task, "data": data}).override(changes)


def contrastive(folder, **changes):
    """Return the config of vectors of the corpus's pairs."""
    config = tiny_config(folder, write_corpus(folder), text={"tokenizer": "wordpiece"})
    task = {"name": "contrastive", "source_language": "pt", "target_language": "en", "temperature": 0.2}
    return config.override({"task": task, "training": {"label_smoothing": 0.0}}).override(changes)


def denoising(folder, **changes):
    """Return the config of denoising of the corpus's sentences in both languages."""
    for side, language in enumerate(("pt", "en")):
        lines = [pair[side] for pair in pairs(120)]
        (folder / f"text.{language}").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    data = {"train": [str(folder / "text.pt"), str(folder / "text.en")], "max_tokens": 24}
    task = {"name": "denoising", "infill_rate": 0.2, "mask_rate": 0.1, "delete_rate": 0.1, "rotate_rate": 0.5}
    text = {"vocabulary_size": 320}
    return tiny_config(folder, text=text).override({"task": task, "data": data}).override(changes)


def fine_tuning(folder, name, **changes):
    """Return the config of a task with a head on an encoder, of made-up examples that can be learned.

    A text is about the sea where it says so; "sea" and "sun" are tagged; and one is asked where they are.
    """
    lines = [english for _, english in pairs(120)]
    if name == "classification":
        content = "".join(f"{line}\t{'sea' if 'sea' in line else 'land'}\n" for line in lines)
    elif name == "tagging":
        tags = {"sea": "B-WATER", "sun": "B-SKY"}
        content = "\n".join("".join(f"{word} {tags.get(word, 'O')}\n" for word in line.split()) for line in lines)
    else:
        asked = [(line, word) for line in lines for word in ("sea", "sun", "moon") if word in line]
        questions = [
            {
                "id": str(i),
                "question": f"where is {word}",
                "answers": [{"text": word, "answer_start": line.index(word)}],
            }
            for i, (line, word) in enumerate(asked)
        ]
        paragraphs = [{"context": line, "qas": [q]} for (line, _), q in zip(asked, questions, strict=True)]
        content = json.dumps({"data": [{"paragraphs": paragraphs}]})
    (folder / "examples").write_text(content, encoding="utf-8")
    task = {"name": name, **({"longest_question": 6, "stride": 2} if name == "question-answering" else {})}
    data = {"train": [str(folder / "examples")]}
    text = {"tokenizer": "wordpiece"}
    return (
        tiny_config(folder, text=text, model={"positions": "learned"})
        .override({"task": task, "data": data})
        .override(changes)
    )


def spread_parts(text=None, **model):
    """Return an untrained model whose logits are spread enough to tell hypotheses apart, and its tokenizers.

    The arguments override two sections of the config.
    """
    config = tiny_config(Path("unused"), model={"embeddings": "target", **model}, text=text or {})
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    keras.utils.set_random_seed(5)
    model = build_model(config.model, tokenizers)
    model.decoder.embedding.embeddings.assign(3 * model.decoder.embedding.embeddings)
    return model, tokenizers


def save_run(path, parts, **search):
    """Save what `spread_parts` returned as a run; `search` overrides that section of its config."""
    search = {"beam_size": 2, "max_extra_length": 4, **search}
    config = tiny_config(path, model={"embeddings": "target"}, search=search)
    return RunDirectory(write_run(path, config, parts[1], parts[0]))


def write_run(folder, config, tokenizers, model, languages=("pt", "en")):
    """Write a run directory that holds a model, as if it had been trained."""
    run = RunDirectory(folder)
    source, target = languages
    run.create(
        config,
        tokenizers,
        {"name": "numbers", "source_language": source, "target_language": target, "fingerprint": "0"},
    )
    run.unlock()
    save_arrays(run.weights(), model_variables(model))
    return run.path


def shipping_example(containing, out):
    """Return the Python example of docs/shipping.md that contains a text, for the export `out`."""
    text = Path(__file__).parents[1].joinpath("docs", "shipping.md").read_text(encoding="utf-8")
    (example,) = (block for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if containing in block)
    return example.replace("OUT/", f"{out}/")
