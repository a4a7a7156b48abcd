"""BLEU, chrF, ROUGE and perplexity of files: `transformer evaluate HYP REF [REF ...] --target-language L`.

With a run instead, or `--task`, it is `evaluate_texts`, `evaluate_masks`, `evaluate_labels` or `evaluate_embeddings`
that reads the command line.
"""

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from transformer.commands import evaluate_embeddings, evaluate_labels, evaluate_masks, evaluate_texts
from transformer.commands.parser import Parser
from transformer.commands.perplexities import compared, print_perplexities
from transformer.config.presets import FINE_TUNED
from transformer.config.stored_run import stored_config
from transformer.data.languages import check_language
from transformer.metrics.text import (
    ROUGE_TOKENIZERS,
    TOKENISED_LINES,
    TOKENIZERS,
    bleu_metric,
    chrf_metric,
    corpus_score,
    looks_tokenised,
    lowercase_tokenise,
)
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow
from transformer.tasks import COMMANDS

if TYPE_CHECKING:
    from sacrebleu.metrics.base import Metric

    from transformer.inference.text_scores import TextScore

CONFIG = "config.json"  # of a run directory
OTHER_LETTERS = 0.01  # share of the letters, from which on a warning tells that ROUGE leaves them out


def _read(path: Path) -> list[str]:
    from transformer.data.examples import text_files

    sentences = list(text_files.lines(path))
    if not any(sentence.strip() for sentence in sentences):
        raise UserError(f"{path} holds no text in {len(sentences)} lines; give a file with one sentence a line")
    return sentences


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("evaluate"),
        description="Score translations: sacreBLEU, chrF and ROUGE with their signatures, on standard output; also how "
        "likely the references are to a run, and whether another system is as good.",
        epilog="Files are UTF-8, plain or .gz; line n of HYP is the translation that line n of each REF is compared "
        "with. Of a run of another task: evaluate RUN [FILE ...], which scores how likely texts are to a language "
        "model, masked tokens, labels, tags, answers or vectors; evaluate --task TASK --help has its flags.",
    )
    p.add_argument("hypotheses", metavar="HYP", type=Path, help="translations, one sentence a line")
    p.add_argument(
        "references",
        metavar="REF",
        type=Path,
        nargs="+",
        help="reference translations, one sentence a line; several files where there are several of each sentence",
    )
    p.add_argument(
        "--target-language",
        metavar="L",
        help="code of the language of all files, such as 'en', which chooses the tokenizer of BLEU (needed)",
    )
    p.add_argument(
        "--tokenizer",
        choices=TOKENIZERS,
        default="",
        metavar="NAME",
        help=f"sacreBLEU tokenizer instead of the language's: {', '.join(TOKENIZERS)}",
    )
    p.add_argument(
        "--lowercase-tokenised",
        action="store_true",
        help="also print BLEU of the files lower-cased and tokenised by Moses' rules, as published Multi30k tables do",
    )
    p.add_argument("--rouge", action="store_true", help="also print ROUGE-1, ROUGE-2 and ROUGE-L (F-scores)")
    p.add_argument(
        "--rouge-tokenizer",
        choices=ROUGE_TOKENIZERS,
        default=ROUGE_TOKENIZERS[0],
        help="'default': rouge-score's, whose words have the letters a-z alone; 'zh': each Chinese character is a "
        "word, and words have the letters of any alphabet (default: %(default)s)",
    )
    p.add_argument(
        "--baseline",
        metavar="F",
        type=Path,
        help="another system's translations of the same lines, which each score is compared with (paired bootstrap)",
    )
    p.add_argument("--run", metavar="RUN", type=Path, help="also print how likely REF is to a run (with --source)")
    p.add_argument("--source", metavar="F", type=Path, help="what HYP and REF are translations of, for --run")
    p.add_argument("--baseline-run", metavar="RUN", type=Path, help="another run, which it is compared with")
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score a file against others; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    words = list(sys.argv[1:] if argv is None else argv)
    if any(word.partition("=")[0] == "--task" for word in words):
        return _of_task({word.removeprefix("--task=") for word in words}, words)
    p = parser()
    if run := _run_in(words, p):
        return _of_run(run, words, p)
    options = p.parse_intermixed_args(words)
    if not options.target_language:
        missing = [str(path) for path in (options.hypotheses, *options.references) if not path.exists()]
        p.error(
            f"there is no run or file {missing[0]}" if missing else "translations need --target-language, such as en"
        )
    if bool(options.run) != bool(options.source):
        p.error("--run and --source go together: the perplexity of a translation depends on its source")
    if options.baseline_run and not options.run:
        p.error("--baseline-run is compared with --run; give that too")
    return exit_code(lambda: _evaluate(options))


def _run_in(words: Sequence[str], p: Parser) -> str:
    """Return the run directory that stands among the words where no flag takes it; '' where there is none."""
    valued = {name for name, action in p._option_string_actions.items() if action.nargs != 0}
    bare = (word for before, word in zip(["", *words], words, strict=False) if before not in valued)
    return next((word for word in bare if (Path(word) / CONFIG).is_file()), "")


