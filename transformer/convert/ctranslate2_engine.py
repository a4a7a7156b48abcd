"""Translating with an exported CTranslate2 model instead of TensorFlow. Axes: S source tokens, T output tokens."""

import functools
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from transformer.config.settings import SMALLEST_TOP_P, CleaningConfig, SearchConfig
from transformer.config.stored_run import stored_config
from transformer.convert import ctranslate2_file
from transformer.convert.ctranslate2 import MODEL, library
from transformer.convert.directory import check_digest, check_intact, read_description
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, PAD_ID, START_ID
from transformer.inference.reading import Part, Reader
from transformer.inference.result import Translation
from transformer.inference.translator import Translator
from transformer.search.loop import Hypotheses
from transformer.search.strategy import coverage_penalty, length_penalty
from transformer.system.errors import UserError
from transformer.system.files import path_inside
from transformer.system.threads import PARALLEL, cores_each, refuse_fork


class _Found(NamedTuple):
    """A hypothesis of the library."""

    ids: list[int]  # T, the end token included
    score: float  # by which hypotheses are ordered
    attention: np.ndarray | None  # (T, S), the mean over the heads of the last layer
    log_probabilities: np.ndarray = np.zeros(0, np.float32)  # of the tokens (T,), once they are known


@functools.cache  # sampling opens the model for each batch
def compute_type(flags: Path = Path("/proc/cpuinfo")) -> str:
    """Return the type in which this processor calculates: 'default', that of an export's weights, or 'float32'.

    On x86 the library has two engines: Intel's MKL, which alone has 'int16', and oneDNN, its choice on other makers'
    processors. Without VNNI instructions oneDNN adds products of 8 bits in pairs, and cuts sums that 16 bits cannot
    hold. There quantised weights are turned into float32 when they are loaded.

    `flags` is the file that lists the processor's abilities; where there is none, VNNI counts as missing.

    Source: oneDNN's guide, "Nuances of int8 Computations".
    """
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if not x86 or "int16" in library().get_supported_compute_types("cpu"):
        return "default"
    try:
        return "default" if "avx512_vnni" in flags.read_text(encoding="ascii", errors="replace") else "float32"
    except OSError:
        return "float32"


