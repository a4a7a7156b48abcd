"""What a run tells of itself: JSON lines always, TensorBoard's event files on request."""

import json
from typing import Any

import tensorflow as tf

from transformer.checkpoints.run_directory import RunDirectory
from transformer.system.errors import EnvironmentFailure, UserError


def check_tensorboard() -> None:
    """Raise a UserError where TensorBoard is not installed."""
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise UserError(
            "training.tensorboard needs TensorBoard; install it with: pip install 'transformer-reference[tensorboard]'"
        ) from None


class Metrics:
    """Writes records to RUN/metrics.jsonl and, with the extra `[tensorboard]`, to RUN/tensorboard.

    Args:
        run: where to.
        tensorboard: whether TensorBoard's files are written too.
        step: that training goes on from; records behind it are dropped.
        writes: False on workers that write nothing.
    """

    def __init__(self, run: RunDirectory, tensorboard: bool, step: int, writes: bool = True) -> None:
        self.run, self.writes, self.board = run, writes, None
        if not writes:
            return
        run.truncate_metrics(step)
        if tensorboard:
            self.board = tf.summary.create_file_writer(str(run.board))

    def write(self, record: dict[str, object]) -> None:
        """Append a record, whose numbers become scalars at its step; EnvironmentFailure: it cannot be written."""
        if not self.writes:
            return
        try:
            with open(self.run.metrics, "a", encoding="utf-8") as file:
                file.write(json.dumps(record) + "\n")
        except OSError as error:
            raise EnvironmentFailure(f"cannot write {self.run.metrics}: {error.strerror}; free space") from None
        if self.board:
            self._show(self.board, record)

    def _show(self, board: Any, record: dict[str, object]) -> None:
        try:
            with board.as_default(step=record["step"]):
                for name, value in record.items():
                    if name not in ("event", "step"):
                        tf.summary.scalar(f"{record['event']}/{name}", value)
            board.flush()
        except tf.errors.OpError as error:
            folder = self.run.path / "tensorboard"
            raise EnvironmentFailure(f"cannot write {folder}: {error.message}; free space") from None
