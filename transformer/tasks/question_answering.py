"""Question answering: which part of a text answers a question, if any does.

Axes: B rows of a batch, T tokens of a row.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import QuestionAnsweringSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.annotated import AnnotatedCorpus, Question
from transformer.data.examples.open_annotated import open_examples
from transformer.data.examples.squad import questions, tfds_question
from transformer.data.records import Rows
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.ids import PAD_ID
from transformer.losses.cross_entropy import token_losses
from transformer.metrics import labels as metrics
from transformer.models.heads import SpanFinder
from transformer.system.errors import UserError, shortened
from transformer.tasks.answers import Candidate, FoundAnswer, Window, best_candidate, best_threshold
from transformer.tasks.base import Parts
from transformer.tasks.fine_tuning import INPUTS, FineTuning, columns_of, framed

IDS = tf.TensorSpec((None,), tf.int32)
ANSWERED = ("no answer", "answer")


class QuestionAnswering(FineTuning):
    """An encoder that finds in a text where the answer to a question begins and ends.

    A row is the question and a window of the text; windows of a long text have `task.stride` tokens in common. The loss
    of a row is -(log P(first token) + log P(last token)) / 2, and in windows without the answer both are the row's
    first token. Where training has questions without an answer, one is given only if its score exceeds that of none by
    a threshold that is chosen on the validation examples and saved with the weights.

    An example is a `Question`; an input of `predict` is one, or a pair of a question and a text; its result is a
    `FoundAnswer`.

    Features: ids, segments (B, T), 1 in the text; first, last (B,), places of the answer in the row.

    Source: Devlin et al. 2019, sections 4.2 and 4.3; Rajpurkar et al. 2016 and 2018.
    """

    name = "question-answering"
    Settings = QuestionAnsweringSettings
    columns = ("tokens", "places")
    features = {**INPUTS, "first": IDS, "last": IDS}
    network_name = "span_finder"
    settings: QuestionAnsweringSettings

    def __init__(self, config: Config, vocabularies: LabelledVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.figures = self._ordered({"f1": "F1 {:.2%}", "exact_match": "exact {:.2%}"})
        self.may_have_none = "none" in self.listed("label")
        least = self.settings.longest_question + 3 + self.settings.stride
        if self.longest <= least:
            raise UserError(
                f"data.max_tokens = {self.longest} leaves no room for the text: it must be above "
                f"task.longest_question + task.stride + 3 = {least}"
            )

    @classmethod
    def read(cls, config: Config) -> AnnotatedCorpus:
        def embedded() -> AnnotatedCorpus:
            raise UserError(
                "question-answering has no embedded corpus; give files of SQuAD's format with --train, or --dataset "
                "squad"
            )

        return open_examples(config, questions, "answers", lambda _: tfds_question, embedded)

    @staticmethod
    def _texts_of(example: Question) -> Iterable[str]:
        return example.question, example.context

    @classmethod
    def learn_labels(cls, corpus: AnnotatedCorpus, config: Config) -> Labels:
        kinds = {"answer" if example.answers else "none" for example in corpus.learned_from()}
        if "answer" not in kinds:
            raise UserError(f"no training question of {corpus.name} has an answer; give others")
        return Labels({"label": sorted(kinds)})

    def describe(self) -> str:
        none = "some without an answer" if self.may_have_none else "each with an answer"
        return f"vocabulary of {self.tokenizer.vocabulary_size:,} tokens ({self.tokenizer.kind}), questions {none}"

    def windows(self, examples: Sequence[tuple[str, str]]) -> list[list[Window]]:
        """Return the windows of questions and texts."""
        asked = dict.fromkeys(question for question, _ in examples)
        texts = dict.fromkeys(text for _, text in examples)
        question_ids = dict(zip(asked, self.encoded(list(asked)), strict=True))
        read = dict(zip(texts, self.tokenizer.encode_with_spans(list(texts)), strict=True))
        found = []
        for question, text in examples:
            first = question_ids[question][: self.settings.longest_question]
            ids, spans = read[text]
            size = self.longest - len(first) - 3
            windows, start = [], 0
            while True:
                part = ids[start : start + size]
                windows.append(Window(self.row(first, part), spans[start : start + size]))
                if start + size >= len(ids):
                    break
                start += size - self.settings.stride
            found.append(windows)
        return found

    def encode(self, examples: Sequence[Question]) -> Rows:
        tokens, places, lost = [], [], 0
        every = self.windows([(example.question, example.context) for example in examples])
        for example, windows in zip(examples, every, strict=True):
            if example.answers and not self.may_have_none and not any(_places(w, example) for w in windows):
                lost += 1
                continue
            for window in windows:
                first, last = _places(window, example) or (0, 0)
                tokens.append(window.row.ids)
                places.append([window.row.border, first, last])
        more = len(tokens) - len(examples) + lost
        return columns_of({"tokens": tokens, "places": places}, {"more windows": more, "answers in no window": lost})

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        places = record["places"].to_tensor(0, shape=(None, 3))
        return {**framed(record, places[:, 0]), "first": places[:, 1], "last": places[:, 2]}

    def network(self, dtype: str) -> SpanFinder:
        network = SpanFinder(self.encoder(dtype), self.config.model.dropout_rate, dtype=dtype, name=self.network_name)
        network.build()
        return network

    def counts(self, batch: Batch) -> Parts:
        return {"window": tf.reduce_sum(_real(batch))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        logits = network({"ids": batch["ids"], "segments": batch["segments"]}, training=training)  # (B, T, 2)
        losses = token_losses(batch["first"], logits[..., 0]) + token_losses(batch["last"], logits[..., 1])
        return {"window": tf.reduce_sum(losses * _real(batch)) / 2}

    def score(self, network: keras.Model, examples: Sequence[Question]) -> dict[str, float]:
        """Return F1 and exact match of examples, on which the threshold is chosen."""
        found = self._candidates(network, [(example.question, example.context) for example in examples])
        if self.may_have_none:
            network.threshold.assign(best_threshold(examples, found))
        scores = self.scores(examples, self._decided(network, found))
        return {name: scores[name] for name in self.figures}

    def scores(self, examples: Sequence[Question], found: Sequence[FoundAnswer]) -> dict[str, float]:
        """Return all scores of answers."""
        right = [[answer.text for answer in example.answers] for example in examples]
        exact = [metrics.exact_match(one.text, answers) for one, answers in zip(found, right, strict=True)]
        f1 = [metrics.answer_f1(one.text, answers) for one, answers in zip(found, right, strict=True)]
        calibration = metrics.calibration_error(np.array(exact) > 0, [answer.probability for answer in found])
        return {"exact_match": float(np.mean(exact)), "f1": float(np.mean(f1)), "calibration_error": calibration}

    def confusion(self, examples: Sequence[Question], found: Sequence[FoundAnswer]) -> tuple[list[str], np.ndarray]:
        """Return how often questions with and without an answer were taken for each; nothing where all have one."""
        if not self.may_have_none:
            return [], np.zeros((0, 0))
        gold, predicted = np.array([bool(e.answers) for e in examples]), np.array([bool(a.text) for a in found])
        return [*ANSWERED], metrics.confusion(gold.astype(int), predicted.astype(int), 2)

    def by_class(self, examples: Sequence[Question], found: Sequence[FoundAnswer]) -> list[metrics.ClassScore]:
        """Return how well it was found which questions have an answer; nothing where all have one."""
        if not self.may_have_none:
            return []
        gold, predicted = np.array([bool(e.answers) for e in examples]), np.array([bool(a.text) for a in found])
        return metrics.by_class(gold.astype(int), predicted.astype(int), ANSWERED)

    @staticmethod
    def inputs_of(examples: Sequence[Question]) -> list[Any]:
        return list(examples)

    def predict(self, network: keras.Model, inputs: Sequence[Any]) -> list[FoundAnswer]:
        """Return the answers to questions about texts."""
        pairs = []
        for one in inputs:
            pair = (one.question, one.context) if isinstance(one, Question) else one
            if not isinstance(pair, tuple | list) or len(pair) != 2:
                raise UserError(f"this run answers questions about texts: give pairs of both, got {shortened(one)}")
            pairs.append((pair[0], pair[1]))
        return self._decided(network, self._candidates(network, pairs))

    def _decided(self, network: keras.Model, found: Sequence[Candidate]) -> list[FoundAnswer]:
        if not self.may_have_none:
            return [candidate.answer for candidate in found]
        threshold = float(network.threshold)
        return [
            candidate.answer
            if candidate.answer.text and candidate.margin > threshold
            else FoundAnswer("", 0, 0, candidate.margin, candidate.none)
            for candidate in found
        ]

    def _candidates(self, network: keras.Model, pairs: Sequence[tuple[str, str]]) -> list[Candidate]:
        every = self.windows(pairs)
        outputs = iter(self.read_rows(network, [window.row for windows in every for window in windows]))
        longest = self.settings.longest_answer
        return [
            best_candidate(text, windows, [next(outputs) for _ in windows], longest, self.may_have_none)
            for (_, text), windows in zip(pairs, every, strict=True)
        ]


def _real(batch: Batch) -> tf.Tensor:
    """Return 1.0 for rows that are no padding, (B,)."""
    return tf.cast(batch["ids"][:, 0] != PAD_ID, tf.float32)


def _places(window: Window, example: Question) -> tuple[int, int] | None:
    """Return the first and the last token of the example's first answer in a window's row; None if it is not inside."""
    if not example.answers or not len(window.spans):
        return None
    start, end = example.answers[0].start, example.answers[0].start + len(example.answers[0].text)
    starts, ends = window.spans[:, 0], window.spans[:, 1]
    inside = np.flatnonzero((ends > start) & (starts < end) & (ends > starts))
    whole = len(inside) and starts[inside[0]] <= start and ends[inside[-1]] >= end
    return (window.row.border + int(inside[0]), window.row.border + int(inside[-1])) if whole else None
