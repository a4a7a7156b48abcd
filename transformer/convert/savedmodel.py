"""A translator as two SavedModels, graphs that run without this package.

`text`: sentences in, translations out; the tokenizers are inside. It needs the operations of tensorflow-text.
`ids`: subword ids in and out; TensorFlow alone runs it.

Axes: B sentences, S source tokens, N hypotheses returned, T output tokens, W beam size, V vocabulary.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.inference.translator import Translator
from transformer.search.hypotheses import Hypotheses
from transformer.search.loop import decode
from transformer.search.rules import rules_of
from transformer.search.searcher import strategy_for
from transformer.system.errors import UserError

TEXT, IDS = "text", "ids"  # the directories
TEXT_SIGNATURE, IDS_SIGNATURE = "serving_default", "ids"
LARGEST_PENALTY = 10.0  # as in `SearchConfig`


def _checked(tensor: tf.Tensor, *rules: tuple[tf.Tensor, str]) -> tf.Tensor:
    """Return a tensor that can be had only where all conditions hold; each comes with what to say where it does not."""
    with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(holds), [message]) for holds, message in rules]):
        return tf.identity(tensor)


def _ids_function(translator: Translator, max_beam: int) -> Callable[..., dict[str, tf.Tensor]]:
    """Return the graph's function from source ids (B, S) and the options to the hypotheses."""
    search, longest = translator.search, translator.max_positions
    vocabulary = translator.tokenizers.source.vocabulary_size
    limits = np.stack(translator.limits(np.arange(longest + 1)))  # for every source length there is

    def checked(ids: tf.Tensor, beam_size: tf.Tensor, n_best: tf.Tensor, length_penalty: tf.Tensor) -> tf.Tensor:
        ids = _checked(ids, (tf.shape(ids)[0] > 0, "give at least one row of ids"))
        lengths = tf.reduce_sum(tf.cast(ids != PAD_ID, tf.int32), axis=1)
        last = tf.gather(ids, tf.maximum(lengths - 1, 0), batch_dims=1)
        return _checked(
            ids,
            ((beam_size >= 1) & (beam_size <= max_beam), f"beam_size must be from 1 to {max_beam}"),
            ((n_best >= 1) & (n_best <= beam_size), "n_best must be from 1 to beam_size"),
            (
                (length_penalty >= 0) & (length_penalty <= LARGEST_PENALTY),
                f"length_penalty must be from 0 to {LARGEST_PENALTY:g}",
            ),
            ((ids >= 0) & (ids < vocabulary), f"ids must be from 0 to {vocabulary - 1}"),
            ((ids[:, :1] == START_ID) & (last == END_ID), f"each row must begin with {START_ID} and end with {END_ID}"),
            (
                (ids != PAD_ID) == tf.sequence_mask(lengths, tf.shape(ids)[1]),
                f"padding with {PAD_ID} must stand at the end of a row",
            ),
        )

    def function(
        ids: tf.Tensor, beam_size: tf.Tensor, n_best: tf.Tensor, length_penalty: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        ids = checked(ids, beam_size, n_best, length_penalty)
        lengths = tf.reduce_sum(tf.cast(ids != PAD_ID, tf.int32), axis=1)
        ids = ids[:, :longest]
        cut = (lengths > longest)[:, tf.newaxis] & (tf.range(tf.shape(ids)[1]) == longest - 1)
        ids = tf.where(cut, END_ID, ids)
        most, least = tf.unstack(tf.gather(limits, tf.minimum(lengths, longest), axis=1))
        strategy = strategy_for(search, beam_size, length_penalty, max_beam)
        found = decode(
            translator.models,
            ids,
            most,
            strategy,
            rules_of(search, least),
            search.coverage_penalty,
            repetition_penalty=search.repetition_penalty,
        )
        found = Hypotheses(*(part[:, :n_best] for part in found))
        written = found.ids[:, :, : tf.reduce_max(found.lengths)]  # the cache may have had places for more

        empty = (lengths <= 2)[:, tf.newaxis]  # nothing between start and end
        lengths = tf.where(empty, 0, found.lengths)
        width = tf.reduce_max(lengths)
        real = tf.sequence_mask(lengths, width)  # (B, N, T)
        attention = tf.reduce_mean(
            translator.engines.reference().source_attention(ids, written)[-1], axis=2
        )  # (B, N, T, S)
        return {
            "ids": tf.where(real, written[:, :, :width], PAD_ID),
            "scores": tf.where(empty, 0.0, found.scores),
            "log_probabilities": tf.where(empty, 0.0, found.log_probabilities),
            "finished": empty | found.finished,
            "attention": tf.where(real[..., tf.newaxis], attention[:, :, :width], 0.0),
        }

    return function


def _text_function(translator: Translator, max_beam: int) -> Callable[..., dict[str, tf.Tensor]]:
    """Return the graph's function from sentences (B,) and the options to the hypotheses."""
    translate_ids = _ids_function(translator, max_beam)
    source, target = translator.tokenizers.source, translator.tokenizers.target
    names = [
        tf.constant(["", *tokenizer.pieces(range(1, tokenizer.vocabulary_size))]).numpy()
        for tokenizer in (source, target)
    ]

    def function(
        sentences: tf.Tensor, beam_size: tf.Tensor, n_best: tf.Tensor, length_penalty: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        sentences = _checked(sentences, (tf.size(sentences) > 0, "give at least one sentence"))
        rows = source.tokenize(sentences)
        start, end = (tf.fill((rows.nrows(), 1), token) for token in (START_ID, END_ID))
        ids = tf.concat([start, rows, end], axis=1).to_tensor(PAD_ID)
        found = translate_ids(ids, beam_size, n_best, length_penalty)
        shape = tf.shape(found["ids"])
        texts = target.detokenize(tf.reshape(found["ids"], (-1, shape[2])))
        texts = tf.strings.regex_replace(texts, r"[\r\n]", " ")
        written, read = found.pop("ids"), ids[:, : translator.max_positions]
        return {
            "texts": tf.reshape(texts, shape[:2]),
            "tokens": tf.gather(names[1], written),
            "source_tokens": tf.gather(names[0], read),
            **found,
        }

    return function


def write(translator: Translator, folder: Path, max_beam: int) -> dict[str, object]:
    """Write both SavedModels below a folder as `save` does; returns what the export's description says of them."""
    for name in (TEXT, IDS):
        save(translator, folder / name, name, max_beam)
    return {"max_beam": max_beam, "tensorflow": tf.__version__}


def save(translator: Translator, folder: Path, kind: str, max_beam: int) -> None:
    """Write the SavedModel of a kind, TEXT or IDS, with one signature, 'serving_default' or 'ids'.

    Inputs of both: `beam_size` (at most `max_beam`), `n_best` (at most `beam_size`) and `length_penalty`, scalars, with
    the search's own values as defaults of the signature. Outputs of both: `scores`, `log_probabilities` and `finished`
    (B, N), and `attention` (B, N, T, S), the mean over the heads of the last layer, 0 beyond the end of a hypothesis.

    TEXT takes `sentences` (B,) and also gives `texts` (B, N), `tokens` (B, N, T) and `source_tokens` (B, S), empty
    strings beyond the end. IDS takes `ids` (B, S) int32 with start and end token, padded with 0, and gives `ids`
    (B, N, T), with the end token, padded with 0.

    An empty sentence gives an empty text with score 0. One that is longer than the model reads is cut; the end token
    stays. Anything out of bounds is an InvalidArgumentError that names the rule.

    Raises:
        UserError: the beam cannot be as large as that, or the folder cannot be written.
    """
    vocabulary = translator.tokenizers.target.vocabulary_size
    if max_beam > vocabulary:
        raise UserError(f"the largest beam must be at most the vocabulary's {vocabulary} tokens, got {max_beam}")
    defaults = {
        "beam_size": tf.constant(translator.search.beam_size),
        "n_best": tf.constant(1),
        "length_penalty": tf.constant(translator.search.length_penalty),
    }
    options = [tf.TensorSpec((), value.dtype, name) for name, value in defaults.items()]
    make, name, spec = {
        TEXT: (_text_function, TEXT_SIGNATURE, tf.TensorSpec((None,), tf.string, "sentences")),
        IDS: (_ids_function, IDS_SIGNATURE, tf.TensorSpec((None, None), tf.int32, "ids")),
    }[kind]
    function = make(translator, max_beam)
    function.__defaults__ = tuple(defaults.values())  # TensorFlow makes them the signature's
    graph = tf.function(function, input_signature=[spec, *options], autograph=False)
    holder = tf.Module()
    holder.weights = [variable.value for model in translator.models for variable in model.weights]
    try:
        tf.saved_model.save(holder, str(folder), signatures={name: graph})
    except tf.errors.OpError as error:  # of the file system
        reason = error.message.rpartition("; ")[2].partition(" [Op:")[0]
        raise UserError(f"cannot write {folder}: {reason}; free space or name another directory") from None
