"""`transformer translate`: sentences in, as many translations out."""

import argparse
from typing import Any

from transformer.commands.parser import Parser
from transformer.commands.search_flags import add_search_flags, given_search
from transformer.commands.task_flag import add_task_flag, load_own_task
from transformer.config.settings import AUTO, DEFAULT_RUN, ENGINES, TENSORFLOW
from transformer.system.interrupts import starting
from transformer.system.messages import called, say, utf8
from transformer.system.process import exit_code
from transformer.system.tensorflow import for_decoding_alone


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("translate"),
        description="Translate sentences given as arguments, the lines of --input, or those of standard input. "
        "One line out for each line in, in order; translations go to stdout, warnings to stderr. Without sentences "
        "on a terminal it asks for them. With --n-best above 1 and without --json, lines are those of Moses and "
        "Marian: N ||| translation ||| log_probability= L ||| score, where N counts the lines in from 0.",
    )
    p.add_argument("sentences", nargs="*", metavar="SENTENCE", help="quote it if it holds spaces")
    p.add_argument(
        "--run",
        action="append",
        metavar="RUN",
        help=f"run directory, or an export for CTranslate2; several runs of one vocabulary translate together "
        f"(default: {DEFAULT_RUN})",
    )
    p.add_argument(
        "--engine",
        choices=ENGINES,
        default=AUTO,
        help="what translates: CTranslate2 is fast, TensorFlow the reference; auto takes the first where it can do "
        "what is asked for (default: %(default)s)",
    )
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    add_task_flag(p)
    p.add_argument("--input", metavar="F", help="text file, one sentence a line")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    p.add_argument("--n-best", type=int, default=1, metavar="N", help="hypotheses per sentence (default: 1)")
    p.add_argument("--scores", action="store_true", help="write score TAB translation")
    p.add_argument("--json", action="store_true", help="write one JSON object a line")
    p.add_argument("--attention", metavar="PNG", help="draw the attention of the one sentence")
    p.add_argument("--attention-heads", action="store_true", help="draw every layer and head of it")
    p.add_argument("--attention-alignment", action="store_true", help="mark what each token attends to most")
    p.add_argument("--prefix", default="", metavar="TEXT", help="how every translation has to begin")
    p.add_argument("--verbose", action="store_true", help="say which engine translates, and why")
    add_search_flags(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    search = _check_usage(p, args)

    def job() -> None:
        with starting():
            if args.attention:
                from transformer.plots.style import need_matplotlib

                need_matplotlib()  # before the translation
            for_decoding_alone()
            load_own_task(args.task)
            from transformer.commands.translate_lines import (
                Wanted,
                engine_told,
                open_translator,
                prompt_of,
                translate_lines,
            )

            translator = open_translator(args.engine, args.run, args.weights, search)
        if not 1 <= args.n_best <= translator.search.beam_size:
            p.error(f"--n-best must be from 1 to the beam size {translator.search.beam_size}, got {args.n_best}")
        picture = args.attention, args.attention_heads, args.attention_alignment
        shown = Wanted(args.n_best, args.scores, args.json, args.prefix, *picture, prompt_of(args.run))
        if args.verbose:
            say(engine_told(translator, args.attention_heads))
        translate_lines(translator, args.sentences, args.input, args.output, shown)
        if args.verbose and translator.engine.name == TENSORFLOW:
            say(f"graphs that TensorFlow made: {translator.traces}")

    return exit_code(job)


def _check_usage(p: Parser, args: argparse.Namespace) -> dict[str, Any]:
    """Return the search settings that were given; leave the process where flags exclude or need each other."""
    if args.sentences and args.input:
        p.error("give sentences or --input, not both")
    if args.attention and len(args.sentences) != 1:
        p.error("--attention draws one sentence; give it as an argument")
    for flag in ("attention_heads", "attention_alignment"):
        if getattr(args, flag) and not args.attention:
            p.error(f"--{flag.replace('_', '-')} needs --attention PNG")
    try:
        args.prefix = utf8(args.prefix)
    except UnicodeError:
        p.error("--prefix is not UTF-8; convert it first")
    return given_search(p, args)
