r"""Train a language model on a large text and watch time and memory.

    python benchmarks/large_text.py FILE --work SCRATCH          # FILE is a text, such as tiny Shakespeare

Writes `--megabytes` of text, the lines of FILE in random order, a blank line behind every 40 of them, and trains a
small GPT on it by byte pairs. Prints a JSON line, as `large_corpus.py` does; most of the memory is TensorFlow's.
"""

import json
import random
import sys
import tempfile
from pathlib import Path

from large_corpus import run

from transformer.commands.parser import Parser
from transformer.system.process import exit_code

CONFIG = """
[model]
num_layers = 4
d_model = 128
num_heads = 4
dff = 512
norm_first = true
positions = "rotary"
[text]
tokenizer = "bytepair"
vocabulary_size = 4000
[task]
name = "language-model"
documents = "blank_line"
[data]
train = ["text.txt"]
max_tokens = 128
batch_tokens = 2048
cache = "{cache}"
[training]
schedule = "cosine"
peak_learning_rate = 0.001
warmup_steps = 50
max_steps = {steps}
log_every = 50
validate_every = {steps}
"""
LINES = 40  # of a document


def write_text(source: Path, path: Path, size: int) -> None:
    """Write so many bytes of text."""
    lines = [line for line in source.read_text(encoding="utf-8").splitlines() if line]
    chance, written = random.Random(0), 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8") as file:
        while written < size:
            document = "\n".join(chance.choices(lines, k=LINES)) + "\n\n"
            file.write(document)
            written += len(document.encode())


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="large_text.py", description=__doc__.splitlines()[0])
    p.add_argument("file", metavar="FILE", type=Path, help="text in UTF-8")
    p.add_argument("--work", metavar="DIR", help="folder for text, records and the run (default: a temporary one)")
    p.add_argument("--megabytes", type=int, default=100, metavar="N", help="(default: %(default)s)")
    p.add_argument("--steps", type=int, default=200, metavar="N", help="of the training (default: %(default)s)")
    args = p.parse_args(argv)

    def job() -> None:
        with tempfile.TemporaryDirectory(dir=args.work) as scratch:
            write_text(args.file, Path(scratch) / "corpus" / "text.txt", args.megabytes * 10**6)
            told = run(Path(scratch), "gpt", CONFIG, steps=args.steps)
            print(json.dumps({"megabytes": args.megabytes, **told}))

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
