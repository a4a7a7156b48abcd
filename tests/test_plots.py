"""Pictures: they are drawn of what a run holds, and what is missing is told."""

import json

import numpy as np
import pytest

from transformer import plots
from transformer.config import UserError
from transformer.inference.translation import Translation


def write_metrics(run, scale=1.0, bleu=True):
    run.mkdir()
    records = [
        {
            "event": "train",
            "step": step,
            "loss": scale / step,
            "learning_rate": 1e-3 * step,
            "gradient_norm": 2.0 / step,
        }
        for step in range(1, 7)
    ]
    records += [{"event": "validation", "step": step, "loss": 2 * scale / step} for step in (3, 6)]
    if bleu:
        records[-1]["bleu"] = 12.5
    (run / "metrics.jsonl").write_text(
        "".join(json.dumps(r) + "\n" for r in records) + '{"event": "tr', encoding="utf-8"
    )
    return run


@pytest.fixture
def drawn(monkeypatch):
    """Catch the figure instead of writing it."""
    from matplotlib.figure import Figure

    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda self, path, format: figures.append(self))
    return figures


def test_curves_of_several_runs_are_in_one_picture(tmp_path, drawn):
    runs = [write_metrics(tmp_path / "one"), write_metrics(tmp_path / "two", scale=2.0, bleu=False)]
    plots.training_curves(runs, tmp_path / "curves.png")
    loss, score, rate, norm = drawn[0].axes
    lines = [(list(line.get_xdata()), list(line.get_ydata()), line.get_color()) for line in loss.lines]
    assert lines == [
        ([1, 2, 3, 4, 5, 6], [1.0 / step for step in range(1, 7)], "C0"),
        ([3, 6], [2 / 3, 2 / 6], "C0"),
        ([1, 2, 3, 4, 5, 6], [2.0 / step for step in range(1, 7)], "C1"),
        ([3, 6], [4 / 3, 4 / 6], "C1"),
    ]
    assert [(list(line.get_xdata()), list(line.get_ydata())) for line in score.lines] == [([6], [12.5])]
    assert (len(rate.lines), len(norm.lines), norm.get_yscale()) == (2, 2, "log")
    assert loss.get_ylabel() == "loss (nats per target token)"


def test_what_was_not_measured_is_said(tmp_path, drawn):
    plots.training_curves([write_metrics(tmp_path / "run", bleu=False)], tmp_path / "curves.png")
    assert [text.get_text() for text in drawn[0].axes[1].texts] == ["not measured"]


def test_the_command_writes_a_png(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_metrics(tmp_path / "run")
    assert plots.main(["run"]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert plots.main(["run", "--output", "gone/curves.png"]) == 1
    assert "error: cannot write gone/curves.png" in capsys.readouterr().err
    assert plots.main(["nowhere"]) == 1
    assert "error: cannot read nowhere/metrics.jsonl" in capsys.readouterr().err
    (tmp_path / "run" / "metrics.jsonl").write_text("", encoding="utf-8")
    assert plots.main(["run"]) == 1
    assert "holds no metrics yet" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        plots.main(["run", "other", "--sentence", "Oi."])
    assert stopped.value.code == 2


def test_an_attention_map_shows_the_tokens_it_is_of(tmp_path, drawn):
    weights = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    translation = Translation("Hi", 0.0, 0.0, ("▁Hi",), ("[start]", "▁Oi", "[end]"), weights)
    plots.attention_map(translation, tmp_path / "map.png")
    axes = drawn[0].axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), weights)
    assert [label.get_text() for label in axes.get_yticklabels()] == ["▁Hi", "[end]"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["[start]", "▁Oi", "[end]"]
    with pytest.raises(ValueError, match="with_attention=True"):
        plots.attention_map(Translation("Hi", 0.0, 0.0), tmp_path / "map.png")


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(UserError, match=r"pip install -e '\.\[plots\]'"):
        plots.training_curves([write_metrics(tmp_path / "run")], tmp_path / "curves.png")
