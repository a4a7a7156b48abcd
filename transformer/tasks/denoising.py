"""Denoising: a text as it was, from the text with noise.

Axes: B batch, T tokens of a text.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import tensorflow as tf

from transformer.config.run import Config
from transformer.config.tasks import DenoisingSettings
from transformer.data import noise
from transformer.data.batches import Batch, Record
from transformer.data.examples.whole_texts import WholeTexts, open_whole_texts
from transformer.data.records import Rows
from transformer.data.tokenizers.base import MASK_TOKEN, Tokenizer
from transformer.data.tokenizers.learning import train_denoising
from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import MASK_ID, PAD_ID, UNKNOWN_ID
from transformer.system.errors import UserError
from transformer.tasks.sequence_to_sequence import SequenceToSequence, features_of


class Denoising(SequenceToSequence):
    """An encoder-decoder that learns x from noised x:

        L = -1/n sum over i of log P(x_i | x_1, ..., x_{i-1}, noised x).

    The noise is drawn anew whenever a batch is made. Sentences change their order and texts are rotated first; then
    spans are infilled, and of the other tokens some are masked and some deleted. With `sentinel_rate` the target is not
    the text but the spans that were taken out, behind their sentinels. Text of several languages has one vocabulary,
    and no token says which language it is: the noised text shows it.

    An example is a text. A text of more than `data.max_tokens` is cut into rows. An input of `predict` is a noised
    text, in which '[MASK]' stands for a mask.

    Where the vocabulary is that of another run and has no mask, the unknown token is the mask: SentencePiece writes
    characters that it does not know as bytes, so no text has it.

    Source: document 001, section 4.3.1; Lewis et al. 2020, section 2.2; Raffel et al. 2020, sections 3.1.4 and 3.3.4.
    Deviation: BART masks whole words and pads to blocks of 512 tokens; here a span is of tokens, and a row is a text.
    """

    name = "denoising"
    Settings = DenoisingSettings
    columns = ("tokens",)
    loss_figures = {"perplexity": "perplexity {:.2f} a token"}

    def __init__(self, config: Config, vocabularies: TokenizerPair, corpus: Mapping[str, str]) -> None:
        super().__init__(config, vocabularies, corpus)
        self.settings, self.tokenizer = config.task, vocabularies.source
        _check_joint(vocabularies.joint)
        if self.settings.sentinel_rate and self.tokenizer.sentinels < 2:
            raise UserError(
                "this run's vocabulary has no sentinels; set task.sentinel_rate = 0, or start from a run of "
                "denoising with them, or without --init-from"
            )
        self.mask_id = _mask_of(self.tokenizer, bool(self.settings.mask_rate or self.settings.infill_rate))
        self.ends = noise.sentence_ends(self.tokenizer)
        self.framing = 3 if self.settings.sentinel_rate else 2  # start and end, or a start and two sentinels more
        if config.data.max_tokens < self.framing + 2:
            raise UserError(f"data.max_tokens must be at least {self.framing + 2} here, got {config.data.max_tokens}")

    @classmethod
    def read(cls, config: Config) -> WholeTexts:
        return open_whole_texts(config)

    @classmethod
    def learn(cls, corpus: WholeTexts, config: Config) -> TokenizerPair:
        _check_joint(config.text.joint)
        sentinels = config.task.sentinels if config.task.sentinel_rate else 0
        return train_denoising(corpus.examples("train"), config.text, sentinels)

    def describe(self) -> str:
        mask = "" if self.mask_id == MASK_ID else f"; it has no {MASK_TOKEN}, the unknown token stands for it"
        return f"{super().describe()}{mask}"

    def encode(self, examples: Sequence[str]) -> Rows:
        ragged = self.tokenizer.tokenize(tf.constant([text.encode("utf-8", "replace") for text in examples]))
        most = self.config.data.max_tokens - self.framing
        lengths: list[int] = []
        for length in np.diff(ragged.row_splits).tolist():
            if length:
                parts = -(-length // most)
                lengths += [(part + 1) * length // parts - part * length // parts for part in range(parts)]
        return Rows({"tokens": (ragged.values.numpy(), np.array(lengths, np.int64))}, {})

    def lengths(self, record: Record) -> Sequence[tf.Tensor]:
        lengths = record["tokens"].row_lengths()
        return [lengths + self.framing]

    def batch(self, record: Record, seed: tf.Tensor) -> Batch:
        source, target = self.noised(record["tokens"].to_tensor(PAD_ID), seed)
        return features_of(*(tf.RaggedTensor.from_tensor(ids, padding=PAD_ID) for ids in (source, target)))

    def noised(self, ids: tf.Tensor, seed: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return what is read and what is to be written, both without start and end.

        Args:
            ids: (B, T) int32, with 0 behind the tokens of a row.
            seed: (2,) int64.
        """
        settings, target = self.settings, ids
        order, rotation, spans, masks, deletions = tf.unstack(tf.random.experimental.stateless_split(seed, 5))
        if settings.permute_rate:
            ids = noise.permuted_sentences(ids, order, settings.permute_rate, self.ends)
        if settings.rotate_rate:
            ids = noise.rotated(ids, rotation, settings.rotate_rate)
        if settings.sentinel_rate:
            most = self.tokenizer.sentinels - 1  # one ends the target
            corrupted = noise.corrupted_spans(ids, spans, settings.sentinel_rate, settings.span_length, most)
            return noise.with_sentinels(ids, corrupted, MASK_ID + 1)
        left = 1.0  # share of the tokens that has had no fate yet
        if settings.infill_rate:
            most = self.config.data.max_tokens - self.framing
            ids = noise.infilled(ids, spans, settings.infill_rate, settings.span_length, self.mask_id, most)
            left -= settings.infill_rate
        if settings.mask_rate:
            ids = noise.masked_tokens(ids, masks, settings.mask_rate / left, self.mask_id)
            left -= settings.mask_rate
        if settings.delete_rate:
            ids = noise.deleted_tokens(ids, deletions, settings.delete_rate / left, self.mask_id)
        return ids, target

    def from_losses(self, losses: Mapping[str, float], counts: Mapping[str, float]) -> dict[str, float]:
        return {"perplexity": math.exp(losses["token"] / (counts["token"] or 1.0))}


def _check_joint(joint: bool) -> None:
    """Refuse two vocabularies with a UserError."""
    if not joint:
        raise UserError(
            "denoising reads and writes one vocabulary; set text.joint = true, and give --init-from a run that has it "
            "too"
        )


def _mask_of(tokenizer: Tokenizer, needed: bool) -> int:
    """Return the id of the mask; where one is needed and there is none, a UserError."""
    if tokenizer.masks:
        return MASK_ID
    if needed and not isinstance(tokenizer, SentencePieceTokenizer):
        raise UserError(
            f"this run's tokenizer ('{tokenizer.kind}') has no mask; set task.mask_rate = 0 and task.infill_rate = 0, "
            "or start without --init-from"
        )
    return UNKNOWN_ID
