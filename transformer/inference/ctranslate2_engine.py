"""The fast engine: CTranslate2 searches, and nothing imports TensorFlow. Axes as in engine.py."""

import functools
import platform
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from transformer.config.settings import CTRANSLATE2, SMALLEST_TOP_P, SearchConfig
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.inference.ctranslate2_model import library, vocabularies
from transformer.inference.engine import Engine, Rows
from transformer.search.hypotheses import Hypotheses, length_penalty
from transformer.system.errors import UserError
from transformer.system.threads import PARALLEL, cores_each

# What the library lacks or does otherwise: a setting, the value with which it is not asked for, and what it is.
LACKING = (
    ("coverage_penalty", 0.0, "the coverage penalty"),
    ("min_p", 0.0, "min-p sampling"),
    ("typical_p", 1.0, "typical sampling"),
    ("repetition_penalty", 1.0, "the repetition penalty"),
)


class _Found(NamedTuple):
    """A hypothesis of the library."""

    ids: list[int]  # T, the end token included
    score: float  # by which hypotheses are ordered
    log_probability: float
    log_probabilities: Sequence[float] = ()  # of the tokens, once they are known


def refused(search: SearchConfig, with_heads: bool = False) -> str:
    """Return why the library cannot do what is asked for; empty: it can."""
    for name, off, what in LACKING:
        if getattr(search, name) != off:
            return f"CTranslate2 does not know {what} (search.{name})"
    if search.finished == "compete" and search.beam_size > 1 and not search.temperature:
        return "finished hypotheses leave the beam of CTranslate2 (search.finished = 'compete')"
    return "CTranslate2 returns the mean attention of the last layer's heads alone" if with_heads else ""


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


