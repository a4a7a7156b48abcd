"""Masked language models: which tokens are hidden in a text, and does one sentence follow another?

Axes: N rows of a buffer, B rows of a batch, T tokens of a row, S sentences of a row.
"""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import MaskedLMSettings
from transformer.data.batches import Batch, Record
from transformer.data.examples.passages import Passage, Passages, open_passages
from transformer.data.masking import FIRST_WORD_ID, masked
from transformer.data.records import Rows
from transformer.data.sentence_pairs import NEXT, paired, rows_of
from transformer.data.tokenizers.base import MASK_TOKEN
from transformer.data.tokenizers.exact import ExactTokenizer
from transformer.data.tokenizers.learning import train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.losses.cross_entropy import token_losses
from transformer.losses.linear_cross_entropy import linear_cross_entropy
from transformer.models.bert import BERT
from transformer.system.errors import UserError, shortened
from transformer.tasks.base import Parts, Task
from transformer.tasks.filled_masks import Candidate, FilledMasks, Mask
from transformer.tasks.network_sizes import network_sizes
from transformer.tasks.row_reader import Row, RowReader
from transformer.tasks.sequence_to_sequence import IDS, check_activation

CANDIDATES = 5  # of each mask, where nobody asks for another number
PROJECTED = 256  # masks whose logits exist at the same time


class Found(NamedTuple):
    """Sums over the masked tokens and the pairs of some passages."""

    tokens: float  # masked ones
    tokens_found: float
    token_loss: float  # nats
    pairs: float
    pairs_found: float
    pair_loss: float  # nats

    def __add__(self, other: object) -> "Found":
        if not isinstance(other, Found):
            return NotImplemented
        return Found(*(a + b for a, b in zip(self, other, strict=True)))

    def figures(self) -> dict[str, float]:
        """Return the shares that were found and the mean losses; those of pairs only where there are any."""
        tokens, pairs = max(1.0, self.tokens), max(1.0, self.pairs)
        figures = {"masked_accuracy": self.tokens_found / tokens, "masked_loss": self.token_loss / tokens}
        if self.pairs:
            figures |= {"sentence_accuracy": self.pairs_found / pairs, "sentence_loss": self.pair_loss / pairs}
        return figures


