"""The command `transformer`: `transformer train ...` is the same as `python -m transformer train ...`."""

from transformer.system.interrupts import quiet_start

if __name__ == "__main__":
    quiet_start()

import importlib
import sys
from typing import NoReturn

COMMANDS = {  # modules of transformer.commands, and what they do
    "train": "learn from examples, or continue an interrupted run",
    "translate": "translate sentences with a trained run",
    "generate": "continue texts with a trained language model",
    "predict": "label texts, tag their words, or answer questions about them",
    "embed": "make vectors of texts, which are near where the texts mean the same",
    "search": "find the lines of a file that mean what a query means",
    "evaluate": "score translations, or a run on texts with the right labels, tags or answers",
    "export": "write a run for other programs: SavedModel or CTranslate2",
    "convert": "make a run of a GPT-2, a Llama or a GGUF file, or write a folder for transformers",
    "serve": "answer requests over HTTP",
    "selfcheck": "compare ways to compute the same thing with a run",
    "plot": "draw training curves or an attention map",
}
USING = {"translate", "generate", "predict", "embed", "search"}


def main(argv: list[str] | None = None) -> int:
    """Run a command; returns its exit code."""
    words = sys.argv[1:] if argv is None else argv
    if words and words[0] in COMMANDS:
        return importlib.import_module(f"transformer.commands.{words[0]}").main(words[1:])
    _explain(words)


def _explain(words: list[str]) -> NoReturn:
    """Tell what the commands are, and leave."""
    import argparse

    from transformer import __version__
    from transformer.commands.parser import Parser
    from transformer.system.errors import nearest
    from transformer.system.messages import called

    lines = "\n".join(f"  {name:<11}{text}" for name, text in COMMANDS.items())
    p = Parser(
        prog=called("").strip(),
        usage="%(prog)s COMMAND ...",
        description="Train models of the Transformer and use them.",
        epilog=f"commands:\n{lines}\n\n%(prog)s COMMAND --help tells the flags of one.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    p.add_argument("--version", action="version", version=f"transformer-reference {__version__}")
    _, unknown = p.parse_known_args(words)
    if not unknown:
        p.error(f"name a command: {', '.join(COMMANDS)}")
    if unknown[0].startswith("-"):
        p.parse_args(words)
    p.error(f"there is no command '{unknown[0]}'.{nearest(unknown[0], COMMANDS)} Commands: {', '.join(COMMANDS)}")


def script() -> NoReturn:
    """Be the command: the entry point of an installed package."""
    quiet_start()
    code = main()
    if {*sys.argv[1:2]} & {
        "translate",
        "generate",
        "predict",
        "embed",
        "search",
    }:  # a text need not wait for TensorFlow to be taken down
        from transformer.system.process import leave

        leave(code)
    sys.exit(code)


if __name__ == "__main__":
    script()
