"""`transformer search RUN --corpus F "query"`: the lines of a file that mean what a query means."""

import argparse

from transformer.commands.parser import Parser
from transformer.system.interrupts import starting
from transformer.system.messages import called
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("search"),
        description="Find the lines of a file whose vectors are nearest to that of a query, by their cosine. Every "
        "line is compared. Queries are given as arguments or on standard input, one a line.",
        epilog="An output line is SCORE TAB LINE NUMBER TAB TEXT. To search one file often, store its vectors once: "
        f"{called('embed')} RUN --input F --output F.npy, and give --vectors F.npy.",
    )
    p.add_argument("run", metavar="RUN", help="run directory of contrastive or masked-lm")
    p.add_argument("queries", nargs="*", metavar="QUERY", help="quote it if it holds spaces")
    p.add_argument("--corpus", metavar="F", required=True, help="text file, one text a line, plain or compressed")
    p.add_argument("--vectors", metavar="F", help="its vectors, a .npy file that embed wrote (default: they are made)")
    p.add_argument("--top", type=int, default=5, metavar="N", help="lines of an answer (default: %(default)s)")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--json", action="store_true", help="write one JSON object a query")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_intermixed_args(argv)  # flags may stand between RUN and the queries
    if not 1 <= args.top <= 10_000:
        p.error(f"--top must be from 1 to 10000, got {args.top}")
    return exit_code(lambda: _search(args))


def _search(args: argparse.Namespace) -> None:
    with starting():
        import_tensorflow(optimise=False)
        from transformer.commands.embed_lines import search_lines
        from transformer.inference.embedder import Embedder

    embedder = Embedder.load(args.run, args.weights)
    search_lines(embedder, args.queries, args.corpus, args.vectors, args.top, args.json)
