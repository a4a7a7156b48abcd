"""Where a training run stands, and when it is at its end."""

import dataclasses
import math

from transformer.config.checks import require
from transformer.config.settings import TrainingConfig

MOST = 2.0**62  # of any number in a state: a 64-bit integer holds it


@dataclasses.dataclass
class TrainingState:
    """Where a run stands; saved with the weights, so that a resumed run continues exactly there."""

    step: int = 0  # optimizer steps done, those that were left out included
    epoch: int = 0
    batch: int = 0  # batches of this epoch done
    seconds: float = 0.0  # spent in the loop
    best_score: float = -math.inf  # the task's first figure, 0 where it is chance, or minus the validation loss
    best_loss: float = math.inf  # validation loss of the same weights, in nats
    best_step: int = 0
    lowest_loss: float = math.inf  # of all validations
    worse: int = 0  # validations since the last that brought new best weights or a lower loss
    losses: dict = dataclasses.field(default_factory=dict)  # summed since the last report, in nats, by part
    counts: dict = dataclasses.field(default_factory=dict)  # and their units
    skipped: int = 0  # steps left out, see `TrainingConfig.bad_steps`
    skipped_in_a_row: int = 0
    scale: float = 0.0  # of the loss in float16; 0: not set yet
    good_steps: int = 0  # since that scale last changed
    averaged_at: int = 0  # step at whose end kept weights were averaged

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, dict):
                numbers = all(type(part) is float and -MOST <= part <= MOST for part in value.values())
                require(numbers, name, f"numbers from {-MOST:g} to {MOST:g}", value)
                continue
            least = {"best_score": -math.inf}.get(name, 0)
            most = {"best_loss": math.inf, "lowest_loss": math.inf}.get(name, MOST)
            require(least <= value <= most, name, f"from {least:g} to {most:g}", value)
        require(self.losses.keys() == self.counts.keys(), "losses", "of the same parts as counts", self.losses)
        for name in ("best_step", "skipped", "averaged_at"):
            require(getattr(self, name) <= self.step, name, f"at most step={self.step}", getattr(self, name))


def ending(state: TrainingState, training: TrainingConfig) -> tuple[str, str]:
    """Return why a run is at its end and what makes it go on, or two empty texts while it is not."""
    if state.step >= training.max_steps:
        return f"training.max_steps = {training.max_steps:,} is reached", "raise --max-steps to go on"
    if training.max_minutes and state.seconds >= 60 * training.max_minutes:
        return f"training.max_minutes = {training.max_minutes:g} are over", "raise --max-minutes to go on"
    if training.patience and state.worse >= training.patience:
        scores = f"neither weights nor loss got better in training.patience = {training.patience} validations"
        return scores, "raise training.patience to go on"
    return "", ""
