"""What is kept with the best weights, at the end of training, to tell their right answers from wrong ones."""

from collections.abc import Callable

import keras

from transformer.checkpoints.arrays import load_arrays, model_variables
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.config.run import Config
from transformer.system.errors import UserError
from transformer.tasks.base import Task
from transformer.training.preparation import TrainingData
from transformer.training.validation import restored


class Calibration:
    """Calibrates the best weights of a run, see `Task.confidence`.

    Args:
        config: where `training.score_examples` is 0, nothing is done.
        run: where the result is kept.
        data: of the run.
        say: tells the user what is going on.
    """

    def __init__(self, config: Config, run: RunDirectory, data: TrainingData, say: Callable[[str], None]) -> None:
        self.run, self.data, self._say = run, data, say
        self.wanted = bool(config.training.score_examples) and type(data.task).confidence is not Task.confidence

    def missing(self) -> bool:
        """Return whether a run that is complete otherwise has not been calibrated, or was killed meanwhile."""
        return self.wanted and self.run.weights(BEST).exists() and not self.run.calibrated()

    def calibrate(self, network: keras.Model, step: int) -> None:
        """Do it, and write the result, also where there is none; `step` is that of the best weights."""
        if not self.wanted or not self.run.weights(BEST).exists():
            return
        self._say("\nlearning when it is unsure, from validation sentences")
        confidence = None
        with restored(network.trainable_variables):
            load_arrays(self.run.weights(BEST), model_variables(network))
            try:
                confidence = self.data.task.confidence(network, self.data.corpus, step)
            except UserError as error:  # such as a corpus that has changed
                self._say(f"warning: {error}")
        self.run.write_confidence(confidence)
        if confidence is None:
            self._say(
                "this run will call no translation unsure: too few validation sentences, or too few right or wrong ones"
            )
            return
        wrong, right = (confidence.measured[name] for name in ("wrong_warned", "right_warned"))
        self._say(f"it will warn of {wrong:.0%} of the wrong translations, and of {right:.0%} of the right ones")
