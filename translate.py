"""Translate with a trained run: `python translate.py "Onde fica a estação?"`."""

import argparse
import sys
from typing import TYPE_CHECKING

from transformer.command_line import Parser, add_search_flags, exit_code, given_search, import_tensorflow, leave
from transformer.config import DEFAULT_RUN

if TYPE_CHECKING:
    from transformer.inference.translator import Translator


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog="translate.py",
        description="Translate sentences given as arguments, the lines of --input, or those of standard input. "
        "One line out for each line in, in order; translations go to stdout, warnings to stderr. Without sentences "
        "on a terminal it asks for them.",
    )
    p.add_argument("sentences", nargs="*", metavar="SENTENCE", help="quote it if it holds blanks")
    p.add_argument(
        "--run",
        action="append",
        metavar="RUN",
        help=f"run directory; several, of one vocabulary, translate together (default: {DEFAULT_RUN})",
    )
    p.add_argument(
        "--engine",
        choices=("tensorflow", "ctranslate2"),
        default="tensorflow",
        help="what translates; with ctranslate2, RUN is an export of that format (default: %(default)s)",
    )
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="text file, one sentence a line")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    p.add_argument("--n-best", type=int, default=1, metavar="N", help="hypotheses per sentence (default: 1)")
    p.add_argument("--scores", action="store_true", help="write score TAB translation")
    p.add_argument("--json", action="store_true", help="write one JSON object a line")
    p.add_argument("--attention", metavar="PNG", help="draw the attention of the one sentence")
    p.add_argument("--attention-heads", action="store_true", help="draw every layer and head of it")
    p.add_argument("--prefix", default="", metavar="TEXT", help="how every translation has to begin")
    p.add_argument("--verbose", action="store_true", help="say at the end how many graphs TensorFlow made")
    add_search_flags(p)
    return p


def refuse_flags(p: Parser, args: argparse.Namespace) -> None:
    """Leave where a flag was given that CTranslate2 knows nothing of."""
    if len(args.run or ()) != 1:
        p.error("--engine ctranslate2 translates with one export; name it with --run EXPORT")
    if args.weights != "best":
        p.error("--weights does not go with --engine ctranslate2: an export holds one set of weights")
    if args.attention_heads:
        p.error("--attention-heads does not go with --engine ctranslate2, which returns the mean over the heads alone")
    if args.finished == "compete":
        p.error("--finished compete does not go with --engine ctranslate2, whose finished hypotheses stand aside")


def load_translator(args: argparse.Namespace, search: dict[str, int | float | str]) -> "Translator":
    """Return the translator that the flags name."""
    if args.engine == "ctranslate2":
        from transformer.inference.ctranslate2_translator import CTranslate2Translator

        return CTranslate2Translator.load(args.run[0], **search)
    from transformer.inference.translator import Translator

    return Translator.load(args.run or DEFAULT_RUN, args.weights, **search)


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.sentences and args.input:
        p.error("give sentences or --input, not both")
    if args.attention and len(args.sentences) != 1:
        p.error("--attention draws one sentence; give it as an argument")
    if args.attention_heads and not args.attention:
        p.error("--attention-heads needs --attention PNG")
    if any("\ud800" <= sign <= "\udfff" for sign in args.prefix):  # so Python hands odd bytes on
        p.error("--prefix is not UTF-8; convert it first")
    if args.n_best > 1 and not args.json:
        p.error("--n-best above 1 needs --json: every line in has one line out")
    if args.engine == "ctranslate2":
        refuse_flags(p, args)
    search = given_search(p, args)

    def job() -> None:
        if args.attention:
            from transformer.plots.style import need_matplotlib

            need_matplotlib()
        import_tensorflow(optimise=False)
        from transformer.inference.commands import Wanted, translate_lines
        from transformer.threads import share_cores

        share_cores()
        translator = load_translator(args, search)
        if not 1 <= args.n_best <= translator.search.beam_size:
            p.error(f"--n-best must be from 1 to the beam size {translator.search.beam_size}, got {args.n_best}")
        wanted = Wanted(args.n_best, args.scores, args.json, args.prefix, args.attention, args.attention_heads)
        translate_lines(translator, args.sentences, args.input, args.output, wanted)
        if args.verbose:
            print(f"TensorFlow made {translator.traces} graphs", file=sys.stderr)

    return exit_code(job)


if __name__ == "__main__":
    leave(main())
