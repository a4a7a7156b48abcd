"""Translate with a trained run: `python translate.py "Onde fica a estação?"`."""

import sys

from transformer.command_line import Parser, exit_code, import_tensorflow, leave
from transformer.config import DEFAULT_RUN, Config, UserError

SEARCH = (  # fields of `SearchConfig` that have a flag: type, letter, help
    ("beam_size", int, "N", "hypotheses kept, or samples drawn; 1 is greedy (default: the run's)"),
    ("length_penalty", float, "A", "exponent of the length penalty; 0: none"),
    ("penalty", str, "FORM", "'gnmt': ((5 + length) / 6)^A, 'length': length^A"),
    ("coverage_penalty", float, "B", "weight of the coverage penalty; 0: none"),
    ("min_length", int, "N", "shortest output in tokens"),
    ("min_length_ratio", float, "R", "shortest output, in lengths of the sentence"),
    ("max_length", int, "N", "longest output in tokens"),
    ("max_length_ratio", float, "R", "longest output, in lengths of the sentence"),
    ("no_repeat_ngram", int, "N", "write no N tokens twice"),
    ("temperature", float, "T", "above 0: draw tokens at this temperature instead of searching"),
    ("top_k", int, "K", "draw from the K likeliest tokens"),
    ("top_p", float, "P", "draw from the likeliest tokens with this probability together"),
    ("seed", int, "N", "of drawing"),
)


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
    search = p.add_argument_group("search")
    for name, kind, letter, text in SEARCH:
        search.add_argument("--" + name.replace("_", "-"), type=kind, metavar=letter, help=text)
    return p


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
    search = {name: getattr(args, name) for name, *_ in SEARCH if getattr(args, name) is not None}
    try:
        Config().override({"search": search}, "command line")
    except UserError as error:
        p.error(str(error))

    def job() -> None:
        import_tensorflow(optimise=False)
        from transformer.inference.commands import Wanted, translate_lines
        from transformer.inference.translator import Translator
        from transformer.threads import share_cores

        share_cores()
        translator = Translator.load(args.run or DEFAULT_RUN, args.weights, **search)
        if not 1 <= args.n_best <= translator.search.beam_size:
            p.error(f"--n-best must be from 1 to the beam size {translator.search.beam_size}, got {args.n_best}")
        wanted = Wanted(args.n_best, args.scores, args.json, args.prefix, args.attention, args.attention_heads)
        translate_lines(translator, args.sentences, args.input, args.output, wanted)
        if args.verbose:
            print(f"TensorFlow made {translator.traces} graphs", file=sys.stderr)

    return exit_code(job)


if __name__ == "__main__":
    leave(main())
