"""The live progress line of a training run."""

import collections
import sys
import time
from collections.abc import Collection, Mapping

from transformer.config.settings import TrainingConfig
from transformer.system import messages
from transformer.training.state import TrainingState
from transformer.training.steps import StepResult, mean_loss

REPORTS = 50  # the time to the end is estimated from so many of the last ones


def say(message: str) -> None:
    """Tell the user something on a line of stderr; a U+000A at the start leaves the progress line as it is."""
    text = message.removeprefix("\n")
    if text != message:
        messages.say("")
    messages.say(text)


def loss_figures(losses: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
    """Return the mean loss in nats as `loss` and, of several parts, each one's as `loss_PART`."""
    parts = {f"loss_{part}": mean_loss({part: losses[part]}, counts) for part in losses} if len(losses) > 1 else {}
    return {"loss": mean_loss(losses, counts), **parts}


def loss_unit(parts: Collection[str]) -> str:
    """Return the unit of the mean loss: 'nats/token', or 'nats' where it is a sum over several parts."""
    return f"nats/{next(iter(parts))}" if len(parts) == 1 else "nats"


def told_loss(figures: Mapping[str, float], parts: Collection[str]) -> str:
    """Return what `loss_figures` returned as the log tells it: 'loss 2.301 nats/token'."""
    several = ", ".join(f"{part} {figures[f'loss_{part}']:.3f}" for part in parts) if len(parts) > 1 else ""
    return f"loss {figures['loss']:.3f} {loss_unit(parts)}" + f" ({several})" * bool(several)


class Progress:
    """Collects the loss and the speed between two reports and shows them on stderr.

    Args:
        state: of the run; the sums since the last report are kept in it.
        training: its length.
    """

    def __init__(self, state: TrainingState, training: TrainingConfig) -> None:
        self.state, self.training = state, training
        self._shown = collections.deque([(state.step, state.seconds)], maxlen=REPORTS + 1)
        self._begin()

    def _begin(self) -> None:
        self._units = self._left_out = self._waited = 0.0
        self._since = time.monotonic()

    def add(self, result: StepResult, waited: float = 0.0) -> None:
        """Count one step, and the seconds it waited for its data."""
        for sums, more in ((self.state.losses, result.losses), (self.state.counts, result.counts)):
            for part, value in more.items():
                sums[part] = sums.get(part, 0.0) + value
        self._units += next(iter(result.counts.values()))
        self._waited += waited

    def leave_out(self, seconds: float) -> None:
        """Keep time spent on something else out of the speed."""
        self._left_out += seconds

    def summary(self) -> dict[str, float]:
        """Return what there is to report: loss in nats, units of its first part a second, and so on."""
        seconds = max(time.monotonic() - self._since - self._left_out, 1e-9)
        return {
            "step": self.state.step,
            "epoch": self.state.epoch + 1,
            **{name: round(value, 6) for name, value in loss_figures(self.state.losses, self.state.counts).items()},
            f"{self._unit}s_per_second": round(self._units / seconds),
            "waiting_for_data": round(self._waited / seconds, 4),  # share of the time
            "seconds": round(self.state.seconds, 1),
        }

    @property
    def _unit(self) -> str:
        return next(iter(self.state.counts), "token")

    def seconds_left(self) -> float:
        """Return the expected seconds to the end of the run, by steps or by time, whichever comes first."""
        step, seconds = self._shown[0]  # of this process, which may go on with the run of a slower one
        per_step = (self.state.seconds - seconds) / max(self.state.step - step, 1)  # validations included
        left = (self.training.max_steps - self.state.step) * per_step
        if self.training.max_minutes:
            left = min(left, self.training.max_minutes * 60 - self.state.seconds)
        return max(left, 0.0)

    def show(self, quiet: bool = False) -> None:
        """Print the line (in place on a terminal), unless it is to be `quiet`, and begin the next report."""
        now = self.summary()
        minutes, seconds = divmod(round(self.seconds_left()), 60)
        line = (
            f"step {now['step']:,}  epoch {now['epoch']}  {told_loss(now, self.state.counts)}  "
            f"{now[f'{self._unit}s_per_second']:,} {self._unit}s/s  {minutes}:{seconds:02d} left"
        )
        if not quiet:
            before, after = ("\r\033[K", "") if sys.stderr.isatty() else ("", "\n")
            print(f"{before}{line}", end=after, file=sys.stderr, flush=True)
        self.state.losses, self.state.counts = (
            dict.fromkeys(sums, 0.0) for sums in (self.state.losses, self.state.counts)
        )
        self._shown.append((self.state.step, self.state.seconds))
        self._begin()
