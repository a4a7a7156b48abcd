"""Language models: what comes next in a text?

Axes: N rows of a buffer, B windows of a batch, T tokens of a window.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import LanguageModelSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.text_documents import Chunk, Part, TextCorpus, open_texts
from transformer.data.records import Rows
from transformer.data.tokenizers.learning import train_exact
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.losses.linear_cross_entropy import linear_cross_entropy
from transformer.models.gpt import GPT
from transformer.search.searcher import Searcher, left_padded
from transformer.system.errors import UserError
from transformer.tasks.base import Parts, Task
from transformer.tasks.network_sizes import network_sizes
from transformer.tasks.sequence_to_sequence import IDS, check_activation

MOST_BUFFERED = 2**22  # tokens that are shuffled together; sorting them takes up to 100 bytes each


class LanguageModel(Task):
    """A `GPT` that reads windows of `data.max_tokens` tokens, and predicts each token from those before it.

    Documents stand one behind the other, each with an end token, and with a start token before it where the settings
    say so. In training each window begins somewhere else in every epoch; validation reads its text in disjoint
    windows. The loss is the cross-entropy of the tokens:

        L_LM = -1/n sum over i of log P(x_i | x_1, ..., x_{i-1}), with the x_j of the window.

    An example is a `Chunk` of documents; an input of `predict` is the beginning of a text.

    Features: ids (B, T), and labels (B, T), the same a token further; a label of 0 does not count.

    Source: Radford et al. 2018, equation 1; document 001, section 4.2.2.
    """

    name = "language-model"
    Settings = LanguageModelSettings
    Vocabularies = TextVocabulary
    vocabularies: TextVocabulary
    columns = ("tokens",)
    features = {"ids": IDS, "labels": IDS}
    examples_together = 1  # a chunk is many documents
    loss_figures = {
        "perplexity": "perplexity {:.2f} a token",
        "byte_perplexity": "{:.3f} a byte",
        "bits_per_byte": "{:.3f} bits/byte",
    }

    def __init__(self, config: Config, vocabularies: TextVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        check_activation(config.model.activation)
        self.tokenizer, self.window = vocabularies.tokenizer, config.data.max_tokens
        self._searcher: Searcher | None = None  # of the network that last predicted

    @classmethod
    def read(cls, config: Config) -> TextCorpus:
        return open_texts(config)

    @classmethod
    def learn(cls, corpus: TextCorpus, config: Config) -> TextVocabulary:
        return TextVocabulary(train_exact(corpus.texts("train"), config.text))

    def describe(self) -> str:
        return f"vocabulary of {self.tokenizer.vocabulary_size:,} tokens ({self.tokenizer.kind})"

    def ids(self, parts: Sequence[Part]) -> np.ndarray:
        """Return the ids of parts of documents one behind the other, (N,) int32, with their starts and ends."""
        found: list[Sequence[int] | np.ndarray] = []
        for part, ids in zip(parts, self.tokenizer.encode([part.text for part in parts]), strict=True):
            start = [START_ID] if part.begins and self.config.task.start_token else []
            found += [start, ids, [END_ID] if part.ends else []]
        return np.concatenate(found).astype(np.int32)

    def prompt(self, text: str) -> np.ndarray:
        """Return the ids that a text begins with, (P,) int32: at least one, the end of another document if need be."""
        ids = self.ids([Part(text, True, False)])
        return ids if len(ids) else np.array([END_ID], np.int32)

    def encode(self, examples: Sequence[Chunk]) -> Rows:
        values, lengths, unknown = [np.zeros(0, np.int32)], [], 0
        for chunk in examples:
            ids = self.ids(chunk.parts)
            unknown += int(np.sum(ids == UNKNOWN_ID))
            if chunk.split == "train" and chunk.number == 0 and len(ids) <= self.window:
                raise UserError(
                    f"the training text has {len(ids):,} tokens, and a window has data.max_tokens = {self.window} and "
                    "one more; give more text or lower data.max_tokens"
                )
            for start, end in self._rows(len(ids), chunk.split == "train"):
                values.append(ids[start:end])
                lengths.append(end - start)
        rows = {"tokens": (np.concatenate(values), np.array(lengths, np.int64))}
        return Rows(rows, {"unknown characters": unknown} if unknown else {})

    def _rows(self, count: int, movable: bool) -> list[tuple[int, int]]:
        """Return where rows of `count` tokens begin and end.

        A row is a window and the token behind it. Where the window is to move, it is two windows long: it may begin at
        any token of the first.
        """
        if not movable:
            return [(start, min(start + self.window + 1, count)) for start in range(0, count - 1, self.window)]
        whole = max(1, (count - 1) // self.window)
        ends = [min((i + 2) * self.window, count) for i in range(whole - 1)] + [count]
        return [(i * self.window, end) for i, end in enumerate(ends) if end > 1]

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        return [tf.minimum(record["tokens"].row_lengths() - 1, self.window)]

    def buffered(self) -> int:
        return max(1, min(super().buffered(), MOST_BUFFERED // (2 * self.window)))

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        rows = record["tokens"].with_row_splits_dtype(tf.int64)
        lengths = rows.row_lengths()  # (B,)
        windows = tf.minimum(lengths - 1, self.window)
        chances = tf.random.stateless_uniform(tf.shape(lengths), seed, 0, 2**31, tf.int64)
        starts = rows.row_starts() + chances % (lengths - windows)
        places = tf.ragged.range(starts, starts + windows + 1)
        tokens = tf.ragged.map_flat_values(lambda places: tf.gather(rows.flat_values, places), places)
        tokens = tokens.to_tensor(PAD_ID)  # (B, T + 1)
        ids, labels = tokens[:, :-1], tokens[:, 1:]
        if not self.config.task.cross_documents:
            labels = tf.where(ids == END_ID, PAD_ID, labels)  # what the next document begins with
        return {"ids": ids, "labels": labels}

    def network(self, dtype: str) -> GPT:
        model = self.config.model
        network = GPT(
            **network_sizes(model),
            vocab_size=self.tokenizer.vocabulary_size,
            embeddings="separate" if model.embeddings == "separate" else "shared",
            scale_embeddings=model.scale_embeddings,
            unused_ids=self.tokenizer.unused_ids,
            dtype=dtype,
            name="gpt",
        )
        network.build()
        return network

    def counts(self, batch: Batch) -> Parts:
        return {"token": tf.reduce_sum(tf.cast(tf.not_equal(batch["labels"], PAD_ID), tf.float32))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        return self.summed_losses(network, [batch], training)

    def summed_losses(self, network: keras.Model, micro_batches: Sequence[Batch], training: bool) -> Parts:
        table, bias = network.output_table(), network.output_bias
        bias = None if bias is None else tf.constant(bias)
        smoothing = self.config.training.label_smoothing if training else 0.0

        def loss(batch: Batch) -> tf.Tensor:
            mask = None if self.config.task.cross_documents else same_document(batch["ids"])
            states, labels = network.states(batch["ids"], training, mask), batch["labels"]
            real = tf.not_equal(labels, PAD_ID)
            states, labels = tf.boolean_mask(states, real), tf.boolean_mask(labels, real)
            total = linear_cross_entropy(states, table, bias, labels, smoothing)
            if bias is not None and smoothing:  # which asks for no probability of ids that stand for nothing
                total += smoothing * tf.cast(tf.size(labels), tf.float32) * tf.reduce_mean(bias)
            return total

        return {"token": tf.add_n([loss(batch) for batch in micro_batches])}

    def uniform(self) -> dict[str, float]:
        return {"token": math.log(self.tokenizer.vocabulary_size)}

    def from_losses(self, losses: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        nats, size = losses["token"], max(1, int(self.corpus.get("validation_bytes", 0)))
        return {
            "perplexity": math.exp(nats / (counts["token"] or 1.0)),
            "byte_perplexity": math.exp(nats / size),
            "bits_per_byte": nats / size / math.log(2),
        }

    def predict(self, network: keras.Model, inputs: Sequence[str]) -> list[str]:
        """Return how each text goes on, greedily, till its end or as long as the search or the positions allow."""
        if self._searcher is None or self._searcher.models[0] is not network:
            search = dataclasses.replace(self.config.search, beam_size=1, temperature=0.0)
            self._searcher = Searcher([network], search, compile_after=sys.maxsize, prompts=True)
        search, positions = self._searcher.search, self.config.model.max_positions
        if not inputs:
            return []
        prompts = [self.prompt(text)[1 - positions :] for text in inputs]
        wanted = search.max_length or search.max_extra_length or positions
        limits = np.array([min(wanted, positions - len(row) + 1) for row in prompts], np.int32)
        found = self._searcher(left_padded(prompts), limits, np.zeros_like(limits))
        return [self.tokenizer.decode(row) for row in found.ids[:, 0]]


def same_document(ids: tf.Tensor) -> tf.Tensor:
    """Return which tokens of windows are of one document: (B, T) -> (B, 1, T, T) bool; an end token belongs to its."""
    document = tf.cumsum(tf.cast(ids == END_ID, tf.int32), axis=1, exclusive=True)  # (B, T)
    return tf.equal(document[:, tf.newaxis, :, tf.newaxis], document[:, tf.newaxis, tf.newaxis])
