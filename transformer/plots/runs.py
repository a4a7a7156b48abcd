"""What a run directory tells of its training."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformer.config import UserError
from transformer.plots.style import finish, label_axes, line_style, new_figure, show_legend

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# What is drawn of a run: the event and field of its metrics, the axis, whether the axis is logarithmic.
Curve = tuple[str, str]
PANELS: tuple[tuple[Curve | None, Curve | None, str, bool], ...] = (
    (("train", "loss"), ("validation", "loss"), "loss (nats per target token)", False),
    (None, ("validation", "bleu"), "BLEU (validation)", False),
    (("train", "learning_rate"), None, "learning rate", False),
    (("train", "gradient_norm"), None, "gradient norm", True),
)


def read_metrics(run: str | Path) -> list[dict[str, Any]]:
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


def training_curves(runs: Sequence[str | Path] | Mapping[str, str | Path], path: str | Path | None = None) -> Figure:
    """Draw loss, BLEU, learning rate and gradient norm of runs against their steps.

    Args:
        runs: run directories, perhaps by the names to show instead of their paths. Each has a colour, dashes and a
            marker; training is thin, validation thick and marked.
        path: of a PNG file; None: none is written.

    Raises:
        UserError: a run without metrics, matplotlib is not installed, or the file cannot be written.
    """
    named = runs if isinstance(runs, Mapping) else {str(run): run for run in runs}
    metrics = {name: read_metrics(run) for name, run in named.items()}
    figure = new_figure(9.0, 6.5)
    panels = figure.subplots(2, 2, sharex=True).flat
    for axes, (training, validation, label, logarithmic) in zip(panels, PANELS, strict=True):
        for number, (name, records) in enumerate(metrics.items()):
            for curve, changes in ((training, {"linewidth": 1.0, "marker": ""}), (validation, {"linewidth": 2.0})):
                event, field = curve or ("", "")
                points = [(r["step"], r[field]) for r in records if r["event"] == event and field in r]
                if points:
                    label_of = f"{name}, {event}" if training and validation else name
                    axes.plot(*zip(*points, strict=True), label=label_of, **line_style(number) | changes)
        label_axes(axes, "optimizer step", label)
        if logarithmic:
            axes.set_yscale("log")
        show_legend(axes)
    return finish(figure, path)
