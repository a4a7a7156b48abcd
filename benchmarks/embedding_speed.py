"""Sentences a second that are embedded with MiniLM's weights: this package and sentence-transformers.

Each system works in a process of its own, on the same lines, in interleaved rounds; the medians are told, and how far
the vectors lie apart. PYTHON is the interpreter of an environment with sentence-transformers.

    python benchmarks/embedding_speed.py runs/minilm FOLDER --texts DIR/train.en --other PYTHON

FOLDER holds MiniLM as transformers reads it: model.safetensors, config.json, tokenizer.json.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

OURS = """
import sys, time
import numpy as np
from transformer import Embedder
run, texts, out = sys.argv[1:4]
lines = open(texts, encoding="utf-8").read().split("\\n")[:-1]
embedder = Embedder.load(run)
embedder.embed(lines[:256])
start = time.perf_counter()
vectors = embedder.embed(lines)
print(time.perf_counter() - start)
np.save(out, vectors)
"""
THEIRS = """
import sys, time
import numpy as np, torch
from sentence_transformers import SentenceTransformer, models
folder, texts, out, batch, threads = sys.argv[1:6]
torch.set_num_threads(int(threads))
lines = open(texts, encoding="utf-8").read().split("\\n")[:-1]
word = models.Transformer(folder, max_seq_length=256)
pooling = models.Pooling(word.get_word_embedding_dimension())
model = SentenceTransformer(modules=[word, pooling, models.Normalize()], device="cpu")
model.encode(lines[:256], batch_size=int(batch))
start = time.perf_counter()
vectors = model.encode(lines, batch_size=int(batch), show_progress_bar=False)
print(time.perf_counter() - start)
np.save(out, vectors)
"""


def main() -> None:
    """Run the command line."""
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", metavar="RUN")
    p.add_argument("folder", metavar="FOLDER")
    p.add_argument("--texts", required=True, metavar="F")
    p.add_argument("--other", required=True, metavar="PYTHON")
    p.add_argument("--count", type=int, default=10_000, metavar="N")
    p.add_argument("--rounds", type=int, default=3, metavar="N")
    p.add_argument("--batches", type=int, nargs="+", default=[32, 128], metavar="N", help="of sentence-transformers")
    p.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N", help="likewise")
    args = p.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        texts = Path(folder, "texts")
        with open(args.texts, encoding="utf-8") as file:
            texts.write_text("".join(itertools.islice(file, args.count)), encoding="utf-8")
        count = len(texts.read_text(encoding="utf-8").split("\n")) - 1
        outs = [Path(folder, name) for name in ("ours.npy", "theirs.npy")]
        systems = {"transformer": [sys.executable, "-c", OURS, args.run, texts, outs[0]]}
        for batch, threads in itertools.product(args.batches, args.threads):
            words = [args.other, "-c", THEIRS, args.folder, texts, outs[1], str(batch), str(threads)]
            systems[f"sentence-transformers, batch {batch}, {threads} threads"] = words
        seconds: dict[str, list[float]] = {name: [] for name in systems}
        for _ in range(args.rounds):
            for name, words in systems.items():
                done = subprocess.run(list(map(str, words)), check=True, stdout=subprocess.PIPE, text=True)
                seconds[name].append(float(done.stdout.split()[-1]))
        difference = float(np.abs(np.load(outs[0]) - np.load(outs[1])).max())
    rates = {name: count / float(np.median(values)) for name, values in seconds.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} sentences a second")
    best = max(rate for name, rate in rates.items() if name != "transformer")
    print(f"{rates['transformer'] / best:.2f} times the best; largest difference of a number {difference:.1e}")


if __name__ == "__main__":
    main()
