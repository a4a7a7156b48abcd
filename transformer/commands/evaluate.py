"""BLEU and chrF of files: `transformer evaluate HYP REF [REF ...] --target-language L`.

With `--task` it is `evaluate_texts`, `evaluate_labels` or `evaluate_embeddings` that reads the command line.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from transformer.commands import evaluate_embeddings, evaluate_labels, evaluate_texts
from transformer.commands.parser import Parser
from transformer.config.presets import FINE_TUNED
from transformer.data.languages import check_language
from transformer.metrics.text import (
    TOKENISED_LINES,
    TOKENIZERS,
    bleu,
    chrf,
    looks_tokenised,
    lowercase_tokenise,
    tokenised_bleu,
)
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def _read(path: Path) -> list[str]:
    from transformer.data.examples import text_files

    sentences = list(text_files.lines(path))
    if not any(sentence.strip() for sentence in sentences):
        raise UserError(f"{path} holds no text; give a file with one sentence a line")
    return sentences


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("evaluate"),
        description="Score translations: sacreBLEU and chrF with their signatures, on standard output.",
        epilog="Files are UTF-8, plain or .gz; line n of HYP is the translation that line n of each REF is compared "
        "with. Of a language model, how likely texts are: evaluate --task language-model RUN FILE. Of labels, tags and "
        "answers: evaluate --task classification (tagging, question-answering) RUN FILE. Of vectors: evaluate --task "
        "contrastive RUN.",
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
        required=True,
        help="code of the language of all files, such as 'en'; it chooses the tokenizer of BLEU",
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
    return p


def main(argv: Sequence[str] | None = None) -> int:
    """Score a file against others; return the exit code: 0 done, 1 failed with one line on stderr, 2 wrong usage."""
    words = sys.argv[1:] if argv is None else argv
    if any(word.partition("=")[0] == "--task" for word in words):
        named = {word.removeprefix("--task=") for word in words}
        if evaluate_embeddings.TASK in named:
            return evaluate_embeddings.main(words)
        return (evaluate_labels if named & set(FINE_TUNED) else evaluate_texts).main(words)
    options = parser().parse_args(argv)
    return exit_code(lambda: _evaluate(options))


def _evaluate(options: argparse.Namespace) -> None:
    check_language(options.target_language)
    with starting():
        import_tensorflow()
        from transformer.data.examples.text_files import check_aligned

    hypotheses, *references = texts = [_read(path) for path in (options.hypotheses, *options.references)]
    for path, text in zip(options.references, references, strict=True):
        check_aligned(options.hypotheses, len(hypotheses), path, len(text))
    if options.tokenizer != "none":
        _warn_of_tokenised([options.hypotheses, *options.references], texts)
    scores = {
        "sacreBLEU": bleu(hypotheses, references, options.target_language, options.tokenizer),
        "chrF": chrf(hypotheses, references),
    }
    if options.lowercase_tokenised:
        tokenised = [lowercase_tokenise(text, options.target_language) for text in references]
        scores["lower-cased tokenised BLEU"] = tokenised_bleu(hypotheses, tokenised, options.target_language)
    for name, score in scores.items():
        print(f"{name} {score.score:.2f}  {score.signature}")


def _warn_of_tokenised(paths: Sequence[Path], texts: Sequence[Sequence[str]]) -> None:
    names = [str(path) for path, text in zip(paths, texts, strict=True) if looks_tokenised(text)]
    if names:
        say(
            f"warning: {' and '.join(names)}: {TOKENISED_LINES} lines or more end in ' .', as tokenised text does; "
            "score text as people write it, or tokenised text on both sides with --tokenizer none"
        )
