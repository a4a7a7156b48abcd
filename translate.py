"""Translate with a trained run: `python translate.py "Onde fica a estação?"`."""

import sys

from transformer.command_line import Parser, exit_code, import_tensorflow
from transformer.config import DEFAULT_RUN, Config, UserError


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog="translate.py",
        description="Translate sentences given as arguments, the lines of --input, or those of standard input. "
        "One line out for each line in, in order; translations go to stdout, warnings to stderr.",
    )
    p.add_argument("sentences", nargs="*", metavar="SENTENCE", help="quote it if it holds blanks")
    p.add_argument("--run", default=DEFAULT_RUN, metavar="RUN", help="run directory (default: %(default)s)")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="text file, one sentence a line")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    p.add_argument("--beam-size", type=int, metavar="N", help="hypotheses kept; 1 is greedy (default: the run's)")
    p.add_argument("--length-penalty", type=float, metavar="A", help="alpha of ((5 + length) / 6)^A; 0: none")
    p.add_argument("--max-length", type=int, metavar="N", help="longest output in tokens")
    p.add_argument("--n-best", type=int, default=1, metavar="N", help="hypotheses per sentence (default: 1)")
    p.add_argument("--scores", action="store_true", help="write score TAB translation")
    p.add_argument("--json", action="store_true", help="write one JSON object a line")
    p.add_argument("--attention", action="store_true", help="with --json: tokens and attention weights too")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.sentences and args.input:
        p.error("give sentences or --input, not both")
    if args.attention and not args.json:
        p.error("--attention needs --json")
    if args.n_best > 1 and not args.json:
        p.error("--n-best above 1 needs --json: every line in has one line out")
    flags = ("beam_size", "length_penalty", "max_length")
    search = {name: getattr(args, name) for name in flags if getattr(args, name) is not None}
    try:
        Config().override({"search": search}, "command line")
    except UserError as error:
        p.error(str(error))

    def job() -> None:
        import_tensorflow()
        from transformer.inference.commands import translate_lines
        from transformer.inference.translator import Translator
        from transformer.threads import share_cores

        share_cores()
        translator = Translator.load(args.run, args.weights, **search)
        if not 1 <= args.n_best <= translator.search.beam_size:
            p.error(f"--n-best must be from 1 to the beam size {translator.search.beam_size}, got {args.n_best}")
        translate_lines(
            translator, args.sentences, args.input, args.output, args.n_best, args.scores, args.json, args.attention
        )

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
