"""`transformer embed RUN "text"`: texts in, vectors out."""

import argparse

from transformer.commands.parser import Parser
from transformer.system.interrupts import starting
from transformer.system.messages import called
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("embed"),
        description="Make vectors of texts with a run of contrastive learning, or with an imported BERT: their "
        "products are cosines. Texts are given as arguments, as the lines of --input, or on standard input; warnings "
        "go to stderr.",
        epilog='Without --output, or to a file of another ending, a line is a JSON object: {"text": ..., "vector": '
        "[...]}. An --output that ends in .npy is a NumPy array (texts, numbers), float32. An empty text is a vector "
        "of zeros.",
    )
    p.add_argument("run", metavar="RUN", help="run directory of contrastive or masked-lm")
    p.add_argument("texts", nargs="*", metavar="TEXT", help="quote it if it holds spaces")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="text file, one text a line")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    p.add_argument("--size", type=int, default=0, metavar="N", help="so many numbers of each vector, the first")
    p.add_argument("--raw", action="store_true", help="vectors as they come, not of the length 1")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_intermixed_args(argv)  # flags may stand between RUN and the texts
    if args.texts and args.input:
        p.error("give texts or --input, not both")
    if args.size < 0:
        p.error(f"--size must be at least 0, got {args.size}")
    return exit_code(lambda: _embed(args))


def _embed(args: argparse.Namespace) -> None:
    with starting():
        import_tensorflow(optimise=False)
        from transformer.commands.embed_lines import embed_lines
        from transformer.inference.embedder import Embedder

    embed_lines(Embedder.load(args.run, args.weights), args.texts, args.input, args.output, args.size, not args.raw)
