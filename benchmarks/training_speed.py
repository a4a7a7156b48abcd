r"""Compare the training speed of this package with its peers on the same work.

    pip install -e ".[bench]"
    python benchmarks/training_speed.py DIR                      # DIR holds Multi30k's train.en and train.de
    python benchmarks/training_speed.py DIR --opennmt PYTHON     # a Python that has OpenNMT-tf 2.32

One model (4 + 4 layers, d_model 128, 8 heads, dff 512, 8,000 words untied, dropout and label smoothing 0.1, Adam,
float32) is built with each library and trained on the same batches of 64 sentences, sorted by length. Each system is a
process of its own; they take turns, one round each. PyTorch gets one thread or two, whichever is faster, and all that
stand on TensorFlow the products of oneDNN, through the environment that `import_tensorflow` sets here. Prints a JSON
line a system: median target tokens per second, the ratio of ours to it (median of the rounds' ratios), and the share of
the machine's float32 matrix-product peak, counting 6 FLOPs for each matrix parameter applied to a real token.
"""

import sys
import tempfile
from pathlib import Path

from systems import System, take_turns
from training_systems import INNER, LAYERS, SYSTEMS, VOCABULARY, WIDTH

from transformer.commands.parser import Parser
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SENTENCES, BATCHES = 64, 40
SCRIPT = Path(__file__).with_name("training_systems.py")
ENCODER = LAYERS * (4 * WIDTH * WIDTH + 2 * WIDTH * INNER)  # matrix parameters applied to a source token
DECODER = LAYERS * (8 * WIDTH * WIDTH + 2 * WIDTH * INNER) + WIDTH * VOCABULARY  # and to a target token
# The keys and values of the attention over the encoder output are applied to source tokens.
ENCODER, DECODER = ENCODER + LAYERS * 2 * WIDTH * WIDTH, DECODER - LAYERS * 2 * WIDTH * WIDTH


def write_batches(folder: Path, path: Path) -> tuple[int, int]:
    """Write batches of Multi30k sentences as ids; returns the real source and target tokens of all."""
    import numpy as np
    import tensorflow as tf

    from transformer.config.settings import TextConfig
    from transformer.data.examples import text_files
    from transformer.data.tokenizers.learning import train_sentencepiece
    from transformer.ids import END_ID, START_ID

    pairs = list(zip(*(text_files.lines(folder / f"train.{language}") for language in ("en", "de")), strict=True))
    tokenizer = train_sentencepiece((side for pair in pairs for side in pair), TextConfig(vocabulary_size=VOCABULARY))
    sides = [tokenizer.tokenize(tf.constant(texts)).to_list() for texts in zip(*pairs, strict=True)]
    rows = sorted(zip(*sides, strict=True), key=lambda pair: (len(pair[1]), len(pair[0])))
    every = len(rows) // SENTENCES / BATCHES  # batches of all lengths, as an epoch has them
    arrays, tokens = {}, [0, 0]

    def padded(ids):
        width = max(map(len, ids))
        return np.array([[*row, *[0] * (width - len(row))] for row in ids], np.int32)

    for i in range(BATCHES):
        first = int(i * every) * SENTENCES
        sources, targets = zip(*rows[first : first + SENTENCES], strict=True)
        arrays[f"a{i}"] = padded([[START_ID, *row, END_ID] for row in sources])
        arrays[f"b{i}"] = padded([[START_ID, *row] for row in targets])
        arrays[f"c{i}"] = padded([[*row, END_ID] for row in targets])
        tokens[0] += int((arrays[f"a{i}"] != 0).sum())
        tokens[1] += int((arrays[f"c{i}"] != 0).sum())
    np.savez(path, **arrays)
    return tokens[0], tokens[1]


def peak_flops() -> float:
    """Return the float32 matrix-product FLOPs per second of this machine."""
    import time

    import tensorflow as tf

    size = 2048
    one = tf.random.normal((size, size))
    product = tf.function(lambda: tf.reduce_sum(tf.matmul(one, one)))
    seconds = []
    for _ in range(12):
        start = time.perf_counter()
        float(product())
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def compare(folder: Path, names: list[str], rounds: int, threads: int, opennmt: str | None) -> None:
    """Print the JSON lines."""
    import_tensorflow()
    with tempfile.TemporaryDirectory() as scratch:
        batches = Path(scratch) / "batches.npz"
        source_tokens, target_tokens = write_batches(folder, batches)
        peak = peak_flops()
        flops = 6 * (ENCODER * source_tokens + DECODER * target_tokens)
        systems = []
        for name in names:
            python = opennmt if name == "opennmt_tf" else sys.executable
            tries = [System(SCRIPT, name, python, batches, threads)]
            if name in ("torch_transformer", "hf_marian") and threads > 1:
                tries.append(System(SCRIPT, name, python, batches, 1))
            best = min(tries, key=lambda system: system.round())
            for other in tries:
                if other is not best:
                    other.end()
            print(f"{name}: ready with {best.threads} threads", file=sys.stderr, flush=True)
            systems.append(best)

        def describe(system: System, seconds: float) -> dict[str, object]:
            return {
                "target_tokens_per_s": round(target_tokens / seconds),
                "share_of_peak": round(flops / seconds / peak, 3),
                "peak_gflops": round(peak / 1e9),
            }

        take_turns(systems, rounds, describe)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="training_speed.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en and train.de")
    p.add_argument("--systems", nargs="+", choices=SYSTEMS, metavar="NAME", help="peers (default: all that fit here)")
    p.add_argument("--rounds", type=int, default=5, metavar="N", help="(default: %(default)s)")
    p.add_argument("--threads", type=int, default=2, metavar="N", help="(default: %(default)s)")
    p.add_argument("--opennmt", metavar="PYTHON", help="Python of an environment that has OpenNMT-tf 2.32")
    args = p.parse_args(argv)
    names = args.systems or [name for name in SYSTEMS if name != "opennmt_tf" or args.opennmt]
    names = ["transformer", *(name for name in names if name != "transformer")]
    return exit_code(lambda: compare(Path(args.data), names, args.rounds, args.threads, args.opennmt))


if __name__ == "__main__":
    sys.exit(main())