class MaskedLM(Task):
    """A `BERT` that finds out what stands at masked places, and whether the second sentence of a pair is the next.

    Of a row's tokens `mask_rate` are chosen, anew in each epoch; 80 % of them become the mask, 10 % any token, and 10 %
    stay. Where the corpus has documents of several sentences, and the settings want it, a row is a pair: consecutive
    sentences of a document, cut somewhere, whose second half is in half of the rows sentences of another document. The
    loss has two parts, each the mean over its own units:

        L = 1/n sum over chosen i of -log P(x_i | masked x)  +  1/m sum over pairs of -log P(next or not | masked x).

    An example is a `Passage`; an input of `predict` is a text in which '[MASK]' stands for one token, and its result a
    `FilledMasks`.

    Features: ids (B, T) with START before the first sentence and END behind each; segments (B, T), 1 in the second;
    labels (B, T), what stood at the chosen places, 0 elsewhere; sentence (B,): `NEXT`, `OTHER`, or 0 where it does not
    count.

    Source: Devlin et al. 2019, section 3.1 and appendix A.1; document 001, section 5.2.2.
    Deviation: masks, cuts and negatives are chosen anew whenever a batch is made, not ten times beforehand. A row is a
        pair in full length always. START is the paper's [CLS] and END its [SEP].
    """

    name = "masked-lm"
    Settings = MaskedLMSettings
    Vocabularies = TextVocabulary
    vocabularies: TextVocabulary
    columns = ("tokens", "sentences", "other", "other_sentences", "documents")
    features = {"ids": IDS, "segments": IDS, "labels": IDS, "sentence": tf.TensorSpec((None,), tf.int32)}

    def __init__(self, config: Config, vocabularies: TextVocabulary, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.settings, self.tokenizer = config.task, vocabularies.tokenizer
        check_activation(config.model.activation)
        check_masking(self.tokenizer)
        self.pairs = self.settings.next_sentence and corpus.get("successors", "yes") == "yes"
        self.figures = {"masked_accuracy": "masked accuracy {:.2%}"}
        if self.pairs:
            self.figures["sentence_accuracy"] = "next sentence {:.2%}"
        self.continues = self.tokenizer.continuations() if self.settings.whole_words else None
        if self.settings.whole_words and self.continues is None:
            raise UserError(
                f"the ids of this tokenizer ('{self.tokenizer.kind}') do not tell where a word begins; take "
                "task.whole_words = false"
            )
        shortest = 8 if self.pairs else 3
        if config.data.max_tokens < shortest:
            raise UserError(f"data.max_tokens must be at least {shortest} here, got {config.data.max_tokens}")
        self._sums = tf.function(_sums, reduce_retracing=True, autograph=False)
        self._reader = RowReader(_states)

    @classmethod
    def read(cls, config: Config) -> Passages:
        return open_passages(config)

    @classmethod
    def learn(cls, corpus: Passages, config: Config) -> TextVocabulary:
        return TextVocabulary(train_masking(corpus.texts.texts("train"), config.text, config.task.lower_case))

    def describe(self) -> str:
        pairs = "next sentences" if self.pairs else "no next sentences"
        return f"vocabulary of {self.tokenizer.vocabulary_size:,} tokens ({self.tokenizer.kind}), {pairs}"

    def encode(self, examples: Sequence[Passage]) -> Rows:
        sentences = [sentence for passage in examples for sentence in passage.sentences]
        ids = iter(encoded(self.tokenizer, sentences))
        passages = [(passage.document, [next(ids) for _ in passage.sentences]) for passage in examples]
        seed = examples[0].number if examples else 0
        columns = rows_of(passages, self.config.data.max_tokens, self.pairs, np.random.default_rng(seed))
        unknown = int(np.sum(columns["tokens"][0] == UNKNOWN_ID))
        return Rows(columns, {"unknown words": unknown} if unknown else {})

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        lengths = record["tokens"].row_lengths()
        if not self.pairs:
            return [lengths + 2]
        full = tf.cast(self.config.data.max_tokens, lengths.dtype)  # as long as a pair of two documents may get
        several = (record["sentences"].row_lengths() > 1) & (record["other"].row_lengths() > 0)
        return [tf.where(several, full, lengths + 3)]

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        pair_seed, mask_seed = tf.unstack(tf.random.experimental.stateless_split(seed, 2))
        pair = paired(record, self.config.data.max_tokens, pair_seed if self.pairs else None)
        size = self.tokenizer.vocabulary_size
        ids, labels = masked(pair.ids, mask_seed, self.settings.mask_rate, size, self.continues)
        return {"ids": ids, "segments": pair.segments, "labels": labels, "sentence": pair.sentence}

    def network(self, dtype: str) -> BERT:
        network = BERT(
            **network_sizes(self.config.model),
            vocab_size=self.tokenizer.vocabulary_size,
            num_segments=self.settings.segments,
            pooler=self.pairs or self.settings.pooler,
            next_sentence=self.pairs,
            dtype=dtype,
            name="bert",
        )
        network.build()
        return network

    def counts(self, batch: Batch) -> Parts:
        token = tf.reduce_sum(tf.cast(batch["labels"] != PAD_ID, tf.float32))
        if not self.pairs:
            return {"token": token}
        return {"token": token, "sentence": tf.reduce_sum(tf.cast(batch["sentence"] > 0, tf.float32))}

    def losses(self, network: keras.Model, batch: Batch, training: bool) -> Parts:
        states = network.encoder(batch["ids"], batch["segments"], training=training)
        chosen = batch["labels"] != PAD_ID
        smoothing = self.config.training.label_smoothing if training else 0.0
        hidden = network.masked_lm.transform(tf.boolean_mask(states, chosen))
        table = tf.convert_to_tensor(network.encoder.embedding.embeddings)
        bias = tf.convert_to_tensor(network.masked_lm.bias)
        parts = {
            "token": linear_cross_entropy(hidden, table, bias, tf.boolean_mask(batch["labels"], chosen), smoothing)
        }
        if self.pairs:
            real = tf.cast(batch["sentence"] > 0, tf.float32)
            labels = tf.maximum(batch["sentence"] - NEXT, 0)
            parts["sentence"] = tf.reduce_sum(token_losses(labels, network.next_sentence_logits(states)) * real)
        return parts

    def uniform(self) -> dict[str, float]:
        nats = {"token": math.log(self.tokenizer.vocabulary_size)}
        return {**nats, "sentence": math.log(2)} if self.pairs else nats

    def score(self, network: keras.Model, examples: Sequence[Passage]) -> dict[str, float]:
        """Return the share of the chosen tokens that are found, and of pairs; masks are the same at every call."""
        figures = self.found(network, examples).figures()
        return {name: figures.get(name, 0.0) for name in self.figures}

    def found(self, network: keras.Model, examples: Sequence[Passage], seed: int = 0) -> Found:
        """Return how many chosen tokens and pairs are found, of how many, and with which loss.

        Args:
            network: of the run.
            examples: passages.
            seed: of the masks, and of what is paired.
        """
        columns = self.encode(examples).columns
        record = {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}
        rows = max(1, self.config.data.batch_tokens // self.config.data.max_tokens)
        found = Found(*[0.0] * len(Found._fields))
        for i in range(0, len(columns["tokens"][1]), rows):
            part = {name: column[i : i + rows] for name, column in record.items()}
            batch = self.batch(part, tf.constant([seed, i], tf.int64))
            found += Found(*map(float, self._sums(network, batch)))
        return found

    def predict(self, network: keras.Model, inputs: Sequence[str], top_k: int = CANDIDATES) -> list[FilledMasks]:
        """Return the `top_k` likeliest tokens of each '[MASK]' of texts; errors as of `masked_ids`."""
        rows = [self.masked_ids(text) for text in inputs]
        states = self._reader(network, [Row(ids, len(ids)) for ids in rows])
        hidden = np.concatenate(
            [np.zeros((0, self.config.model.d_model), np.float32)]
            + [state[ids == MASK_ID] for state, ids in zip(states, rows, strict=True)]
        )
        every = iter(self._candidates(network, hidden, top_k))
        found = []
        for text in inputs:
            places = [place.span() for place in re.finditer(re.escape(MASK_TOKEN), text)]
            found.append(FilledMasks(text, tuple(Mask(*place, next(every)) for place in places)))
        return found

    def _candidates(self, network: keras.Model, hidden: np.ndarray, top_k: int) -> Iterator[tuple[Candidate, ...]]:
        """Yield the likeliest tokens of masks with these states (N, D)."""
        texts: dict[int, str] = {}
        for start in range(0, len(hidden), PROJECTED):
            words = tf.nn.softmax(network.masked_logits(hidden[start : start + PROJECTED]))[:, FIRST_WORD_ID:]
            best = tf.math.top_k(words, min(top_k, words.shape[1]))
            for ids, shares in zip(best.indices.numpy().tolist(), best.values.numpy().tolist(), strict=True):
                texts |= {i: self.tokenizer.decode([FIRST_WORD_ID + i]).strip() for i in ids if i not in texts}
                yield tuple(Candidate(texts[i], p) for i, p in zip(ids, shares, strict=True))

    def masked_ids(self, text: str) -> np.ndarray:
        """Return the ids of a text with its ends, (T,) int32, in which '[MASK]' is the mask.

        Raises:
            UserError: there is none, or the text is longer than the model reads.
        """
        pieces = text.split(MASK_TOKEN)
        if len(pieces) == 1:
            raise UserError(
                f"there is no {MASK_TOKEN} in {shortened(text)}; write it where the model is to find a token, such as "
                f"'The capital of {MASK_TOKEN} is Paris.'"
            )
        if self.tokenizer.spaced:  # the space before a word is part of what the mask stands for
            pieces = [f" {pieces[0]}", *pieces[1:]]
            pieces = [*(piece.removesuffix(" ") for piece in pieces[:-1]), pieces[-1]]
        # What else spells a mask, in the words of an imported tokenizer, is no place that is asked about.
        first, *others = (np.where(ids == MASK_ID, UNKNOWN_ID, ids) for ids in self.tokenizer.encode(pieces))
        rest = [part for ids in others for part in ([MASK_ID], ids)]
        ids = np.concatenate([[START_ID], first, *rest, [END_ID]]).astype(np.int32)
        if len(ids) > self.config.model.max_positions:
            most = self.config.model.max_positions
            raise UserError(f"a text has {len(ids)} tokens, and the model reads {most}; give a shorter one")
        return ids


def encoded(tokenizer: ExactTokenizer, sentences: Sequence[str]) -> list[np.ndarray]:
    """Return the ids of sentences, (T,) int32 each, whose first word is like those behind a space."""
    return tokenizer.encode([f" {sentence}" for sentence in sentences] if tokenizer.spaced else sentences)


def check_masking(tokenizer: ExactTokenizer) -> None:
    """Refuse a tokenizer without a mask with a UserError."""
    if not tokenizer.masks:
        raise UserError(
            f"this run's tokenizer ('{tokenizer.kind}') has no mask, which an encoder needs; start from a run of the "
            "task masked-lm, or without --init-from"
        )


def _states(network: keras.Model, ids: tf.Tensor, segments: tf.Tensor) -> tf.Tensor:
    return tf.cast(network.encoder(ids, segments, training=False), tf.float32)


def _sums(network: keras.Model, batch: Batch) -> tuple[tf.Tensor, ...]:
    """Return the fields of `Found` of a batch."""
    states = network.encoder(batch["ids"], batch["segments"], training=False)
    chosen = batch["labels"] != PAD_ID
    labels = tf.boolean_mask(batch["labels"], chosen)
    ones = tf.ones_like(labels, tf.float32)
    found = _found(network.masked_logits(tf.boolean_mask(states, chosen)), labels, ones)
    if not network.next_sentence:
        return *found, *[tf.constant(0.0)] * 3
    real = tf.cast(batch["sentence"] > 0, tf.float32)
    return *found, *_found(network.next_sentence_logits(states), tf.maximum(batch["sentence"] - NEXT, 0), real)


def _found(logits: tf.Tensor, labels: tf.Tensor, weights: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return how many labels (N,) count, by their weights, how many are the likeliest, and their summed loss."""
    right = tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32) == labels, tf.float32)
    sums = (weights, weights * right, weights * token_losses(labels, logits))
    return tf.reduce_sum(sums[0]), tf.reduce_sum(sums[1]), tf.reduce_sum(sums[2])