class CTranslate2Translator(Translator):
    """`Translator.translate` on an export of format 'ctranslate2': the same sentences, parts, warnings and results.

    What differs: beam search goes by the rule of `SearchConfig.finished` = 'leave', whatever that says; the coverage
    penalty and the form 'gnmt' of the length penalty order the finished hypotheses and change nothing before; sampled
    tokens are others for the same seed; `Translation.heads` is None. Scores and log-probabilities are those of the
    whole vocabulary, as everywhere in this package (the library's own are of the tokens that were allowed).

    Only `translate` and `with_search` work: there is no Keras model.

    Args:
        model: the directory that CTranslate2 reads.
        tokenizers: the pair that the model was trained with.
        search, max_positions, source_language, cleaning: see `Translator`.
        cached: numbers that the model keeps of each token that it writes, see `ModelConfig.cached`.

    Use: `CTranslate2Translator.load(export).translate(["a sentence"])`.
    """

    def __init__(
        self,
        model: Path,
        tokenizers: TokenizerPair,
        search: SearchConfig,
        max_positions: int,
        source_language: str = "",
        cached: int = 1,
        cleaning: CleaningConfig | None = None,
    ) -> None:
        self.model, self._cached = model, cached
        self.tokenizers, self.max_positions = tokenizers, max_positions
        self._pieces = [
            tokenizer.pieces(range(tokenizer.vocabulary_size)) for tokenizer in (tokenizers.source, tokenizers.target)
        ]
        self._ids = {piece: index for index, piece in enumerate(self._pieces[1])}
        self._use(search, Reader(tokenizers.source, max_positions, search.cut, source_language, cleaning))

    @classmethod
    def load(  # type: ignore[override]  # an export holds one set of weights
        cls, export: str | Path, **search: float | str
    ) -> Self:
        """Load the translator of an export; `search` overrides the settings that came with it.

        Raises:
            UserError: CTranslate2 is not installed; there is no such export, it is of another format, incomplete or
                damaged; a search value is out of range.
        """
        refuse_fork()
        library()
        path = Path(export)
        description = read_description(path)
        kind = description["format"]
        if kind != "ctranslate2":
            raise UserError(f"{path} is an export of format '{kind}'; make one with --format ctranslate2")
        check_intact(path, ctranslate2_file.MOST)
        config = stored_config(path).override({"search": search}, "search")
        tokenizers, positions = TokenizerPair.load(path_inside(path, "tokenizer")), config.model.max_positions
        length = ctranslate2_file.check(path, config.model, tokenizers)
        check_digest(path, f"{MODEL}/{ctranslate2_file.WEIGHTS}", length)
        language, cached = str(description["source_language"]), config.model.cached
        return cls(path_inside(path, MODEL), tokenizers, config.search, positions, language, cached, config.cleaning)

    def _use(self, search: SearchConfig, reader: Reader) -> None:
        for name, off in (("min_p", 0.0), ("typical_p", 1.0), ("repetition_penalty", 1.0)):
            if getattr(search, name) != off:
                raise UserError(f"search.{name} does not go with CTranslate2; leave it at {off:g}")
        self.search, self.reader = search, reader
        self._penalty = functools.cache(lambda n: float(length_penalty(n, search.length_penalty, search.penalty)))
        self._engine = self._open()

    def _open(self) -> Any:
        """Open the model for as many batches side by side as ours; for one, newly seeded, where tokens are sampled."""
        library().set_random_seed(self.search.seed)  # of workers that are yet to start
        workers = 1 if self.search.temperature else PARALLEL
        try:
            return library().Translator(
                str(self.model),
                device="cpu",
                compute_type=compute_type(),
                inter_threads=workers,
                intra_threads=cores_each(),
            )
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise UserError(f"CTranslate2 cannot read {self.model} ({error}); export the run again") from None

    @property
    def traces(self) -> int:
        """Number of graphs made for searching: none."""
        return 0

    def _translate_batch(self, batch: Sequence[Part], n_best: int, with_heads: bool) -> list[list[Translation]]:
        return super()._translate_batch(batch, n_best, False)

    def _hypotheses(self, batch: Sequence[Part], n_best: int) -> list[list[tuple[Hypotheses, np.ndarray | None]]]:
        rows, starts = [part.row for part in batch], [part.start for part in batch]
        try:
            found = self._found(rows, starts, n_best, any(part.shown for part in batch))
        except (RuntimeError, LookupError, ValueError, MemoryError) as error:  # which `check` has not foreseen
            raise UserError(
                f"{self.model} does not go with the config.json and the tokenizer beside it ({error}); export again"
            ) from None

        def as_ours(one: _Found) -> tuple[Hypotheses, np.ndarray | None]:
            ids, logs = np.array(one.ids), one.log_probabilities
            mean = None if one.attention is None else one.attention[np.newaxis, np.newaxis]
            return Hypotheses(ids, one.score, logs.sum(), logs, len(ids), ids[-1] == END_ID), mean

        return [list(map(as_ours, best)) for best in found]

    def _found(
        self, rows: Sequence[Sequence[int]], starts: Sequence[Sequence[int]], n_best: int, with_attention: bool
    ) -> list[list[_Found]]:
        """Return the best hypotheses of each row."""
        limits, least = self.limits(np.array([len(row) for row in rows]))
        limits = np.maximum(limits, [len(start) + 1 for start in starts])
        groups = defaultdict(list)  # the library takes one limit for all
        for place, bounds in enumerate(zip(limits.tolist(), least.tolist(), strict=True)):
            groups[bounds].append(place)
        engine = self._open() if self.search.temperature else self._engine  # a batch is always sampled alike
        found: list[list[_Found]] = [[] for _ in rows]
        for (most, fewest), places in groups.items():
            source = [[self._pieces[0][index] for index in rows[place]] for place in places]
            prefix = [[self._pieces[1][index] for index in starts[place]] for place in places]
            options = self._options(most, fewest, n_best, with_attention)
            results = engine.translate_batch(source, prefix, **options)
            first = self._first_attention(engine, source) if options["return_attention"] else [None] * len(places)
            best = [self._ranked(*pair)[:n_best] for pair in zip(results, first, strict=True)]
            for place, candidates in zip(places, self._scored(engine, source, best), strict=True):
                found[place] = candidates
        return found

    def _options(self, most: int, fewest: int, n_best: int, with_attention: bool) -> dict[str, object]:
        """Return the library's options for a batch."""
        search = self.search
        if search.temperature:
            likeliest_alone, all_tokens = search.top_k == 1, search.top_k >= len(self._pieces[1])
            how = {
                "beam_size": 1,
                "num_hypotheses": search.beam_size,
                "length_penalty": 0.0,
                "sampling_temperature": search.temperature,
                # The library refuses more tokens than there are, and takes 1 for a search that has one hypothesis.
                "sampling_topk": 0 if likeliest_alone or all_tokens else search.top_k,
                "sampling_topp": SMALLEST_TOP_P if likeliest_alone else search.top_p,
            }
        else:
            # The library ranks as we do, unless the score is of a form that it lacks.
            alike = search.penalty == "length" and not search.coverage_penalty
            how = {
                "beam_size": search.beam_size,
                "num_hypotheses": n_best if alike else search.beam_size,
                "length_penalty": search.length_penalty,
            }
        return {
            **how,
            "max_decoding_length": most,
            "min_decoding_length": fewest,
            "max_input_length": 0,
            "no_repeat_ngram_size": search.no_repeat_ngram,
            "disable_unk": True,
            "suppress_sequences": [[self._pieces[1][index]] for index in (PAD_ID, START_ID)],
            "return_end_token": True,  # it counts as a token
            "return_scores": True,
            "return_attention": with_attention or bool(search.coverage_penalty),
        }

    @staticmethod
    def _first_attention(engine: Any, source: list[list[str]]) -> list[np.ndarray]:
        """Return the attention (S,) of each sentence's first token, which is the same for all its hypotheses.

        The beam search of CTranslate2 4.8 gives the first tokens of a batch the attention of other sentences.
        """
        results = engine.translate_batch(
            source, beam_size=1, max_decoding_length=1, max_input_length=0, return_end_token=True, return_attention=True
        )
        return [np.array(result.attention[0][0], np.float32) for result in results]

    def _ranked(self, result: Any, first: np.ndarray | None) -> list[_Found]:
        """Return the hypotheses of a result, best first by our score; `first` is the attention of the first token."""
        found = []
        attentions = result.attention or [None] * len(result.hypotheses)
        for pieces, score, attention in zip(result.hypotheses, result.scores, attentions, strict=True):
            ids = [self._ids[piece] for piece in pieces]
            if attention is not None:
                attention = np.array([first, *attention[1:]], np.float32)
            total = score if self.search.temperature else score * len(ids) ** self.search.length_penalty
            found.append(_Found(ids, self._score(total, len(ids), attention), attention))
        return sorted(found, key=lambda hypothesis: hypothesis.score, reverse=True)

    def _scored(self, engine: Any, source: list[list[str]], found: Sequence[list[_Found]]) -> list[list[_Found]]:
        """Return hypotheses with the log-probabilities of their tokens and the score that follows, best first."""
        targets = [[self._pieces[1][i] for i in one.ids if i != END_ID] for candidates in found for one in candidates]
        sources = [pieces for pieces, candidates in zip(source, found, strict=True) for _ in candidates]
        results = iter(engine.score_batch(sources, targets, max_input_length=0))

        def scored(one: _Found) -> _Found:
            logs = np.array(next(results).log_probs[: len(one.ids)], np.float32)
            score = self._score(float(logs.sum()), len(one.ids), one.attention)
            return one._replace(score=score, log_probabilities=logs)

        return [sorted(map(scored, candidates), key=lambda one: one.score, reverse=True) for candidates in found]

    def _score(self, total: float, length: int, attention: np.ndarray | None) -> float:
        """Return a hypothesis' score from its log-probability: (T, S) attention counts where coverage does."""
        search = self.search
        if search.temperature:
            return total
        score = total / self._penalty(length)
        if search.coverage_penalty and attention is not None:
            received = attention.sum(axis=0)[np.newaxis, np.newaxis]
            real = np.ones((1, attention.shape[1]), bool)
            score += float(coverage_penalty(received, search.coverage_penalty, real)[0, 0])
        return score
