"""Where a training run stands, and its live progress line."""

import dataclasses
import math
import sys
import time

from transformer.config import TrainingConfig


@dataclasses.dataclass
class Position:
    """Where a run stands; saved with the weights, so that a resumed run continues exactly there."""

    step: int = 0  # optimizer steps done
    epoch: int = 0
    batch: int = 0  # batches of this epoch done
    seconds: float = 0.0  # spent in the loop
    best_score: float = -math.inf  # validation BLEU, or minus the validation loss
    best_step: int = 0


class Progress:
    """Collects the loss and the speed between two reports and shows them on stderr.

    Args:
        position: of the run; read, never changed.
        training: its length.
    """

    def __init__(self, position: Position, training: TrainingConfig):
        self.position, self.training = position, training
        self._begin()

    def _begin(self) -> None:
        self._total = self._tokens = self._left_out = 0.0
        self._since = time.monotonic()

    def add(self, total: float, tokens: float) -> None:
        """Count one step: its summed loss in nats and its target tokens."""
        self._total += total
        self._tokens += tokens

    def leave_out(self, seconds: float) -> None:
        """Keep time spent on something else out of the speed."""
        self._left_out += seconds

    def summary(self) -> dict[str, float]:
        """Return step, epoch, loss in nats per target token, and target tokens per second since the last report."""
        return {
            "step": self.position.step,
            "epoch": self.position.epoch + 1,
            "loss": round(self._total / max(self._tokens, 1.0), 4),
            "tokens_per_second": round(self._tokens / max(time.monotonic() - self._since - self._left_out, 1e-9)),
            "seconds": round(self.position.seconds, 1),
        }

    def seconds_left(self) -> float:
        """Return the expected seconds to the end of the run, by steps or by time, whichever comes first."""
        per_step = self.position.seconds / max(self.position.step, 1)  # of the whole run, validations included
        left = (self.training.max_steps - self.position.step) * per_step
        if self.training.max_minutes:
            left = min(left, self.training.max_minutes * 60 - self.position.seconds)
        return max(left, 0.0)

    def show(self) -> None:
        """Print the line (in place on a terminal) and begin the next report."""
        now = self.summary()
        minutes, seconds = divmod(round(self.seconds_left()), 60)
        line = (
            f"step {now['step']:,}  epoch {now['epoch']}  loss {now['loss']:.3f} nats/token  "
            f"{now['tokens_per_second']:,} tokens/s  {minutes}:{seconds:02d} left"
        )
        if sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self._begin()
