"""From sentences to translations."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.config.run import Config
from transformer.config.settings import AUTO, DEFAULT_RUN, TENSORFLOW, CleaningConfig, SearchConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import START_ID
from transformer.inference.engine import Engine, Engines
from transformer.inference.reading import Part, Reader
from transformer.inference.result import END, START, Translation, joined, one_line
from transformer.inference.run_engines import DENOISING, engines_of_runs
from transformer.inference.warnings import translation_warnings
from transformer.metrics.confidence import Confidence
from transformer.search.hypotheses import Hypotheses
from transformer.search.length_limits import output_limits, search_batches
from transformer.system.errors import UserError
from transformer.system.tensorflow import have_tensorflow
from transformer.system.threads import in_order, refuse_fork

if TYPE_CHECKING:
    from transformer.models.transformer import Transformer


class Translator:
    """A trained model with its tokenizers, or an ensemble of models with one vocabulary.

    Args:
        transformer: the model, weights loaded, or a list of them: the search goes by their mean probabilities, and the
            attention is that of the first. Or the `Engines` that compute.
        tokenizers: the pair it was trained with.
        search: how to search or sample, and limits.
        max_positions: longest sequence of the model, in tokens.
        source_language: code, by whose rules texts are split into sentences; empty: English.
        cleaning: that of the training text, which removes HTML from the sentences too; None: they are read as they are.
        confidence: what tells translations that the model is unsure of; None: nothing does.

    Use: `Translator.load(run).translate(["a sentence"])`.
    """

    def __init__(
        self,
        transformer: Transformer | Sequence[Transformer] | Engines,
        tokenizers: TokenizerPair,
        search: SearchConfig,
        max_positions: int,
        source_language: str = "",
        cleaning: CleaningConfig | None = None,
        confidence: Confidence | None = None,
    ) -> None:
        self.confidence = confidence
        self.engines = transformer if isinstance(transformer, Engines) else _engines_of(transformer)
        self.tokenizers, self.max_positions = tokenizers, max_positions
        self._use(search, Reader(tokenizers.source, max_positions, search.cut, source_language, cleaning))

    @classmethod
    def load(
        cls,
        run: str | Path | Sequence[str | Path] = DEFAULT_RUN,
        which: str = BEST,
        engine: str = AUTO,
        **search: float | str,
    ) -> Self:
        """Load the translator of a run directory, or the ensemble of several.

        A run of denoising is one too: it restores texts with noise, in which '[MASK]' is the mask.

        Args:
            run: one or several directories.
            which: `best` or `last` weights.
            engine: 'ctranslate2', 'tensorflow', or 'auto': the first where it can do what is asked for.
            search: overrides settings of the first run.

        Raises:
            UserError: a run is missing, incomplete, damaged or of another architecture; two runs have different
                vocabularies; a search value is out of range; CTranslate2 is to do what it cannot.
            RuntimeError: what `refuse_fork` raises.
        """
        refuse_fork()
        runs = [RunDirectory(path) for path in ([run] if isinstance(run, (str, Path)) else run)]
        engines, tokenizers = engines_of_runs(runs, which, engine)
        config = runs[0].config()
        if config.task.name == DENOISING:  # whose noise may have moved sentences
            search = {"cut": "long", **search}
        config = config.override({"search": search}, "search")
        positions = min(directory.config().model.max_positions for directory in runs)
        language = runs[0].corpus().get("source_language", "")
        confidence = runs[0].confidence() if len(runs) == 1 else None  # those of one model are not an ensemble's
        return cls(engines, tokenizers, config.search, positions, language, config.cleaning, confidence)

    def with_search(self, **search: float | str) -> Self:
        """Return a translator with the same weights that searches with other settings; those not named stay.

        They share their engines and graphs: none is made again for settings that were used before, or for other limits.

        Raises:
            UserError: an unknown setting, or a value that is out of range.
        """
        config = Config(search=self.search).override({"search": search}, "search").search
        other = copy.copy(self)
        other._use(config, dataclasses.replace(self.reader, cut=config.cut))
        return other

    def _use(self, search: SearchConfig, reader: Reader) -> None:
        self.search, self.reader = search, reader
        self.engine = self.engines.choose(search)

    @property
    def models(self) -> list[Transformer]:
        """The Keras models, for which TensorFlow is imported; a UserError where there are none."""
        return self.engines.reference().models

    @property
    def transformer(self) -> Transformer:
        """The first of `models`."""
        return self.models[0]

    @property
    def traces(self) -> int:
        """Number of graphs made so far; lengths are open in them, so it does not grow with use."""
        return self.engine.traces(self.search)

    def encode(self, sentences: Sequence[str]) -> list[list[int]]:
        """Return the source ids of sentences, with start and end tokens."""
        return self.reader.encode(sentences)

    def translate(
        self,
        sentences: Sequence[str],
        n_best: int = 1,
        with_attention: bool = False,
        progress: Callable[[int], None] | None = None,
        prefixes: Sequence[str] | None = None,
        with_heads: bool = False,
        with_scores: bool = True,
    ) -> list[list[Translation]]:
        """Translate sentences; each gets `n_best` hypotheses, best first, in the order of the sentences.

        Sentences are sorted by length and searched in batches of `search.batch_tokens`. An empty one gives an empty
        translation and a warning. Of several in one string each is translated on its own, unless `search.cut` is
        'long', and what is longer than the model reads is translated in parts in any case; the translations are joined.
        A string that is longer than the model reads has a warning and no attention. Signs of a bad translation are
        warnings too.

        Args:
            sentences: any strings; a lone surrogate in one is taken for a question mark.
            n_best: at most the beam size.
            with_attention: also return attention weights.
            progress: called with the number of sentences done.
            prefixes: how each translation has to begin; it may be empty.
            with_heads: keep the attention of every layer and head too, which takes that many times as much memory, and
                TensorFlow.
            with_scores: also return the log-probability of each token, and scores that are those of the whole
                vocabulary. False saves CTranslate2 a pass over the translations: its own scores, which leave out the
                probability of tokens that no translation holds, differ by some thousandths.

        Raises:
            ValueError: `n_best` is not from 1 to the beam size, or there are not as many prefixes as sentences.
            RuntimeError: what `refuse_fork` raises.
        """
        refuse_fork()
        if prefixes is not None and len(prefixes) != len(sentences):
            raise ValueError(f"prefixes must be as many as sentences ({len(sentences)}), got {len(prefixes)}")
        if not 1 <= n_best <= self.search.beam_size:
            raise ValueError(f"n_best must be from 1 to beam_size={self.search.beam_size}, got {n_best!r}")
        if not sentences:
            return []
        cut = self.reader.parts(sentences, with_attention)  # the parts of each sentence
        if prefixes and any(prefixes):  # a prefix begins the first part of its sentence
            for parts, start in zip(cut, self._prefix_ids(prefixes), strict=True):
                parts[0] = parts[0]._replace(start=start)
        sentence_of = [number for number, parts in enumerate(cut) for _ in parts]
        left = [len(parts) for parts in cut]

        def report(done: list[int]) -> None:
            for part in done:
                left[sentence_of[part]] -= 1
            if progress:
                progress(left.count(0))

        every = [part for parts in cut for part in parts]
        found = iter(self._translate_parts(every, _Wanted(n_best, with_heads, with_scores), report))
        warning = f"longer than the {self.max_positions} tokens that the model reads; translated in {{}} parts"
        return [joined([next(found) for _ in parts], "" if self.reader.fits(parts) else warning) for parts in cut]

    def next_token(self, sentence: str, prefix: str = "") -> np.ndarray:
        """Return how likely each token is next, after a sentence and the beginning of its translation.

        These are the models' probabilities, before the rules and the temperature of a search.

        Args:
            sentence: as it is, cut only where it is longer than the model reads.
            prefix: the beginning, which may be empty.

        Returns:
            log-probabilities (V,), in nats; `tokenizers.target.pieces` names tokens by their ids.
        """
        models = self.models
        import tensorflow as tf

        source_ids = tf.constant([self.reader.fit(self.encode([sentence])[0])])
        target_in = tf.constant([[START_ID, *self._prefix_ids([prefix])[0]]])
        outputs = [model.decode(source_ids, target_in, training=False)[0][:, -1] for model in models]
        logits = [model.project(output) for model, output in zip(models, outputs, strict=True)]  # (1, V) each
        logs = tf.nn.log_softmax(tf.cast(tf.concat(logits, axis=0), tf.float32))
        return (tf.reduce_logsumexp(logs, axis=0) - np.log(len(logits))).numpy()

    def _translate_parts(self, parts: Sequence[Part], wanted: _Wanted, report: Callable) -> list[list[Translation]]:
        """Return the hypotheses of parts; `report` is called with the places of those done."""
        results: list[list[Translation]] = [[] for _ in parts]
        lengths = [len(part.row) for part in parts]
        empty = [i for i, length in enumerate(lengths) if length < 3]
        for i in empty:
            results[i] = [Translation("", 0.0, 0.0, warnings=("empty sentence",))] * wanted.n_best
        report(empty)
        engine = self.engines.choose(self.search, wanted.heads)
        batches = search_batches(lengths, self.search, self.max_positions, engine.cached, shortest=3)

        def search(batch: list[int]) -> list[list[Translation]]:
            return self._translate_batch(engine, [parts[i] for i in batch], wanted)

        for batch, found in zip(batches, in_order(search, batches), strict=True):
            for i, hypotheses in zip(batch, found, strict=True):
                results[i] = hypotheses
            report(batch)
        return results

    def _warnings(self, row: list[int]) -> list[str]:
        unknown, known = self.tokenizers.source.count_unknown(row[1:-1])
        return [f"{'has' if known else 'made only of'} characters the model does not know"] if unknown else []

    def _prefix_ids(self, prefixes: Sequence[str]) -> list[list[int]]:
        return [row[: self.max_positions - 1] for row in self.tokenizers.target.encode(prefixes)]

    def limits(self, lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the most output tokens, the end token included, and the least without it, for source lengths."""
        return output_limits(self.search, lengths, self.max_positions)

    def find(
        self, rows: Sequence[Sequence[int]], starts: Sequence[Sequence[int]] = (), engine: Engine | None = None
    ) -> Hypotheses:
        """Return what the search finds for source ids, with start and end tokens.

        Args:
            rows: of a batch.
            starts: ids that each translation has to begin with; none: they may begin anyhow.
            engine: that searches; None: the translator's.
        """
        return self._find(engine or self.engine, rows, starts or [()] * len(rows), _Wanted(self.search.beam_size))

    def _find(
        self, engine: Engine, rows: Sequence[Sequence[int]], starts: Sequence[Sequence[int]], wanted: _Wanted
    ) -> Hypotheses:
        limits, least = self.limits(np.array([len(row) for row in rows]))
        limits = np.maximum(limits, [len(start) + 1 if start else 1 for start in starts]).astype(np.int32)
        return engine.search(rows, starts, limits, least, self.search, wanted.n_best, wanted.scores)

    def _translate_batch(self, engine: Engine, batch: Sequence[Part], wanted: _Wanted) -> list[list[Translation]]:
        rows = [part.row for part in batch]
        found = self._find(engine, rows, [part.start for part in batch], wanted)
        shape = found.lengths.shape
        written = [found.ids[place][: found.lengths[place]].tolist() for place in np.ndindex(shape)]
        texts = iter(self.tokenizers.target.decode(written))
        heads = None
        if any(part.shown for part in batch):
            heads = engine.attention(rows, found)

        def translation(b: int, w: int) -> Translation:
            weights = None if heads is None or not batch[b].shown else heads[:, b, w]
            one = Hypotheses(*(array[b, w] for array in found))
            return self._translation(batch[b], one_line(next(texts)), one, weights, wanted.heads)

        return [[translation(b, w) for w in range(shape[1])] for b in range(shape[0])]

    def _translation(
        self, part: Part, text: str, found: Hypotheses, heads: np.ndarray | None, with_heads: bool
    ) -> Translation:
        if not np.isfinite(found.scores):  # weights so large that their sums are no numbers
            raise UserError("the model's scores are no numbers, its weights are damaged; restore them")
        row, length, finished = part.row, int(found.lengths), bool(found.finished)
        tokens = found.ids[: length - finished]
        heads = None if heads is None else heads[:, :, :length, : len(row)]
        shown = heads is not None
        log_probability = float(found.log_probabilities)
        confidence, doubts = self._confidence(part.text, text, log_probability, length, len(row) - 2)
        return Translation(
            text,
            float(found.scores),
            log_probability,
            tuple(self.tokenizers.target.pieces(tokens)) if shown else (),
            (START, *self.tokenizers.source.pieces(row[1:-1]), END) if shown else (),
            None if heads is None else heads[-1].mean(axis=0),
            finished,
            (
                *self._warnings(row),
                *translation_warnings(part.text, text, row[1:-1], tokens.tolist(), finished),
                *doubts,
            ),
            tuple(map(float, found.token_log_probabilities[:length])),
            heads if with_heads else None,
            confidence,
            bool(doubts),
        )

    def _confidence(self, *translation: Any) -> tuple[float | None, list[str]]:
        """Return how sure the model may be of a translation, and the warning where that is too little."""
        if self.confidence is None:
            return None, []
        confidence = self.confidence.of(*translation)
        return confidence, [self.confidence.warning] if confidence < self.confidence.threshold else []


@dataclasses.dataclass(frozen=True)
class _Wanted:
    """What is wanted of each sentence."""

    n_best: int = 1  # hypotheses
    heads: bool = False  # the attention of every layer and head
    scores: bool = True  # exact scores, and those of tokens


def _engines_of(transformer: Transformer | Sequence[Transformer]) -> Engines:
    """Return the engine of models that are there."""

    def opened() -> Engine:
        have_tensorflow()
        from transformer.inference.tensorflow_engine import TensorFlowEngine

        return TensorFlowEngine(transformer if isinstance(transformer, Sequence) else [transformer])

    return Engines(opened, wanted=TENSORFLOW)