class CTranslate2Engine(Engine):
    """Searches with a converted model.

    What differs from the reference: tokens that rules forbid pass their probability to the others, so that with
    `min_length` and `no_repeat_ngram` other hypotheses may win; the form 'gnmt' of the length penalty orders the
    finished hypotheses, as the other does, out of those that the library returns; sampled tokens are others for the
    same seed.

    Args:
        model: the directory that CTranslate2 reads.
        tokenizers: the pair that the model was trained with.
        cached: see `Engine`.
        damaged: what to say where the library cannot use the model.
        kept: an object that lives as long as the engine, such as a temporary directory.

    Raises:
        UserError: the model cannot be read.
    """

    name = CTRANSLATE2

    def __init__(
        self, model: Path, tokenizers: TokenizerPair, cached: int, damaged: str = "{}: {}", kept: object = None
    ) -> None:
        self.model, self.cached, self._damaged, self._kept = model, cached, damaged, kept
        self._pieces = vocabularies(tokenizers)
        self._ids = {piece: index for index, piece in enumerate(self._pieces[1])}
        self._searching = self._open(PARALLEL)

    def _open(self, batches: int) -> Any:
        """Open the model for so many batches side by side."""
        try:
            return library().Translator(
                str(self.model),
                device="cpu",
                compute_type=compute_type(),
                inter_threads=batches,
                intra_threads=cores_each(),
            )
        except (RuntimeError, ValueError, IndexError, MemoryError) as error:
            raise UserError(self._damaged.format(self.model, error)) from None

    def warm_up(self, search: SearchConfig) -> None:
        one = np.ones(1, np.int32)
        self.search([[START_ID, UNKNOWN_ID, END_ID]], [[]], one + 1, one - 1, search)

    def search(
        self,
        rows: Rows,
        starts: Rows,
        limits: np.ndarray,
        least: np.ndarray,
        search: SearchConfig,
        n_best: int = 1,
        scored: bool = True,
    ) -> Hypotheses:
        try:
            return _as_arrays(self._found(rows, starts, limits, least, search, n_best, scored), n_best)
        except (RuntimeError, LookupError, ValueError, MemoryError) as error:  # which no check has foreseen
            raise UserError(self._damaged.format(self.model, error)) from None

    def _found(
        self,
        rows: Rows,
        starts: Rows,
        limits: np.ndarray,
        least: np.ndarray,
        search: SearchConfig,
        n_best: int,
        scored: bool,
    ) -> list[list[_Found]]:
        """Return the best hypotheses of each row, as `Engine.search`."""
        engine = self._searching
        if search.temperature:  # newly seeded, so that a batch is always sampled alike
            library().set_random_seed(search.seed)
            engine = self._open(1)
        source = [[self._pieces[0][index] for index in row] for row in rows]
        prefix = [[self._pieces[1][index] for index in start] for start in starts] if any(starts) else None
        found: list[list[_Found]] = [[] for _ in rows]
        places = list(range(len(rows)))
        for exact in (False, True):  # first with limits that may be too large, then those again that went beyond theirs
            groups = defaultdict(list)  # the library takes one limit for all
            for place in places:
                groups[int(least[place]), int(limits[place]) if exact else 0].append(place)
            places = []
            for (fewest, most), members in groups.items():
                most = most or int(max(limits[place] for place in members))
                tight = all(limits[place] == most for place in members)
                options = self._options(most, fewest, search, n_best if tight else search.beam_size)
                own = [prefix[place] for place in members] if prefix else None
                for place, result in zip(
                    members, engine.translate_batch([source[place] for place in members], own, **options), strict=True
                ):
                    if not tight and max(map(len, result.hypotheses)) >= limits[place]:
                        places.append(place)
                    else:
                        found[place] = self._ranked(result, search)[:n_best]
        return self._scored(engine, source, found, search) if scored or search.temperature else found

    def _options(self, most: int, fewest: int, search: SearchConfig, wanted: int) -> dict[str, object]:
        """Return the library's options for a batch; `wanted` hypotheses are returned of each."""
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
            how = {
                "beam_size": search.beam_size,
                "num_hypotheses": wanted if search.penalty == "length" else search.beam_size,
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
        }

    def _ranked(self, result: Any, search: SearchConfig) -> list[_Found]:
        """Return the hypotheses of a result, best first by our score."""
        found = []
        for pieces, score in zip(result.hypotheses, result.scores, strict=True):
            ids = [self._ids[piece] for piece in pieces] or [END_ID]  # of a source without tokens
            total = score if search.temperature else score * len(ids) ** search.length_penalty
            found.append(_Found(ids, _score(total, len(ids), search), total))
        return sorted(found, key=lambda hypothesis: hypothesis.score, reverse=True)

    def _scored(
        self, engine: Any, source: list[list[str]], found: Sequence[list[_Found]], search: SearchConfig
    ) -> list[list[_Found]]:
        """Return hypotheses with the log-probabilities of their tokens and the score that follows, best first."""
        targets = [[self._pieces[1][i] for i in one.ids if i != END_ID] for candidates in found for one in candidates]
        sources = [pieces for pieces, candidates in zip(source, found, strict=True) for _ in candidates]
        results = iter(engine.score_batch(sources, targets, max_input_length=0))

        def scored(one: _Found) -> _Found:
            logs = next(results).log_probs[: len(one.ids)]
            total = sum(logs)
            return _Found(one.ids, _score(total, len(one.ids), search), total, logs)

        return [sorted(map(scored, candidates), key=lambda one: one.score, reverse=True) for candidates in found]

    def attention(self, rows: Rows, found: Hypotheses) -> np.ndarray:
        """Return the mean over the heads of the last layer, (1, B, W, 1, T, S).

        It is that of a greedy search which has to begin with the hypothesis: the beam search of CTranslate2 4.8 gives
        the first tokens of a batch the attention of other sentences.
        """
        batch, width, longest = found.ids.shape
        weights = np.zeros((1, batch, width, 1, longest, max(map(len, rows))), np.float32)
        source = [[self._pieces[0][index] for index in row] for row in rows for _ in range(width)]
        prefix = [
            [self._pieces[1][index] for index in ids[: length - 1]]
            for ids, length in zip(found.ids.reshape(-1, longest), found.lengths.ravel(), strict=True)
        ]
        try:
            results = self._searching.translate_batch(
                source,
                prefix,
                beam_size=1,
                max_decoding_length=longest,
                max_input_length=0,
                return_end_token=True,
                return_attention=True,
            )
        except (RuntimeError, LookupError, ValueError, MemoryError) as error:
            raise UserError(self._damaged.format(self.model, error)) from None
        for place, (result, length) in enumerate(zip(results, found.lengths.ravel(), strict=True)):
            own = np.array(result.attention[0][:length], np.float32)  # (T, S)
            weights[0, place // width, place % width, 0, : own.shape[0], : own.shape[1]] = own
        return weights


def _score(total: float, length: int, search: SearchConfig) -> float:
    """Return a hypothesis' score from its log-probability."""
    return total if search.temperature else total / length_penalty(length, search.length_penalty, search.penalty)


def _as_arrays(found: Sequence[Sequence[_Found]], n_best: int) -> Hypotheses:
    """Return the hypotheses of all sentences as arrays."""
    shape = len(found), n_best
    every = [one for candidates in found for one in candidates]
    lengths = np.array([len(one.ids) for one in every], np.int32)
    longest = int(lengths.max())
    ids = np.full((len(every), longest), PAD_ID, np.int32)
    logs = np.zeros((len(every), longest if every[0].log_probabilities else 0), np.float32)
    for row, one in enumerate(every):
        ids[row, : len(one.ids)] = one.ids
        logs[row, : len(one.log_probabilities)] = one.log_probabilities
    return Hypotheses(
        ids.reshape(*shape, longest),
        np.array([one.score for one in every]).reshape(shape),
        np.array([one.log_probability for one in every]).reshape(shape),
        logs.reshape(*shape, -1) if logs.size else np.zeros((*shape, 0), np.float32),
        lengths.reshape(shape),
        (ids[np.arange(len(every)), lengths - 1] == END_ID).reshape(shape),
    )
