r"""Export a trained run for other programs.

transformer export RUN OUT --format savedmodel
transformer export RUN OUT --format ctranslate2 --quantization int8
transformer export RUN OUT --format keras
"""

import argparse
from pathlib import Path
from typing import Any

from transformer.commands.parser import Parser
from transformer.commands.search_flags import add_search_flags, given_search
from transformer.commands.task_flag import add_task_flag, load_own_task
from transformer.convert.directory import EXPORT_FORMATS, EXPORTED_BEAM, QUANTIZATIONS
from transformer.system.interrupts import starting
from transformer.system.messages import called, one_line, say
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow


def parser() -> Parser:
    """Return the command line."""
    p = Parser(
        prog=called("export"),
        description="Export a run as SavedModels or as a CTranslate2 model. The search settings go with it: the run's, "
        "or those given here. A classifier is exported as a Keras model that outputs probabilities.",
    )
    p.add_argument("run", metavar="RUN", help="run directory")
    add_task_flag(p)
    p.add_argument("out", metavar="OUT", type=Path, help="directory to write; complete or absent")
    p.add_argument("--format", choices=EXPORT_FORMATS, required=True, help="what to write")
    p.add_argument("--weights", choices=("best", "last"), default="best", help="which weights (default: %(default)s)")
    p.add_argument(
        "--quantization",
        choices=QUANTIZATIONS,
        help=f"of the weights, with --format ctranslate2 (default: {QUANTIZATIONS[0]})",
    )
    p.add_argument(
        "--max-beam",
        type=int,
        metavar="N",
        help=f"largest beam size that can be asked for, with --format savedmodel (default: {EXPORTED_BEAM}, or the "
        "search's beam size where that is larger)",
    )
    p.add_argument("--overwrite", action="store_true", help="replace a former export in OUT")
    add_search_flags(p)
    return p


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = parser()
    args = p.parse_args(argv)
    if args.quantization and args.format != "ctranslate2":
        p.error("--quantization goes with --format ctranslate2")
    if args.max_beam is not None and args.format != "savedmodel":
        p.error("--max-beam goes with --format savedmodel")
    if args.max_beam is not None and not 1 <= args.max_beam <= 64:
        p.error(f"--max-beam must be from 1 to 64, got {args.max_beam}")
    search = given_search(p, args)
    return exit_code(lambda: export(p, args, search))


def export(p: Parser, args: argparse.Namespace, search: dict[str, Any]) -> None:
    """Write the export and print what it is; a UserError tells what cannot be loaded, exported or written."""
    with starting():
        import_tensorflow()
        load_own_task(args.task)
        from transformer.checkpoints.run_directory import RunDirectory
        from transformer.config.settings import TENSORFLOW
        from transformer.convert import ctranslate2, savedmodel
        from transformer.convert.directory import check_target, describe, draft_export
        from transformer.inference.translator import Translator

    check_target(args.out, args.overwrite)  # before all the work
    if args.format == "keras":
        _export_keras(args)
        return
    if args.format == "ctranslate2":
        ctranslate2.library()
    config = RunDirectory(args.run).config().override({"search": search}, "command line")
    translator = Translator.load(args.run, args.weights, TENSORFLOW, **search)
    beam = translator.search.beam_size
    most = args.max_beam or max(beam, EXPORTED_BEAM)
    if most < beam:
        p.error(f"--max-beam must be at least the search's beam size {beam}, got {most}")
    say(f"exporting {args.run} to {args.out}")
    with draft_export(args.out, args.overwrite) as draft:
        if args.format == "savedmodel":
            metadata = savedmodel.write(translator, draft, most)
        else:
            metadata = ctranslate2.write(translator, config, draft, args.quantization or QUANTIZATIONS[0])
        origin = {"run": str(args.run), "weights": args.weights, "source_language": translator.reader.language}
        describe(draft, {"format": args.format, **origin, **metadata})
    size = sum(path.stat().st_size for path in args.out.rglob("*") if path.is_file())
    print(one_line(f"{args.out}: {args.format}, {size / 1e6:.1f} MB"))


def _export_keras(args: argparse.Namespace) -> None:
    """Do what `export` does, of a classifier."""
    from transformer.checkpoints.loading import load
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.convert import keras_model
    from transformer.convert.directory import describe, draft_export

    task, network = load(RunDirectory(args.run), args.weights)
    say(f"exporting {args.run} to {args.out}")
    with draft_export(args.out, args.overwrite) as draft:
        origin = {"format": args.format, "run": str(args.run), "weights": args.weights}
        describe(draft, {**origin, **keras_model.write(task, network, draft)})
    print(one_line(f"{args.out}: {args.format}, load it with keras.models.load_model"))
