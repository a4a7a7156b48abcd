"""`transformer predict RUN "text"`: texts in, labels, entities, answers or what stands at masks out."""

import argparse

from transformer.commands.parser import Parser
from transformer.system.interrupts import starting
from transformer.system.messages import called
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("predict"),
        description="Label texts, tag their words, answer questions about them, or fill their masks, with a trained "
        "run. Texts are given as arguments, as the lines of --input, or on standard input; results go to stdout, "
        "warnings to stderr.",
        epilog="A line of a label is LABEL TAB PROBABILITY TAB TEXT. Below a text stands a line for each entity: "
        "START-END KIND PROBABILITY TEXT. A mask is written [MASK]; below the text stands a line for each token that "
        "may be there: START-END PROBABILITY TOKEN. Pairs of texts, and a question with its text, are divided by a "
        "TAB, unless --context gives the second.",
    )
    p.add_argument(
        "run", metavar="RUN", help="run directory of classification, tagging, question-answering or masked-lm"
    )
    p.add_argument("texts", nargs="*", metavar="TEXT", help="quote it if it holds spaces")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument("--input", metavar="F", help="a text a line; of labels also a CSV or JSON lines, as in training")
    p.add_argument("--output", metavar="F", help="write here instead of stdout; complete or absent")
    context = p.add_mutually_exclusive_group()
    context.add_argument("--context", metavar="TEXT", help="what all questions are about, or the second of every pair")
    context.add_argument("--context-file", metavar="F", help="a file that holds it")
    p.add_argument("--top-k", type=int, metavar="N", help="tokens for each mask, the likeliest (default: 5)")
    p.add_argument("--json", action="store_true", help="write one JSON object a text, with all probabilities")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_intermixed_args(argv)  # flags may stand between RUN and the texts
    if args.texts and args.input:
        p.error("give texts or --input, not both")
    if args.top_k is not None and args.top_k < 1:
        p.error(f"--top-k must be at least 1, got {args.top_k}")
    return exit_code(lambda: _predict(args))


def _predict(args: argparse.Namespace) -> None:
    with starting():
        import_tensorflow(optimise=False)
        from transformer.commands.predict_lines import context_of, predict_lines
        from transformer.inference.predictor import Predictor

    context = context_of(args.context, args.context_file)
    predictor = Predictor.load(args.run, args.weights)
    predictor.check_top_k(args.top_k)
    predict_lines(predictor, args.texts, args.input, args.output, context, args.json, args.top_k)
