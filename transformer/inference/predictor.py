"""From texts to labels, entities and answers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import keras

from transformer.checkpoints.loading import load
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.system.errors import UserError
from transformer.system.threads import refuse_fork, share_cores
from transformer.tasks import other_command
from transformer.tasks.answers import FoundAnswer
from transformer.tasks.classification import Classification, Prediction
from transformer.tasks.fine_tuning import FineTuning
from transformer.tasks.question_answering import QuestionAnswering
from transformer.tasks.tagging import Tags

SEPARATOR = "\t"  # between the texts of a pair
TOGETHER = 4096  # inputs that are sorted by their lengths together, which bounds the memory
Result = Prediction | Tags | FoundAnswer


class Predictor:
    """Labels texts, tags their words, or answers questions about them, with a trained run.

    Args:
        task: of the run.
        network: its network.

    Use: `Predictor.load(run).predict(["what a film"])`.
    """

    def __init__(self, task: FineTuning, network: keras.Model) -> None:
        self.task, self.network = task, network

    @classmethod
    def load(cls, run: str | Path, which: str = BEST) -> Self:
        """Load the predictor of a run directory.

        Args:
            run: the directory.
            which: `best` or `last` weights.

        Raises:
            UserError: the run is missing, damaged, or of a task that predicts something else.
            RuntimeError: in a process that was forked after a model had been loaded.
        """
        refuse_fork()
        directory = RunDirectory(run)
        name = directory.config().task.name
        if name not in PREDICTING:
            raise UserError(f"{run} is a run of the task {name}{other_command(name)}")
        share_cores()
        task, network = load(directory, which)
        assert isinstance(task, FineTuning)  # as the name says
        return cls(task, network)

    @property
    def inputs(self) -> int:
        """How many texts make an input: 1, or 2 of pairs and of questions with their text."""
        if isinstance(self.task, QuestionAnswering):
            return 2
        return self.task.texts if isinstance(self.task, Classification) else 1

    def input_of(self, line: str, context: str | None, number: int) -> tuple[str, ...]:
        """Return the texts of an input that is given as a line, and perhaps with the second text of all inputs.

        Args:
            line: of a pair without a context, both texts with a TAB between.
            context: the second text.
            number: of the line, for messages.

        Raises:
            UserError: there is one text too few or too many.
        """
        if self.inputs == 1:
            if context is not None:
                raise UserError("this run reads one text at a time; leave the context out")
            return (line,)
        if context is not None:
            return line, context
        first, tab, second = line.partition(SEPARATOR)
        if not tab:
            raise UserError(
                f"text {number}: this run reads two texts together, and no TAB divides them; write one, or give the "
                "second text as the context"
            )
        return first, second

    def predict(self, inputs: Sequence[str | tuple[str, ...]]) -> list[Result]:
        """Return what the run says of inputs, one result each.

        Args:
            inputs: texts or, where `inputs` is 2, pairs of them: of a question, and the text that it is about.

        Returns:
            For each a `Prediction` (classification), `Tags` (tagging) or `FoundAnswer` (question answering).

        Raises:
            UserError: an input of another kind.
        """
        found: list[Result] = []
        for start in range(0, len(inputs), TOGETHER):
            found += self.task.predict(self.network, inputs[start : start + TOGETHER])
        return found


PREDICTING = ("classification", "tagging", "question-answering")


def described(texts: Sequence[str], result: Result) -> dict[str, Any]:
    """Return an input and what is said of it as JSON shows them; numbers are rounded."""
    if isinstance(result, Tags):
        return {
            "text": texts[0],
            "words": [
                {"text": result.text[start:end], "start": start, "end": end, "tag": tag, "probability": round(p, 6)}
                for (start, end), tag, p in zip(result.spans, result.tags, result.probabilities, strict=True)
            ],
            "entities": [{**dataclasses.asdict(e), "probability": round(e.probability, 6)} for e in result.entities],
        }
    if isinstance(result, FoundAnswer):
        numbers = {"score": round(result.score, 6), "probability": round(result.probability, 6)}
        place = {"text": result.text, "start": result.start, "end": result.end}
        return {"question": texts[0], "answer": place if result.text else None, **numbers}
    told: dict[str, Any] = {"texts": list(texts)} if len(texts) > 1 else {"text": texts[0]}
    if result.value is not None:
        told["value"] = round(result.value, 6)
    else:
        told |= {
            "labels": list(result.labels),
            "probabilities": {label: round(p, 6) for label, p in result.probabilities.items()},
        }
    return {**told, "warnings": warnings(result)}


def warnings(result: Result) -> list[str]:
    """Return what a reader should know of a result."""
    cut = result.cut if isinstance(result, Prediction) else 0
    return [f"the last {cut:,} tokens were not read: the model reads no more"] if cut else []
