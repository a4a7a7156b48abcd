"""Classification: the label of a text or of a pair of texts, several labels, or a number.

Axes: B rows of a batch, T tokens of a row, C classes.
"""

import collections
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import ClassificationSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.annotated import AnnotatedCorpus, Labelled
from transformer.data.examples.open_annotated import open_examples
from transformer.data.examples.phrasebook_examples import PhrasebookExamples
from transformer.data.examples.tables import LABEL_KEY, check_classes, label_warnings, labelled, tfds_labels
from transformer.data.records import Rows
from transformer.data.tokenizers.labelled import LabelledVocabulary
from transformer.data.tokenizers.labels import Labels
from transformer.ids import PAD_ID
from transformer.losses.cross_entropy import token_losses
from transformer.metrics import labels as metrics
from transformer.models.heads import Classifier
from transformer.system.errors import UserError, nearest, shortened
from transformer.system.messages import one_line, say
from transformer.tasks.base import Parts
from transformer.tasks.fine_tuning import (
    INPUTS,
    FineTuning,
    balanced_weights,
    columns_of,
    fitting,
    framed,
    softmax,
)
from transformer.tasks.row_reader import Row

SHOWN = 10  # labels when training begins
LIKELY = 0.5  # probability from which a text has one of several labels


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What a classifier says of a text or a pair of texts."""

    labels: tuple[str, ...]  #: the likeliest one; of several labels, those that are likelier than not
    probabilities: dict[str, float]  #: of each label, the likeliest first; empty for a number
    value: float | None = None  #: where a number was asked for
    cut: int = 0  #: tokens that were left out, since the model reads no more

    @property
    def label(self) -> str:
        """The likeliest label; '' where there is none."""
        return self.labels[0] if self.labels else ""


class Classification(FineTuning):
    """An encoder that says of a text, or of a pair of texts, which label it has.

    The loss of a text with the label y is -w_y log P(y | text), with the weights w that the settings ask for; where a
    text has several labels, the sum of that of each label, which it has or has not; of a number, half its squared
    distance in standard deviations of the training numbers.

    An example is a `Labelled`; an input of `predict` is a text or a pair, and its result a `Prediction`.

    Features: ids, segments (B, T); label (B,), 1 + its class, (B, C) booleans of several, or (B,) numbers.

    Source: Devlin et al. 2019, section 4.1.
    """

    name = "classification"
    Settings = ClassificationSettings
    columns = ("tokens", "border", "label")
    features = {**INPUTS, "label": tf.TensorSpec((None,), tf.int32)}
    network_name = "classifier"
    settings: ClassificationSettings

    def __init__(self, config: Config, vocabularies: LabelledVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.kind, self.classes = self.settings.kind, self.listed("label")
        self.texts = len(self.listed("texts"))  # 0: an imported run reads either
        self.ids = {label: i for i, label in enumerate(self.classes)}
        self.needs_pooler = self.settings.pooling == "first"
        if self.kind == "number":
            self.mean, self.deviation = [*self.numbers("scale"), 0.0, 1.0][:2]
            self.features = {**INPUTS, "label": tf.TensorSpec((None,), tf.float32)}
            figures = {"spearman": "rank correlation {:.4f}"}
        elif self.kind == "several":
            self.features = {**INPUTS, "label": tf.TensorSpec((None, len(self.classes)), tf.float32)}
            figures = {"micro_f1": "micro F1 {:.2%}", "macro_f1": "macro F1 {:.2%}"}
        else:
            figures = {"accuracy": "accuracy {:.2%}", "macro_f1": "macro F1 {:.2%}"}
        self.figures = self._ordered(figures)
        balanced = self.settings.class_weights == "balanced"
        self.weights = balanced_weights(self.numbers("count")) if balanced else None

    @classmethod
    def read(cls, config: Config) -> AnnotatedCorpus:
        settings = config.task
        return open_examples(
            config,
            lambda path: labelled(path, settings),
            settings.label or LABEL_KEY,
            lambda builder: tfds_labels(builder, settings),
            lambda: PhrasebookExamples("topics", settings.language),
        )

    @staticmethod
    def _texts_of(example: Labelled) -> Iterable[str]:
        return example.texts

    @classmethod
    def learn_labels(cls, corpus: AnnotatedCorpus, config: Config) -> Labels:
        counts: collections.Counter = collections.Counter()
        numbers: list[float] = []
        texts, first = 0, dict[str, str]()
        for example in corpus.learned_from():
            texts = len(example.texts)
            if config.task.kind == "number":
                numbers.append(float(example.labels[0]))
            else:
                counts.update(example.labels)
                for label in example.labels:
                    first.setdefault(label, example.place)
        if config.task.kind == "number":
            deviation = float(np.std(numbers)) or 1.0
            lists = {"label": [], "count": [], "scale": [repr(float(np.mean(numbers))), repr(deviation)]}
        else:
            lists = {"label": sorted(counts), "count": [str(counts[label]) for label in sorted(counts)]}
            check_classes(lists["label"], config.task.kind, corpus.name)
            for warning in label_warnings(first, counts):
                say(f"warning: {warning}")
        return Labels({**lists, "texts": [str(i + 1) for i in range(texts)]})

    def describe(self) -> str:
        counts = self.listed("count") or [""] * len(self.classes)  # of an imported run
        shown = [f"{name} {count}".rstrip() for name, count in zip(self.classes, counts, strict=True)]
        more = "" if len(shown) <= SHOWN else ", ..."
        labels = f"{len(shown)} labels ({', '.join(map(one_line, shown[:SHOWN]))}{more})"
        what = labels if shown else f"numbers around {self.mean:g}"
        return f"vocabulary of {self.tokenizer.vocabulary_size:,} tokens ({self.tokenizer.kind}), {what}"

    def encode(self, examples: Sequence[Labelled]) -> Rows:
        rows, cut = self.rows([example.texts for example in examples])
        labels = [self._label_numbers(example) for example in examples]
        borders = [[row.border] for row in rows]
        columns: dict[str, Sequence] = {"tokens": [row.ids for row in rows], "border": borders, "label": labels}
        return columns_of(columns, {f"texts cut at {self.longest} tokens": sum(n > 0 for n in cut)})

    def rows(self, texts: Sequence[tuple[str, ...]]) -> tuple[list[Row], list[int]]:
        """Return the rows of texts or pairs, and how many tokens of each are left out, since no more can be read.

        Of a pair the longer text is cut.
        """
        ids = iter(self.encoded([text for group in texts for text in group]))
        rows, cut = [], []
        for group in texts:
            parts = [next(ids) for _ in group]
            most = self.longest - 1 - len(parts)
            lengths = [len(part) for part in parts]
            lengths = fitting(lengths, most) if len(lengths) == 2 else [min(lengths[0], most)]
            cut.append(sum(len(part) for part in parts) - sum(lengths))
            rows.append(self.row(*(part[:n] for part, n in zip(parts, lengths, strict=True))))
        return rows, cut

    def _label_numbers(self, example: Labelled) -> np.ndarray:
        """Return what is stored of an example's labels."""
        if self.texts and len(example.texts) != self.texts:
            raise UserError(f"{example.place or 'an example'}: {len(example.texts)} texts instead of {self.texts}")
        if self.kind == "number":
            return np.array([(float(example.labels[0]) - self.mean) / self.deviation], np.float32).view(np.int32)
        for label in example.labels:
            if label not in self.ids:
                raise UserError(
                    f"{example.place or 'an example'}: the label {shortened(label)} does not occur in the training "
                    f"examples, only {', '.join(self.classes[:10])}.{nearest(label, self.ids)}"
                )
        return np.array([self.ids[label] for label in example.labels], np.int32)

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        features = framed(record, record["border"].flat_values)
        if self.kind == "several":
            rows = record["label"].value_rowids()
            places = tf.stack([rows, tf.cast(record["label"].flat_values, tf.int64)], axis=1)
            shape = tf.stack([record["label"].nrows(), tf.constant(len(self.classes), tf.int64)])
            return {**features, "label": tf.scatter_nd(places, tf.ones_like(rows, tf.float32), shape)}
        label = record["label"].flat_values
        return {**features, "label": tf.bitcast(label, tf.float32) if self.kind == "number" else label + 1}

    def network(self, dtype: str) -> Classifier:
        network = Classifier(
            self.encoder(dtype),
            len(self.classes) or 1,
            self.config.model.dropout_rate,
            self.settings.pooling,
            dtype=dtype,
            name=self.network_name,
        )
        network.build()
        return network

    def _row_weights(self, batch: Batch) -> tf.Tensor:
        """Return how much each row counts, (B,): 0 for padding."""
        real = tf.cast(batch["ids"][:, 0] != PAD_ID, tf.float32)
        if self.weights is None or self.kind != "single":
            return real
        return real * tf.gather(tf.constant(self.weights, tf.float32), tf.maximum(batch["label"] - 1, 0))

    def counts(self, batch: Batch) -> Parts:
        return {"text": tf.reduce_sum(self._row_weights(batch))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        logits = network({"ids": batch["ids"], "segments": batch["segments"]}, training=training)  # (B, C)
        label = batch["label"]
        if self.kind == "number":
            losses = tf.square(logits[:, 0] - label) / 2
        elif self.kind == "several":
            each = tf.nn.sigmoid_cross_entropy_with_logits(label, logits)  # (B, C)
            losses = tf.reduce_sum(each * self._decision_weights(label), axis=1)
        else:
            smoothing = self.config.training.label_smoothing if training else 0.0
            losses = token_losses(tf.maximum(label - 1, 0), logits, smoothing)
        return {"text": tf.reduce_sum(losses * self._row_weights(batch))}

    def _decision_weights(self, label: tf.Tensor) -> tf.Tensor | float:
        """Return how much each decision counts, (B, C): a label that a text has, by its weight."""
        if self.weights is None:
            return 1.0
        return 1.0 + label * (tf.constant(self.weights, tf.float32) - 1.0)

    def score(self, network: keras.Model, examples: Sequence[Labelled]) -> dict[str, float]:
        found = self.predict(network, [example.texts for example in examples])
        scores = self.scores(examples, found)
        return {name: scores[name] for name in self.figures}

    def gold(self, examples: Sequence[Labelled]) -> np.ndarray:
        """Return the classes of examples, (N,) or, of several labels, (N, C) booleans."""
        numbers = [self._label_numbers(example) for example in examples]
        if self.kind == "single":
            return np.concatenate(numbers)
        return np.array([np.isin(range(len(self.classes)), row) for row in numbers])

    def found_classes(self, found: Sequence[Prediction]) -> np.ndarray:
        """Return what was predicted as `gold` returns what is right."""
        if self.kind == "single":
            return np.array([self.ids[prediction.label] for prediction in found])
        return np.array([[label in prediction.labels for label in self.classes] for prediction in found])

    def by_class(self, examples: Sequence[Labelled], found: Sequence[Prediction]) -> list[metrics.ClassScore]:
        """Return the scores of each class; none of numbers."""
        if self.kind == "number":
            return []
        return metrics.by_class(self.gold(examples), self.found_classes(found), self.classes)

    def confusion(self, examples: Sequence[Labelled], found: Sequence[Prediction]) -> tuple[list[str], np.ndarray]:
        """Return the classes, and how often each (rows) was taken for each; nothing but of single labels."""
        if self.kind != "single":
            return [], np.zeros((0, 0))
        return [*self.classes], metrics.confusion(self.gold(examples), self.found_classes(found), len(self.classes))

    def scores(self, examples: Sequence[Labelled], found: Sequence[Prediction]) -> dict[str, float]:
        """Return all scores of predictions."""
        if self.kind == "number":
            gold, values = [float(example.labels[0]) for example in examples], [p.value or 0.0 for p in found]
            errors = np.array(gold) - np.array(values)
            return {"spearman": metrics.rank_correlation(gold, values), "rmse": math.sqrt(np.mean(errors**2))}
        gold_classes, classes = self.gold(examples), self.found_classes(found)
        macro = metrics.macro_f1(metrics.by_class(gold_classes, classes, self.classes))
        if self.kind == "several":
            return {"micro_f1": metrics.micro_f1(gold_classes, classes), "macro_f1": macro}
        sure = [next(iter(prediction.probabilities.values())) for prediction in found]
        return {
            "accuracy": metrics.accuracy(gold_classes.tolist(), classes.tolist()),
            "macro_f1": macro,
            "calibration_error": metrics.calibration_error(gold_classes == classes, sure),
        }

    @staticmethod
    def inputs_of(examples: Sequence[Labelled]) -> list[Any]:
        return [example.texts for example in examples]

    def predict(self, network: keras.Model, inputs: Sequence[str | tuple[str, ...]]) -> list[Prediction]:
        """Return what the network says of texts or pairs."""
        texts = [(text,) if isinstance(text, str) else tuple(text) for text in inputs]
        for group in texts:
            if len(group) not in ([self.texts] if self.texts else (1, 2)):
                wanted = {0: "one text or pairs", 1: "one text"}.get(self.texts, "pairs of texts")
                raise UserError(f"this run labels {wanted}, got {len(group)} texts: {shortened(group)}")
        rows, cut = self.rows(texts)
        return [self._prediction(logits, n) for logits, n in zip(self.read_rows(network, rows), cut, strict=True)]

    def _prediction(self, logits: np.ndarray, cut: int) -> Prediction:
        if self.kind == "number":
            return Prediction((), {}, float(logits[0]) * self.deviation + self.mean, cut)
        chances: Any = 1 / (1 + np.exp(-logits.astype(np.float64))) if self.kind == "several" else softmax(logits)
        ranked = {self.classes[i]: float(chances[i]) for i in np.argsort(-chances, kind="stable")}
        if self.kind == "several":
            return Prediction(tuple(label for label, p in ranked.items() if p > LIKELY), ranked, None, cut)
        return Prediction((next(iter(ranked)),), ranked, None, cut)
