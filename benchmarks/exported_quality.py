r"""Score the exports of a run beside the run itself, on one test set with one search.

    python benchmarks/exported_quality.py runs/multi30k_en_de --source DIR/test_2016_flickr.en \
        --target DIR/test_2016_flickr.de

Prints a JSON line for each: name, quantization, size in MB of what it loads, cased sacreBLEU with its signature, the
share of lines that are those of the first row, how many of the others are near ties (two translations whose scores
differ by less than 0.001 may change places), and the seconds it took once warm. All but the second row let finished
hypotheses leave the beam, as CTranslate2 does, and all penalise by length^A.
"""

import contextlib
import json
import sys
import tempfile
import time
from argparse import Namespace
from importlib.metadata import version
from pathlib import Path

from transformer.commands.parser import Parser
from transformer.convert.directory import QUANTIZATIONS
from transformer.system.errors import UserError
from transformer.system.process import exit_code
from transformer.system.tensorflow import import_tensorflow

COMPETE = {"finished": "compete"}
NEAR_TIE = 1e-3  # nats of a score
WARM_UP = 8  # sentences translated before the clock starts
TOGETHER = 32  # sentences that the SavedModel gets in one call


def main(argv: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    p = Parser(prog="exported_quality.py", description=__doc__.splitlines()[0])
    p.add_argument("run", metavar="RUN")
    p.add_argument("--source", metavar="F", required=True, help="sentences, one a line")
    p.add_argument("--target", metavar="F", required=True, help="their reference translations")
    p.add_argument("--beam-size", type=int, metavar="N", help="default: the run's")
    p.add_argument("--length-penalty", type=float, metavar="A", help="default: the run's")
    args = p.parse_args(argv)
    return exit_code(lambda: compare(args))


def compare(args: Namespace) -> None:
    """Export, translate, score, and print the lines."""
    import_tensorflow()
    from transformer.checkpoints.run_directory import RunDirectory
    from transformer.convert.ctranslate2 import load_export
    from transformer.data.examples import text_files
    from transformer.inference.translator import Translator
    from transformer.metrics.text import bleu
    from transformer.system.threads import share_cores

    share_cores()
    sources, references = (list(text_files.lines(Path(path))) for path in (args.source, args.target))
    given = {name: getattr(args, name) for name in ("beam_size", "length_penalty") if getattr(args, name) is not None}
    search = {"penalty": "length", "finished": "leave", "cut": "long", **given}  # no export of TensorFlow's cuts
    language = RunDirectory(args.run).corpus()["target_language"]
    weights = RunDirectory(args.run).weights()
    expected: list[tuple[str, float]] = []

    def row(name: str, quantization: str, path: Path, translate) -> None:
        translate(sources[:WARM_UP])
        start = time.monotonic()
        found = translate(sources)
        seconds = time.monotonic() - start
        if not expected:
            expected.extend(found)
        unlike = [(ours, theirs) for ours, theirs in zip(expected, found, strict=True) if ours[0] != theirs[0]]
        score = bleu([text for text, _ in found], references, language)
        line = {
            "name": name,
            "quantization": quantization,
            "megabytes": round(size(path) / 1e6, 2),
            "bleu": round(score.score, 2),
            "bleu_signature": score.signature,
            "sentences": len(sources),
            "identical": round(1 - len(unlike) / len(sources), 4),
            "near_ties": sum(abs(ours[1] - theirs[1]) < NEAR_TIE for ours, theirs in unlike),
            "seconds": round(seconds, 2),
            "beam_size": translator.search.beam_size,
            "length_penalty": translator.search.length_penalty,
            **{package: version(package) for package in ("tensorflow", "ctranslate2")},
        }
        print(json.dumps(line), flush=True)

    translator = Translator.load(args.run, engine="tensorflow", **search)
    row("tensorflow", "float32", weights, best_of(translator))
    row("tensorflow, hypotheses compete", "float32", weights, best_of(Translator.load(args.run, **search | COMPETE)))
    with tempfile.TemporaryDirectory() as folder:
        path = exported(args.run, Path(folder, "savedmodel"), "savedmodel", search)
        row("savedmodel", "float32", path / "text", saved_model(path / "text", translator.search))
        for quantization in QUANTIZATIONS:
            path = exported(args.run, Path(folder, quantization), "ctranslate2", search, "--quantization", quantization)
            row("ctranslate2", quantization, path / "model", best_of(load_export(path)))


def exported(run: str, out: Path, kind: str, search: dict[str, object], *flags: str) -> Path:
    """Export with a search and return the directory."""
    from transformer.commands import export

    settings = [word for name, value in search.items() for word in (f"--{name.replace('_', '-')}", str(value))]
    with contextlib.redirect_stdout(sys.stderr):
        if export.main([run, str(out), "--format", kind, *flags, *settings]):
            raise UserError(f"{run} cannot be exported as {kind}")
    return out


def size(path: Path) -> int:
    """Return the bytes of a file, or of all files below a directory."""
    return path.stat().st_size if path.is_file() else sum(f.stat().st_size for f in path.rglob("*") if f.is_file())


def best_of(translator):
    """Return a function from sentences to texts and scores."""
    return lambda sentences: [(group[0].text, group[0].score) for group in translator.translate(sentences)]


def saved_model(path: Path, search):
    """Return a function from sentences to texts and scores that calls a SavedModel with sentences of like lengths."""
    import tensorflow as tf
    import tensorflow_text  # noqa: F401 - registers its operations

    call = tf.saved_model.load(str(path)).signatures["serving_default"]
    options = {"beam_size": search.beam_size, "n_best": 1, "length_penalty": search.length_penalty}
    options = {name: tf.constant(value) for name, value in options.items()}

    def translate(sentences: list[str]) -> list[tuple[str, float]]:
        found = {}
        order = sorted(range(len(sentences)), key=lambda place: len(sentences[place]))
        for first in range(0, len(order), TOGETHER):
            places = order[first : first + TOGETHER]
            answer = call(sentences=tf.constant([sentences[place] for place in places]), **options)
            texts, scores = (answer[name][:, 0].numpy().tolist() for name in ("texts", "scores"))
            found |= {place: (texts[i].decode(), scores[i]) for i, place in enumerate(places)}
        return [found[place] for place in range(len(sentences))]

    return translate


if __name__ == "__main__":
    sys.exit(main())
