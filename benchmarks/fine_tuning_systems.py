"""The systems that `fine_tuning_speed.py` compares: a BERT with a head of two classes, in this package and its peer.

    python fine_tuning_systems.py NAME DATA.npz THREADS FOLDER WORK CLOCK

is one system in a process of its own. FOLDER is the model: a run directory for `transformer`, a folder of transformers
for `huggingface`. It works once, so that everything is compiled, says "ready", then works for each line on standard
input and prints the seconds that a million real tokens took, by CLOCK: `wall`, or `processor` time of the process.
WORK is `same`, the batches of DATA, or `own`, as many batches of DATA's rows, put together as the system does it.

    python fine_tuning_systems.py label SENTENCES.txt THREADS FOLDER OUT.txt ROWS ORDER

writes the label of each line with transformers, ROWS lines a batch, in the ORDER `sorted` by length or `given`.

Nothing of this package is imported but by the system `transformer`, so that the peer may live in another environment.
"""

import os
import sys
import time

RATE, DECAY, CLIP, EPSILON = 5e-5, 0.01, 1.0, 1e-8  # Devlin et al. 2019, appendix A.3
USUAL_ROWS = 32  # of a batch that is not sorted by length


def transformer(data, threads, folder, work):
    """Return a pass over the batches with this package's trainer, and how many real tokens it read."""
    import numpy as np
    import tensorflow as tf

    from transformer.checkpoints.loading import load
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.config.presets import STARTED, read_config
    from transformer.data.batches import batches
    from transformer.tasks.classification import Classification
    from transformer.training.cluster import open_strategy
    from transformer.training.optimizer import build_optimizer
    from transformer.training.preparation import stored_rows
    from transformer.training.steps import Steps

    strategy = open_strategy("single")  # two threads where the process may use two cores
    imported, network = load(RunDirectory(folder))
    recipe = {"peak_learning_rate": RATE, "weight_decay": DECAY, "clip_norm": CLIP, "epsilon": EPSILON}
    files = [str(data["source"])]
    config = read_config(STARTED["classification"], base=imported.config).override(
        {"training": recipe, "data": {"train": files, "valid": files, "max_tokens": 128}}
    )
    task = Classification(config, imported.vocabularies, imported.corpus)
    optimizer = build_optimizer(config, network.trainable_variables, task.depths(network))
    steps = Steps(task, network, optimizer, config.training, strategy)
    theirs = task.tokenizer.theirs
    ours = np.zeros(task.tokenizer.size, np.int32)
    ours[theirs[theirs >= 0]] = np.flatnonzero(theirs >= 0)

    def given():
        for i in range(int(data["batches"])):
            ids, label = ours[data[f"ids{i}"]], data[f"labels{i}"]
            yield {"ids": tf.constant(ids), "segments": tf.zeros_like(ids), "label": tf.constant(label + 1)}

    def read():
        shards = stored_rows(Classification.read(config), "train", task)
        for epoch in range(10**6):
            yield from batches(shards, task, config.data, seed=1, epoch=epoch)

    same, endless = (list(given()), None) if work == "same" else ([], read())

    def once():
        tokens = 0
        for batch in same or (next(endless) for _ in range(int(data["batches"]))):
            tokens += np.count_nonzero(batch["ids"].numpy())
            steps.train([batch])
        return tokens

    return once


def huggingface(data, threads, folder, work):
    """Return the same with transformers, a plain loop of PyTorch, its fused AdamW and its clipping."""
    import numpy as np
    import torch
    from torch.utils.data import DataLoader
    from transformers import AutoModelForSequenceClassification

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    model = AutoModelForSequenceClassification.from_pretrained(folder).train()
    matrices = [weight for weight in model.parameters() if weight.ndim > 1]
    others = [weight for weight in model.parameters() if weight.ndim < 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, RATE, (0.9, 0.999), EPSILON, fused=True)

    def batch_of(ids, labels):
        ids = torch.from_numpy(ids).long()
        mask = (ids != model.config.pad_token_id).long()
        return {"input_ids": ids, "attention_mask": mask, "labels": torch.from_numpy(labels).long()}

    def collated(rows):
        ids = np.full((len(rows), max(len(row) for row, _ in rows)), model.config.pad_token_id, np.int32)
        for place, (row, _) in enumerate(rows):
            ids[place, : len(row)] = row
        return batch_of(ids, np.array([label for _, label in rows]))

    if work == "same":
        same = [batch_of(data[f"ids{i}"], data[f"labels{i}"]) for i in range(int(data["batches"]))]
    else:
        ends = np.cumsum(data["lengths"])
        rows = list(zip(np.split(data["values"], ends[:-1]), data["labels"], strict=True))
        loader = DataLoader(rows, batch_size=USUAL_ROWS, shuffle=True, collate_fn=collated)

        def read():
            while True:
                yield from loader

        same, endless = [], read()

    def once():
        tokens = 0
        for batch in same or (next(endless) for _ in range(int(data["batches"]))):
            tokens += int(batch["attention_mask"].sum())
            model(**batch).loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return tokens

    return once


def label(path, threads, folder, out, rows, order) -> None:
    """Write a label for each line."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with open(path, encoding="utf-8") as file:
        texts = file.read().splitlines()
    places = sorted(range(len(texts)), key=lambda i: len(texts[i])) if order == "sorted" else list(range(len(texts)))
    found = [""] * len(texts)
    with torch.inference_mode():
        for start in range(0, len(places), rows):
            some = places[start : start + rows]
            batch = tokenizer([texts[i] for i in some], padding=True, truncation=True, return_tensors="pt")
            best = model(**batch).logits.softmax(-1).max(-1)
            for i, share, number in zip(some, best.values.tolist(), best.indices.tolist(), strict=True):
                found[i] = f"{model.config.id2label[number]}\t{share:.4f}\t{texts[i]}\n"
    with open(out, "w", encoding="utf-8") as file:
        file.writelines(found)


SYSTEMS = {system.__name__: system for system in (transformer, huggingface)}
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}


def main() -> int:
    """Be one system until standard input ends, or label a file."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ["HF_HUB_OFFLINE"] = "1"
    name, path, threads, folder, *rest = sys.argv[1:]
    if name == "label":
        out, rows, order = rest
        label(path, int(threads), folder, out, int(rows), order)
        return 0
    import numpy as np

    work, clock = rest
    with np.load(path) as data:
        once = SYSTEMS[name](dict(data), int(threads), folder, work)

    def measured():
        start = CLOCKS[clock]()
        tokens = once()
        return (CLOCKS[clock]() - start) / tokens * 1e6

    measured()
    print("ready", flush=True)
    for _ in sys.stdin:
        print(measured(), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
