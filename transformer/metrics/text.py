"""Scores of texts that were written: BLEU and chrF by sacrebleu, ROUGE by rouge-score, each with its signature.

A signature says how a score was computed, so that others can repeat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

from transformer.data.languages import bleu_tokenizer, language_of
from transformer.system.errors import UserError

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric


# sacrebleu's tokenizers, without those that download a model.
TOKENIZERS = ("13a", "intl", "zh", "char", "ja-mecab", "ko-mecab", "none")
ROUGE_TOKENIZERS = ("default", "zh")  # see `rouge.Rouge`

TOKENISED_LINES = 100  # that end in a full stop behind a space: what sacrebleu takes for a sign of tokenised text

# One text for each hypothesis, or several such sequences, each of one reference translator.
References = Sequence[str] | Sequence[Sequence[str]]


class Score(NamedTuple):
    """A corpus score from 0 to 100 and how it was computed."""

    score: float
    signature: str  # sacrebleu's: references, case, tokenizer, smoothing, version


def bleu(hypotheses: Sequence[str], references: References, target_language: str = "", tokenizer: str = "") -> Score:
    """Return the cased corpus BLEU of detokenised text (sacreBLEU).

    100 * min(1, exp(1 - r / c)) * (p1 p2 p3 p4)^(1/4), where pn is the share of the hypotheses' n-grams that occur in
    their references, c and r are the lengths of all hypotheses and of all references in tokens. Of several references
    for a hypothesis, an n-gram counts as often as in the one that has it most, and the length is that of the nearest.

    Args:
        hypotheses: translations, detokenised text.
        references: one for each hypothesis, or several such sequences.
        target_language: code such as 'en'; it chooses the tokenizer: `zh` for Chinese, `char` for Japanese, Korean
            and other languages without spaces, else `13a`, which is what published tables use.
        tokenizer: one of TOKENIZERS, used instead of the language's.

    Raises:
        ValueError: no sentence, not as many in each sequence, or an unknown tokenizer.
        UserError: a MeCab tokenizer that is not installed.

    Source: Papineni et al. 2002, section 2; Post 2018, "A Call for Clarity in Reporting BLEU Scores".
    Deviation: the smoothing of sacrebleu (`exp`) where an n-gram order has no match at all.
    """
    return corpus_score(bleu_metric(target_language, tokenizer), hypotheses, references)


def bleu_metric(target_language: str = "", tokenizer: str = "") -> Metric:
    """Return what computes `bleu`, for `significance.paired_bootstrap`; arguments and what is raised are those."""
    from sacrebleu.metrics import BLEU

    tokenizer = tokenizer or bleu_tokenizer(target_language)
    if tokenizer not in TOKENIZERS:
        raise ValueError(f"tokenizer must be one of {', '.join(TOKENIZERS)}, got {tokenizer!r}")
    try:
        return BLEU(tokenize=tokenizer, force=True)  # no log lines on tokenised text: see `looks_tokenised`
    except RuntimeError:  # raised by the two MeCab tokenizers
        extra = tokenizer.removesuffix("-mecab")
        raise UserError(
            f"tokenizer '{tokenizer}' needs packages that are not installed: pip install 'sacrebleu[{extra}]', "
            "or choose 'char'"
        ) from None


def chrf(hypotheses: Sequence[str], references: References) -> Score:
    """Return chrF2: the F-score (beta 2) of character n-grams up to 6, spaces left out; no tokenizer is needed.

    Of several references for a hypothesis the one counts that gives the highest score. See `bleu` for the arguments.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation"; sacrebleu's defaults.
    """
    return corpus_score(chrf_metric(), hypotheses, references)


def chrf_metric() -> Metric:
    """Return what computes `chrf`, for `significance.paired_bootstrap`."""
    from sacrebleu.metrics import CHRF

    return CHRF()


def rouge(hypotheses: Sequence[str], references: References, tokenizer: str = "default") -> dict[str, Score]:
    """Return ROUGE-1, ROUGE-2 and ROUGE-L by these names: the mean F-score of all lines, times 100.

    See `rouge.Rouge` for the formulas and the tokenizers. Of several references for a hypothesis the one counts that
    gives the highest F-score, for each of the three.

    Raises:
        ValueError: no sentence, not as many in each sequence, or an unknown tokenizer.

    Source: Lin 2004, "ROUGE: A Package for Automatic Evaluation of Summaries"; the scores are those of rouge-score.
    """
    from transformer.metrics.rouge import KINDS, Rouge

    return {name: corpus_score(Rouge(name, tokenizer), hypotheses, references) for name in KINDS}


def sentence_chrf(hypotheses: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return the chrF2 of each hypothesis alone, against its one reference; see `chrf`."""
    from sacrebleu.metrics import CHRF

    metric = CHRF()
    return [
        metric.sentence_score(hypothesis, [reference]).score
        for hypothesis, reference in zip(hypotheses, references, strict=True)
    ]


def tokenised_bleu(hypotheses: Sequence[str], references_tokenised: References, language: str) -> Score:
    """Return BLEU as published Multi30k tables measure it: lower-cased and tokenised by Moses' rules.

    Args:
        hypotheses: translations, detokenised and cased: this function prepares them with `lowercase_tokenise`.
        references_tokenised: prepared already, such as `test_2016_flickr.lc.norm.tok.de`; one sequence, or several.
        language: target language's code.

    Source: Elliott et al. 2016 (the Multi30k references); Moses' normalize-punctuation.perl and tokenizer.perl.
    Deviation: sacrebleu's signature does not name this preparation: it says `case:mixed` and `tok:none`.
    """
    return corpus_score(bleu_metric(tokenizer="none"), lowercase_tokenise(hypotheses, language), references_tokenised)


def lowercase_tokenise(sentences: Sequence[str], language: str) -> list[str]:
    """Return sentences lower-cased, punctuation-normalised and Moses-tokenised, with `&`, `<`, quotes and `[` escaped.

    The language's code chooses Moses' list of abbreviations (English where Moses has none).
    """
    from sacremoses import MosesPunctNormalizer, MosesTokenizer

    language = language_of(language)
    normalizer, tokenizer = MosesPunctNormalizer(language), MosesTokenizer(language)
    return [
        tokenizer.tokenize(normalizer.normalize(sentence.lower()), escape=True, return_str=True)
        for sentence in sentences
    ]


def looks_tokenised(sentences: Sequence[str]) -> bool:
    """Return whether sentences look like tokenised text, of which BLEU and chrF say little: many end in " ."."""
    return sum(sentence.endswith(" .") for sentence in sentences) >= TOKENISED_LINES


def corpus_score(metric: Metric, hypotheses: Sequence[str], references: References) -> Score:
    """Return a score by one of sacrebleu's metrics or by `rouge.Rouge`; arguments and what is raised as of `bleu`."""
    several = checked_references(hypotheses, references)
    result = metric.corpus_score(list(hypotheses), several)
    return Score(result.score, str(metric.get_signature()))


def checked_references(hypotheses: Sequence[str], references: References) -> list[Sequence[str]]:
    """Return references as a list of sequences, one of each reference translator; other numbers are a ValueError."""
    one = not references or isinstance(references[0], str)
    several = cast("list[Sequence[str]]", [references] if one else list(references))
    for each in several:
        if len(hypotheses) != len(each):
            raise ValueError(
                f"hypotheses must be as many as references, got {len(hypotheses)} and {len(each)} references"
            )
    if not hypotheses:
        raise ValueError("hypotheses and references must hold at least one sentence, got none")
    return several
