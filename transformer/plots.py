"""Pictures. Needs the extra `[plots]`.

python -m transformer.plots runs/one runs/two                      # their training curves, in curves.png
python -m transformer.plots runs/one --sentence "Bom dia." --output attention.png
"""

from __future__ import annotations

import contextlib
import itertools
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from transformer.command_line import Parser, exit_code, import_tensorflow
from transformer.config import UserError

# What is drawn of a run: the event and field of its metrics, the axis, whether the axis is logarithmic.
PANELS = (
    (("train", "loss"), ("validation", "loss"), "loss (nats per target token)", False),
    (None, ("validation", "bleu"), "BLEU (validation)", False),
    (("train", "learning_rate"), None, "learning rate", False),
    (("train", "gradient_norm"), None, "gradient norm", True),
)


@contextlib.contextmanager
def _figure(path: str | Path, width: float, height: float) -> Iterator:
    """Give a figure to draw on; it is saved as a PNG file at the end.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("pictures need matplotlib; install it with: pip install -e '.[plots]'") from None
    figure = Figure(figsize=(width, height), layout="constrained", dpi=150)
    yield figure
    try:
        figure.savefig(path, format="png")
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from None


def attention_map(translation, path: str | Path, heads: bool = False) -> None:
    """Draw the attention of each produced token (rows) over the source tokens (columns) into a PNG file.

    Args:
        translation: a `Translation` made with `with_attention=True`, and `with_heads=True` where `heads` is.
        path: of the PNG file.
        heads: a picture of each head, a row of them for each layer, instead of the last layer's mean.

    Raises:
        UserError: matplotlib is not installed, or the file cannot be written.
        ValueError: the translation has no such attention weights.
    """
    for name, weights in (("with_attention", translation.attention), ("with_heads", translation.heads))[: 1 + heads]:
        if weights is None:
            raise ValueError(f"translation must be made with {name}=True, got one without attention weights")
    rows = [*translation.tokens, "[end]"][: len(translation.attention)]
    columns = translation.source_tokens
    layers, count = translation.heads.shape[:2] if heads else (1, 1)
    width, height = 1.2 + 0.55 * len(columns), 1.2 + 0.45 * len(rows)
    with _figure(path, count * width, layers * height) as figure:
        grid = figure.subplots(layers, count, squeeze=False)
        for layer, head in itertools.product(range(layers), range(count)):
            axes = grid[layer][head]
            weights = translation.heads[layer, head] if heads else translation.attention
            image = axes.imshow(weights, cmap="cividis", vmin=0.0, vmax=1.0, aspect="auto")
            axes.set_xticks(range(len(columns)), columns, rotation=45, ha="left", rotation_mode="anchor")
            axes.xaxis.tick_top()
            axes.set_yticks(range(len(rows)), rows)
            if heads:
                axes.set_xlabel(f"layer {layer + 1}, head {head + 1}")
        figure.colorbar(image, ax=grid.ravel().tolist(), label="attention weight")


def read_metrics(run: str | Path) -> list[dict[str, float]]:
    """Return the records of a run's metrics.jsonl; a last line that is not complete is left out.

    Raises:
        UserError: there are none.
    """
    path = Path(run) / "metrics.jsonl"
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name a run directory that was trained") from None
    records = []
    for line in lines:
        with contextlib.suppress(ValueError):  # of a process that is writing it, or was killed
            records.append(json.loads(line))
    if not records:
        raise UserError(f"{path} holds no metrics yet; wait for the first report of the training")
    return records


def training_curves(runs: Sequence[str | Path], path: str | Path) -> None:
    """Draw loss, BLEU, learning rate and gradient norm of runs against their steps into one PNG file.

    Args:
        runs: run directories; each has a colour, training is thin, validation thick with points.
        path: of the PNG file.

    Raises:
        UserError: a run without metrics, matplotlib is not installed, or the file cannot be written.
    """
    metrics = {str(run): read_metrics(run) for run in runs}
    with _figure(path, 9.0, 6.5) as figure:
        panels = figure.subplots(2, 2, sharex=True).flat
        for axes, (training, validation, label, logarithmic) in zip(panels, PANELS, strict=True):
            for number, (run, records) in enumerate(metrics.items()):
                for curve, style in ((training, "-"), (validation, "o-")):
                    event, field = curve or ("", "")
                    points = [(r["step"], r[field]) for r in records if r["event"] == event and field in r]
                    if points:
                        steps, values = zip(*points, strict=True)
                        thick = {"linewidth": 2.0, "markersize": 4} if style == "o-" else {"linewidth": 0.8}
                        name = f"{run}, {event}" if training and validation else run
                        axes.plot(steps, values, style, color=f"C{number}", label=name, **thick)
            axes.set_ylabel(label)
            axes.set_xlabel("optimizer step")
            axes.grid(alpha=0.3)
            if logarithmic:
                axes.set_yscale("log")
            if axes.get_legend_handles_labels()[0]:
                axes.legend(fontsize="small")
            else:
                axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)


def main(argv: list[str] | None = None) -> int:
    """Draw the curves of runs, or the attention map of a sentence; returns the exit code."""
    p = Parser(
        prog="python -m transformer.plots",
        description="Draw the training curves of runs or, with --sentence, the attention map of a translation.",
    )
    p.add_argument("runs", nargs="+", metavar="RUN")
    p.add_argument("--sentence", metavar="TEXT", help="translate it with the one RUN and draw its attention")
    p.add_argument("--output", metavar="PNG", help="(default: curves.png, or attention.png)")
    args = p.parse_args(argv)
    if args.sentence is not None and len(args.runs) > 1:
        p.error("--sentence goes with one RUN")

    def job() -> None:
        if args.sentence is None:
            training_curves(args.runs, args.output or "curves.png")
            return
        import_tensorflow()
        from transformer.inference.translator import Translator

        best = Translator.load(args.runs[0]).translate([args.sentence], with_attention=True)[0][0]
        if best.attention is None:
            raise UserError("an empty sentence has no attention map; give a sentence")
        attention_map(best, args.output or "attention.png")
        print(best.text)

    return exit_code(job)


if __name__ == "__main__":
    sys.exit(main())
