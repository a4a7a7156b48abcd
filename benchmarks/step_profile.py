r"""Show where the time of one training step goes.

    python benchmarks/step_profile.py DIR              # DIR holds Multi30k's train.en and train.de

The model and the batches are those of `training_speed.py`. Prints a JSON line a part: thread time per step in
milliseconds, all threads together, and its share; then the milliseconds of a step on the clock, the threads at work
in it on average, the operations of a step, and the share of padding in the batches.
"""

import collections
import json
import re
import sys
import tempfile
import time
from pathlib import Path

from training_speed import write_batches
from training_systems import transformer

from transformer.commands.parser import Parser
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

# The first pattern that an operation, "name:kind", matches says to which part it belongs.
PARTS = {
    "vocabulary projection, softmax and loss": r"^while",
    "optimizer and gradient norm": r"ResourceApply|L2Loss|^adam",
    "attention: scores, softmax, weighted values": r"BatchMatMul|mha.*(Softmax|softmax)|mha.*/(mul|sub|Sum)",
    "attention: transposed heads": r"mha.*(Transpose|transpose)",
    "attention: projections": r"mha",
    "feed-forward": r"/(inner|outer)",
    "layer norms": r"layernorm",
    "dropout": r"dropout|StatelessRandom",
    "embeddings": r"embedding|UnsortedSegmentSum|Gather",
}


def profile(folder: Path, steps: int) -> None:
    """Print the JSON lines."""
    import_tensorflow()
    import numpy as np
    import tensorflow as tf
    from tensorflow.tsl.profiler.protobuf import xplane_pb2

    with tempfile.TemporaryDirectory() as scratch:
        stored = Path(scratch) / "batches.npz"
        step, to_tensor = transformer(2)
        source_tokens, target_tokens = write_batches(folder, stored)
        arrays = np.load(stored)
        batches = [tuple(to_tensor(arrays[f"{part}{i}"]) for part in "abc") for i in range(len(arrays.files) // 3)]
        for batch in batches:
            step(*batch)
        start = time.perf_counter()
        for i in range(steps):
            step(*batches[i % len(batches)])
        clock = 1e3 * (time.perf_counter() - start) / steps
        tf.profiler.experimental.start(scratch)
        for i in range(steps):
            step(*batches[i % len(batches)])
        tf.profiler.experimental.stop()
        (path,) = Path(scratch).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(path.read_bytes())
    milliseconds, operations = collections.Counter(), 0
    for plane in space.planes:
        for line in plane.lines:
            for event in line.events:
                name = plane.event_metadata[event.metadata_id].name.split("#")[0]
                if not re.fullmatch(r"[\w./-]+:\w+", name):  # what is no operation: the executor, Python
                    continue
                part = next((part for part, pattern in PARTS.items() if re.search(pattern, name)), "the rest")
                milliseconds[part] += event.duration_ps / 1e9 / steps
                operations += 1
    total = sum(milliseconds.values())
    for part, spent in milliseconds.most_common():
        print(json.dumps({"part": part, "thread_ms": round(spent, 1), "share": round(spent / total, 3)}))
    tokens = source_tokens + target_tokens
    places = sum(batch[side].shape[0] * batch[side].shape[1] for batch in batches for side in (0, 2))
    print(
        json.dumps(
            {
                "step_ms": round(clock, 1),
                "threads_at_work": round(total / clock, 2),
                "operations": round(operations / steps),
                "padding": round(1 - tokens / places, 3),
            }
        )
    )


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="step_profile.py", description=__doc__.splitlines()[0])
    p.add_argument("data", metavar="DIR", help="folder with Multi30k's train.en and train.de")
    p.add_argument("--steps", type=int, default=40, metavar="N", help="steps to look at (default: %(default)s)")
    args = p.parse_args(argv)
    return exit_code(lambda: profile(Path(args.data), args.steps))


if __name__ == "__main__":
    sys.exit(main())
