"""Pictures of runs.

transformer plot runs/one runs/two              # their training curves, in curves.png
transformer plot runs/one --sentence "Bom dia." --output attention.png
"""

import sys

from transformer.commands.parser import Parser
from transformer.commands.task_flag import add_task_flag, load_own_task
from transformer.plots.runs import training_curves
from transformer.plots.style import need_matplotlib
from transformer.system.interrupts import starting
from transformer.system.messages import called, for_terminal, say, utf8
from transformer.system.process import exit_code
from transformer.system.tensorflow import for_decoding_alone


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("plot"),
        description="Draw the training curves of runs or, with --sentence, the attention map of a translation.",
    )
    p.add_argument("runs", nargs="+", metavar="RUN")
    add_task_flag(p)
    p.add_argument("--sentence", metavar="TEXT", help="translate it with the one RUN and draw its attention")
    p.add_argument("--heads", action="store_true", help="draw every layer and head instead of the last layer's mean")
    p.add_argument("--alignment", action="store_true", help="mark the source token that each token attends to most")
    p.add_argument("--output", metavar="PNG", help="(default: curves.png, or attention.png)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Draw the curves of runs, or the attention map of a sentence; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.sentence is not None and len(args.runs) > 1:
        p.error("--sentence goes with one RUN")
    if args.sentence is None and (args.heads or args.alignment):
        p.error("--heads and --alignment go with --sentence")

    try:
        sentence = utf8(args.sentence or "")
    except UnicodeError:
        p.error("--sentence is not UTF-8; convert it first")
    picture = args.output or ("curves.png" if args.sentence is None else "attention.png")

    def job() -> None:
        need_matplotlib()  # before the translation
        if args.sentence is None:
            training_curves(args.runs, picture)
        else:
            with starting():
                for_decoding_alone()
                load_own_task(args.task)
                from transformer.commands.translate_lines import draw
                from transformer.inference.translator import Translator

            translator = Translator.load(args.runs[0])
            best = translator.translate([sentence], with_attention=True, with_heads=args.heads)[0][0]
            draw(best, picture, args.heads, args.alignment)
            print(for_terminal(best.text, sys.stdout))
        say(f"{picture} is drawn")

    return exit_code(job)
