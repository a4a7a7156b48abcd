"""`transformer generate RUN "prompt"`: prompts in, texts out that go on from them."""

import argparse
from typing import Any

from transformer.commands.parser import Parser
from transformer.commands.search_flags import TEXT_SEARCH, add_search_flags, given_search
from transformer.system.interrupts import starting
from transformer.system.messages import called, utf8
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

SEPARATOR = "---"  # on a line of its own between two texts


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("generate"),
        description="Continue prompts given as arguments, the lines of --input, or those of standard input, with a "
        "trained language model. Prompts and what follows them go to stdout, warnings to stderr. Without prompts on a "
        "terminal it asks for them. It chooses the likeliest token each time, unless the flags of the search ask for "
        f"something else. Between two texts stands a line {SEPARATOR}.",
    )
    p.add_argument("run", metavar="RUN", help="run directory of a language model")
    p.add_argument("prompts", nargs="*", metavar="PROMPT", help="quote it if it holds spaces")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="text file, one prompt a line")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    p.add_argument(
        "--samples", type=int, default=1, metavar="N", help="texts of a prompt: samples, or the best of a beam"
    )
    p.add_argument("--stop", action="append", default=[], metavar="TEXT", help="end before this text; may be repeated")
    p.add_argument("--json", action="store_true", help="write one JSON object a prompt, with probabilities of tokens")
    p.add_argument("--stream", action="store_true", help="write text as it comes, as on a terminal that asks")
    add_search_flags(p, TEXT_SEARCH, {"max_length": "--max-tokens"})
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_intermixed_args(argv)  # flags may stand between RUN and the prompts
    search = _check_usage(p, args)

    def job() -> None:
        with starting():
            import_tensorflow(optimise=False)
            from transformer.commands.generate_texts import Wanted, generate_texts
            from transformer.inference.generator import Generator

            generator = Generator.load(args.run, args.weights, **search)
        most = None if generator.search.temperature else generator.search.beam_size
        if most is not None and args.samples > most:
            p.error(
                f"--samples {args.samples} needs --temperature T, or a --beam-size of {args.samples} or more, "
                f"got {most}"
            )
        wanted = Wanted(args.samples, tuple(args.stop), args.json, args.stream, SEPARATOR)
        generate_texts(generator, args.prompts, args.input, args.output, wanted)

    return exit_code(job)


def _check_usage(p: Parser, args: argparse.Namespace) -> dict[str, Any]:
    """Return the search settings that were given; leave the process where flags exclude or need each other."""
    if args.prompts and args.input:
        p.error("give prompts or --input, not both")
    if args.json and args.stream:
        p.error("--stream does not go with --json, whose lines are whole")
    if args.samples < 1:
        p.error(f"--samples must be at least 1, got {args.samples}")
    try:
        args.stop = [utf8(text) for text in args.stop]
    except UnicodeError:
        p.error("--stop is not UTF-8; convert it first")
    if not all(args.stop):
        p.error("--stop must not be empty; leave it out to stop nowhere")
    return given_search(p, args, TEXT_SEARCH)
