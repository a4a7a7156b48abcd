"""What a run directory tells of its training."""

from __future__ import annotations

import contextlib
import io
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer.plots.fonts import text_renderer
from transformer.plots.style import finish, label_axes, line_style, new_figure, show_legend
from transformer.system.errors import UserError
from transformer.system.files import read_inside

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is drawn of a run: the event and field of its metrics, the axis, whether the axis is logarithmic.
Curve = tuple[str, str]
PANELS: tuple[tuple[Curve | None, Curve | None, str, bool], ...] = (
    (("train", "loss"), ("validation", "loss"), "loss (nats)", False),
    (None, ("validation", ""), "score (validation)", False),
    (("train", "learning_rate"), None, "learning rate", False),
    (("train", "gradient_norm"), None, "gradient norm", True),
)
SCORES = {  # of tasks, by their field in the metrics; the first that a picture's runs have is drawn
    "bleu": "BLEU",
    "masked_accuracy": "masked tokens found",
    "f1": "F1",
    "micro_f1": "micro F1",
    "accuracy": "accuracy",
    "spearman": "rank correlation",
    "bits_per_byte": "bits per byte",
}
MOST_METRICS = 2**26  # bytes of metrics.jsonl, of some 300,000 reports
MOST_POINTS = 2000  # of a line: more than a picture has places
LARGEST = 1e30  # a number beyond is not drawn, nor is one that is none


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
    """Return the records of a run's metrics.jsonl: those lines that are an object with an event and its step.

    Raises:
        UserError: there are none, or the file is none of the run, too large, or cannot be read.
    """
    path = Path(run) / "metrics.jsonl"
    try:
        lines = io.BytesIO(read_inside(run, path.name, MOST_METRICS))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}; name a run directory that was trained") from None
    records = []
    for line in lines:
        with contextlib.suppress(ValueError, RecursionError):  # of a process that is writing it, or was killed
            record = json.loads(line)
            if isinstance(record, dict) and isinstance(record.get("event"), str) and _number(record.get("step")) >= 0:
                records.append(record)
    if not records:
        raise UserError(f"{path} holds no metrics yet; wait for the first report of the training")
    return records


def _number(value: object) -> float:
    """Return a number that can be drawn, or NaN, which leaves a gap."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        return math.nan
    return float(value)


def _points(
    records: Sequence[Mapping[str, Any]], event: str, field: str, logarithmic: bool
) -> list[tuple[float, float]]:
    """Return (step, value) of at most about `MOST_POINTS` records of an event, evenly chosen, the last one included."""
    points = [(_number(r["step"]), _number(r[field])) for r in records if r["event"] == event and field in r]
    if logarithmic:
        points = [(step, value if value > 0 else math.nan) for step, value in points]
    if all(math.isnan(value) for _, value in points):
        return []
    return points[:: -(-len(points) // MOST_POINTS)] + points[-1:] if len(points) > MOST_POINTS else points


def _with_one_loss(record: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a record whose loss is that of tokens where others are added, as of next sentences: comparable by runs."""
    return {**record, "loss": record["loss_token"]} if "loss_token" in record else record


def _has(records: Sequence[Mapping[str, Any]], field: str) -> bool:
    return any(record["event"] == "validation" and field in record for record in records)


def training_curves(runs: Sequence[str | Path] | Mapping[str, str | Path], path: str | Path | None = None) -> Figure:
    """Draw loss, score (one of `SCORES`), learning rate and gradient norm of runs against their steps.

    Args:
        runs: run directories, perhaps by the names to show instead of their paths. Each has a colour, dashes and a
            marker; training is thin, validation thick and marked.

    Raises:
        UserError: what `read_metrics` raises.
    """
    named = runs if isinstance(runs, Mapping) else {str(run): run for run in runs}
    metrics = {name: [_with_one_loss(r) for r in read_metrics(run)] for name, run in named.items()}
    letters = text_renderer(named)
    figure = new_figure(9.0, 6.8)
    figure.suptitle("Training, step by step")
    score = next((name for name in SCORES if any(_has(records, name) for records in metrics.values())), "bleu")
    panels = figure.subplots(2, 2, sharex=True).flat
    for axes, (training, validation, label, logarithmic) in zip(panels, PANELS, strict=True):
        if validation == ("validation", ""):
            validation, label = ("validation", score), f"{SCORES[score]} (validation)"
        for number, (name, records) in enumerate(metrics.items()):
            for curve, changes in ((training, {"linewidth": 1.0, "marker": ""}), (validation, {"linewidth": 2.0})):
                event, field = curve or ("", "")
                if points := _points(records, event, field, logarithmic):
                    name_shown = letters.show(name) + (f", {event}" if training and validation else "")
                    axes.plot(*zip(*points, strict=True), label=name_shown, **line_style(number) | changes)
        label_axes(axes, "optimizer step", label)
        if logarithmic:
            axes.set_yscale("log")
        show_legend(axes, letters.families)
    return finish(figure, path)
