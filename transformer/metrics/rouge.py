"""ROUGE of each line by rouge-score, in the form of sacrebleu's metrics, whose significance is tested likewise."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
from sacrebleu.metrics.base import Metric, Score, Signature

from transformer.metrics.text import ROUGE_TOKENIZERS

KINDS = {"ROUGE-1": "rouge1", "ROUGE-2": "rouge2", "ROUGE-L": "rougeL"}  # names, and rouge-score's


class RougeSignature(Signature):
    """What a ROUGE score was computed with."""

    def __init__(self, args: dict[str, Any]) -> None:
        super().__init__(args)
        self._abbr |= {"tok": "t"}
        self.info |= {"tok": args["tokenizer"], "stem": "no", "version": f"rouge-score-{version('rouge-score')}"}


class Rouge(Metric):
    """The mean over lines of the F-score 2 P R / (P + R), times 100.

    ROUGE-n: P and R are the shares of the hypothesis' and the reference's n-grams that the other has too, counted as
    often as in both. ROUGE-L: the length of the longest common subsequence of words, divided by the number of words of
    the hypothesis and of the reference.

    Args:
        kind: one of `KINDS`.
        tokenizer: 'default': rouge-score's, whose words are lower-cased runs of a-z and 0-9; other letters separate
            words as spaces do. 'zh': each Chinese character is a word (sacrebleu's `zh`), letters of all alphabets make
            words, and punctuation is left out.

    Raises:
        ValueError: an unknown kind or tokenizer.

    Source: Lin 2004, sections 2 and 3.
    Deviation: rouge-score's F-score weighs P and R alike, as most tables do.
    """

    _SIGNATURE_TYPE = RougeSignature

    def __init__(self, kind: str, tokenizer: str = "default") -> None:
        from rouge_score.rouge_scorer import RougeScorer
        from rouge_score.tokenizers import DefaultTokenizer

        super().__init__()
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        if tokenizer not in ROUGE_TOKENIZERS:
            raise ValueError(f"tokenizer must be one of {', '.join(ROUGE_TOKENIZERS)}, got {tokenizer!r}")
        self.kind, self.tokenizer = KINDS[kind], tokenizer
        words = DefaultTokenizer() if tokenizer == "default" else ChineseTokenizer()
        self._scorer = RougeScorer([self.kind], tokenizer=words)

    def _preprocess_segment(self, sent: str) -> str:
        return sent

    def _extract_reference_info(self, refs: Sequence[str]) -> dict[str, Any]:
        return {"references": refs}

    def _compute_segment_statistics(self, hypothesis: str, ref_kwargs: dict) -> list[float]:
        """Return the line's F-score, and 1 for the line."""
        return [float(self._scorer.score_multi(ref_kwargs["references"], hypothesis)[self.kind].fmeasure), 1.0]

    def _aggregate_and_compute(self, stats: list[list[float]]) -> Score:
        return self._compute_score_from_stats(np.sum(stats, axis=0))

    def _compute_score_from_stats(self, stats: Any) -> Score:
        return Score(self.kind, 100.0 * float(stats[0]) / float(stats[1]))


class ChineseTokenizer:
    """Words for rouge-score where texts may be Chinese: see `Rouge`."""

    def __init__(self) -> None:
        from sacrebleu.tokenizers.tokenizer_zh import TokenizerZh

        self._separated = TokenizerZh()

    def tokenize(self, text: str) -> list[str]:
        """Return the words of a text."""
        return [word for word in self._separated(text.lower()).split() if any(map(str.isalnum, word))]
