"""Where a training run stands, and its live progress line."""

import collections
import dataclasses
import math
import sys
import time

from transformer.config.checks import require
from transformer.config.sections import TrainingConfig
from transformer.system import messages

REPORTS = 50  # the time to the end is estimated from so many of the last ones
MOST = 2.0**62  # of any number in a position: a 64-bit integer holds it


@dataclasses.dataclass
class Position:
    """Where a run stands; saved with the weights, so that a resumed run continues exactly there."""

    step: int = 0  # optimizer steps done, those that were left out included
    epoch: int = 0
    batch: int = 0  # batches of this epoch done
    seconds: float = 0.0  # spent in the loop
    best_score: float = -math.inf  # validation BLEU, 0 where it is chance, or minus the validation loss
    best_loss: float = math.inf  # validation loss of the same weights, in nats per token
    best_step: int = 0
    lowest_loss: float = math.inf  # of all validations
    worse: int = 0  # validations since the last that brought new best weights or a lower loss
    loss_sum: float = 0.0  # since the last report: summed loss in nats
    token_sum: float = 0.0  # and target tokens
    skipped: int = 0  # steps left out, see `TrainingConfig.bad_steps`
    skipped_in_a_row: int = 0
    scale: float = 0.0  # of the loss in float16; 0: not set yet
    good_steps: int = 0  # since that scale last changed
    averaged_at: int = 0  # step at whose end kept weights were averaged

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            least = {"best_score": -math.inf, "loss_sum": -MOST}.get(name, 0)
            most = {"best_loss": math.inf, "lowest_loss": math.inf}.get(name, MOST)
            require(least <= value <= most, name, f"from {least:g} to {most:g}", value)
        for name in ("best_step", "skipped", "averaged_at"):
            require(getattr(self, name) <= self.step, name, f"at most step={self.step}", getattr(self, name))


def say(message: str) -> None:
    """Tell the user something on a line of stderr; a U+000A at the start leaves the progress line as it is."""
    text = message.removeprefix("\n")
    if text != message:
        messages.say("")
    messages.say(text)


def ending(position: Position, training: TrainingConfig) -> tuple[str, str]:
    """Return why a run is at its end and what makes it go on, or two empty texts while it is not."""
    if position.step >= training.max_steps:
        return f"these are its training.max_steps = {training.max_steps:,}", "raise --max-steps to go on"
    if training.max_minutes and position.seconds >= 60 * training.max_minutes:
        return f"its training.max_minutes = {training.max_minutes:g} are over", "raise --max-minutes to go on"
    if training.patience and position.worse >= training.patience:
        scores = f"neither weights nor loss got better in training.patience = {training.patience} validations"
        return scores, "raise training.patience to go on"
    return "", ""


class Progress:
    """Collects the loss and the speed between two reports and shows them on stderr.

    Args:
        position: of the run; its sums since the last report are kept here.
        training: its length.
    """

    def __init__(self, position: Position, training: TrainingConfig) -> None:
        self.position, self.training = position, training
        self._shown = collections.deque([(position.step, position.seconds)], maxlen=REPORTS + 1)
        self._begin()

    def _begin(self) -> None:
        self._tokens = self._left_out = self._waited = 0.0
        self._since = time.monotonic()

    def add(self, total: float, tokens: float, waited: float = 0.0) -> None:
        """Count one step: its summed loss in nats, its target tokens, and the seconds it waited for its data."""
        self.position.loss_sum += total
        self.position.token_sum += tokens
        self._tokens += tokens
        self._waited += waited

    def leave_out(self, seconds: float) -> None:
        """Keep time spent on something else out of the speed."""
        self._left_out += seconds

    def summary(self) -> dict[str, float]:
        """Return what there is to report: loss in nats per target token, target tokens per second, and so on."""
        seconds = max(time.monotonic() - self._since - self._left_out, 1e-9)
        return {
            "step": self.position.step,
            "epoch": self.position.epoch + 1,
            "loss": round(self.position.loss_sum / max(self.position.token_sum, 1.0), 6),
            "tokens_per_second": round(self._tokens / seconds),
            "waiting_for_data": round(self._waited / seconds, 4),  # share of the time
            "seconds": round(self.position.seconds, 1),
        }

    def seconds_left(self) -> float:
        """Return the expected seconds to the end of the run, by steps or by time, whichever comes first."""
        step, seconds = self._shown[0]  # of this process, which may go on with the run of a slower one
        per_step = (self.position.seconds - seconds) / max(self.position.step - step, 1)  # validations included
        left = (self.training.max_steps - self.position.step) * per_step
        if self.training.max_minutes:
            left = min(left, self.training.max_minutes * 60 - self.position.seconds)
        return max(left, 0.0)

    def show(self, quiet: bool = False) -> None:
        """Print the line (in place on a terminal), unless it is to be `quiet`, and begin the next report."""
        now = self.summary()
        minutes, seconds = divmod(round(self.seconds_left()), 60)
        line = (
            f"step {now['step']:,}  epoch {now['epoch']}  loss {now['loss']:.3f} nats/token  "
            f"{now['tokens_per_second']:,} tokens/s  {minutes}:{seconds:02d} left"
        )
        if quiet:
            pass
        elif sys.stderr.isatty():
            print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)
        else:
            print(line, file=sys.stderr, flush=True)
        self.position.loss_sum = self.position.token_sum = 0.0
        self._shown.append((self.position.step, self.position.seconds))
        self._begin()
