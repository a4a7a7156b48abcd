r"""Compare the decoding speed of this package with its peers on the same work.

    pip install -e ".[bench]"
    python benchmarks/decoding_speed.py DIR                      # DIR holds Multi30k's files

One model (4 + 4 layers, d_model 128, 8 heads, dff 512, 8,000 words untied, float32, random weights) is built with each
library and decodes the first sentences of test 2016 to 32 tokens each, whatever they say, so that all do equal work: 64
greedily, one greedily, 64 with a beam of 4. Each system is a process of its own; they take turns, one round each. Each
gets the setting that is fastest in three rounds beforehand: one thread, two threads, or two batches side by side, the
shorter and the longer sentences, with one thread each. Prints a JSON line a cell: median output tokens per second and
milliseconds per sentence, the ratio of ours to it (median of the rounds' ratios), and the seconds of its first call,
which compiles.
"""

import sys
import tempfile
from pathlib import Path

from decoding_systems import SYSTEMS, VOCABULARY
from systems import System, take_turns

from transformer.commands.parser import Parser
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

LENGTH = 32
MODES = {"batch 64 greedy": (64, 1, 1), "one sentence greedy": (1, 1, 20), "batch 64 beam 4": (64, 4, 1)}
SETTINGS = ((1, 1), (2, 1), (1, 2))  # threads, batches side by side
TRIES = 3  # rounds of each setting, the best of which counts
SCRIPT = Path(__file__).with_name("decoding_systems.py")


def write_ids(folder: Path, path: Path) -> None:
    """Write the ids of the first 64 test sentences, with start and end, padded with 0."""
    import numpy as np
    import tensorflow as tf

    from transformer.config.settings import TextConfig
    from transformer.data.examples import text_files
    from transformer.data.tokenizers.learning import train_sentencepiece
    from transformer.ids import END_ID, START_ID
    from transformer.search.searcher import padded

    texts = [line for language in ("en", "de") for line in text_files.lines(folder / f"train.{language}")]
    tokenizer = train_sentencepiece(texts, TextConfig(vocabulary_size=VOCABULARY))
    sentences = list(text_files.lines(folder / "test_2016_flickr.en"))[:64]
    rows = tokenizer.tokenize(tf.constant(sentences)).to_list()
    np.save(path, padded([[START_ID, *row, END_ID] for row in rows]))


def started(name: str, ids: Path, mode: str) -> System:
    """Return the system in the setting that is fastest in the first rounds."""
    sentences, beam, repeats = MODES[mode]
    best = None
    for threads, parallel in SETTINGS:
        if parallel > sentences:
            continue
        rest = map(str, (sentences, beam, LENGTH, repeats, parallel))
        system = System(SCRIPT, name, sys.executable, ids, threads, *rest)
        system.first, system.parallel = system.answer(), parallel
        system.tried = min(system.round() for _ in range(TRIES))
        if best is None or system.tried < best.tried:
            best, system = system, best
        if system:
            system.end()
    return best


def compare(folder: Path, names: list[str], modes: list[str], rounds: int) -> None:
    """Print the JSON lines."""
    import_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        ids = Path(scratch) / "ids.npy"
        write_ids(folder, ids)
        for mode in modes:
            systems = []
            for name in names:
                try:
                    systems.append(started(name, ids, mode))
                except UserError as error:
                    print(f"{mode}: {error}", file=sys.stderr, flush=True)

            def describe(system: System, seconds: float, mode: str = mode) -> dict[str, object]:
                return {
                    "mode": mode,
                    "side_by_side": system.parallel,
                    "tokens_per_s": round(MODES[mode][0] * LENGTH / seconds),
                    "ms_per_sentence": round(1000 * seconds / MODES[mode][0], 3),
                    "first_call_s": round(system.first, 2),
                }

            take_turns(systems, rounds, describe)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="decoding_speed.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train and test_2016_flickr files")
    p.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME", help="peers (default: all)")
    p.add_argument("--modes", nargs="+", choices=MODES, metavar="MODE", default=list(MODES), help="(default: all)")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    args = p.parse_args(argv)
    names = ["transformer", *(name for name in args.systems or SYSTEMS if name != "transformer")]
    return exit_code(lambda: compare(Path(args.data), names, args.modes, args.rounds))


if __name__ == "__main__":
    sys.exit(main())