def _of_run(run: str, words: Sequence[str], p: Parser) -> int:
    """Do what --task with the task of a run does; returns the exit code."""
    try:
        name = stored_config(run).task.name
    except UserError as error:
        say(f"error: {error}")
        return 1
    if COMMANDS.get(name) == "translate":
        p.error(
            f"{run} is a run of the task {name}: give translations and their references instead, HYP REF; "
            f"{called('translate')} --run {run} --input F --output HYP makes them"
        )
    return _of_task({name}, ["--task", name, *words])


def _of_task(named: set[str], words: Sequence[str]) -> int:
    """Let the command of a task read the words; returns its exit code."""
    if "masked-lm" in named:
        return evaluate_masks.main(words)
    if evaluate_embeddings.TASK in named:
        return evaluate_embeddings.main(words)
    return (evaluate_labels if named & {*FINE_TUNED} else evaluate_texts).main(words)


def _evaluate(options: argparse.Namespace) -> None:
    check_language(options.target_language)
    with starting():
        import_tensorflow()
        from transformer.data.examples.text_files import check_aligned

    others = [path for path in (*options.references, options.baseline, options.source) if path]
    texts = {path: _read(path) for path in (options.hypotheses, *others)}
    hypotheses, references = texts[options.hypotheses], [texts[path] for path in options.references]
    for path in others:
        check_aligned(options.hypotheses, len(hypotheses), path, len(texts[path]))
    scored = [path for path in (options.hypotheses, *options.references, options.baseline) if path]
    if options.tokenizer != "none":
        _warn_of_tokenised(scored, [texts[path] for path in scored])
    for name, metric, prepared in _metrics(options):
        ours, theirs = prepared(hypotheses), [prepared(text) for text in references]
        score = corpus_score(metric, ours, theirs)
        print(f"{name} {score.score:.2f}  {score.signature}")
        if options.baseline:
            from transformer.metrics.significance import compare

            found = compare(metric, ours, prepared(texts[options.baseline]), theirs)
            print(compared(found, options.baseline, 2))
    if options.rouge and options.rouge_tokenizer == ROUGE_TOKENIZERS[0]:
        _warn_of_other_letters(options.references[0], references[0])
    if options.run:
        _perplexities(options, texts[options.source], references)


def _metrics(options: argparse.Namespace) -> Iterator[tuple[str, "Metric", Callable[[list[str]], list[str]]]]:
    """Generate the names of the scores, what computes them, and what prepares the texts for it."""
    yield "sacreBLEU", bleu_metric(options.target_language, options.tokenizer), lambda text: text
    yield "chrF", chrf_metric(), lambda text: text
    if options.lowercase_tokenised:
        language = options.target_language
        yield "lower-cased tokenised BLEU", bleu_metric(tokenizer="none"), lambda t: lowercase_tokenise(t, language)
    if options.rouge:
        from transformer.metrics.rouge import KINDS, Rouge

        for name in KINDS:
            yield name, Rouge(name, options.rouge_tokenizer), lambda text: text


def _perplexities(options: argparse.Namespace, sources: list[str], references: list[list[str]]) -> None:
    """Print how likely all references are to a run, and to another."""
    from transformer.inference.translation_scores import TranslationScorer
    from transformer.inference.translator import Translator

    found: list[list[TextScore]] = [[], []]
    for scores, run in zip(found, filter(None, (options.run, options.baseline_run)), strict=False):
        scorer = TranslationScorer(Translator.load(run))
        for path, targets in zip(options.references, references, strict=True):
            try:
                scores += scorer.score(sources, targets)
            except ValueError as error:  # a pair that is too long
                raise UserError(f"{options.source} and {path}, {error}; leave it out of both") from None
    print_perplexities(found[0], options.baseline_run, found[1])


def _warn_of_other_letters(path: Path, texts: Sequence[str]) -> None:
    """Tell that rouge-score reads the letters a to z alone where that leaves out many."""
    letters = "".join(texts)
    lost = sum(letter.isalpha() and not letter.isascii() for letter in letters)
    share = lost / max(1, sum(map(str.isalpha, letters)))
    if share > OTHER_LETTERS:
        say(
            f"warning: {path}: rouge-score's tokenizer leaves out {share:.0%} of the letters, all but a to z; "
            "--rouge-tokenizer zh reads them"
        )


def _warn_of_tokenised(paths: Sequence[Path], texts: Sequence[Sequence[str]]) -> None:
    names = [str(path) for path, text in zip(paths, texts, strict=True) if looks_tokenised(text)]
    if names:
        say(
            f"warning: {' and '.join(names)}: {TOKENISED_LINES} lines or more end in ' .', as tokenised text does; "
            "score text as people write it, or tokenised text on both sides with --tokenizer none"
        )
