"""Pictures: what is drawn of what they are given, that it can be read, and that what is missing is told."""

import dataclasses
import io
import itertools
import json
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest
from conftest import ROOT
from fontTools.fontBuilder import FontBuilder
from fontTools.pens.ttGlyphPen import TTGlyphPen

from transformer import plots
from transformer.commands import plot, translate
from transformer.inference.result import Translation
from transformer.plots import fonts
from transformer.plots.style import COLOURS, DASHES, HATCHES, MAP, MARKERS
from transformer.system.errors import UserError


def test_what_is_not_above_0_has_no_place_on_a_logarithmic_axis(tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"event": "train", "step": 1, "loss": 1.0, "gradient_norm": 0.0}\n')
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        plots.training_curves([tmp_path], tmp_path / "curves.png")


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


def points(line):
    return list(line.get_xdata()), list(line.get_ydata())


def texts(labels):
    return [label.get_text() for label in labels]


def rendered(figure):
    """Draw a figure; a glyph that no font has is a warning, and here an error."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="png")
    return figure


def luminance(colour):
    """Return the relative luminance of an sRGB colour, from 0 to 1 (ITU-R BT.709)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour[:3]]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def test_the_style_can_be_read_without_colours():
    from matplotlib import colormaps
    from matplotlib.colors import to_rgb

    shades = [luminance(colour) for colour in colormaps[MAP](np.linspace(0, 1, 64))]
    assert all(one < other for one, other in itertools.pairwise(shades))
    assert shades[-1] - shades[0] > 0.6
    lines = [luminance(to_rgb(colour)) for colour in COLOURS]
    assert max(lines) < 0.5  # white paper has 1
    assert all(abs(one - other) > 0.08 for one, other in itertools.pairwise(lines))
    assert len(COLOURS) == len(set(MARKERS)) == len(set(DASHES)) == len(set(HATCHES))


def test_curves_of_several_runs_are_in_one_picture(tmp_path):
    runs = [write_metrics(tmp_path / "one"), write_metrics(tmp_path / "two", scale=2.0, bleu=False)]
    figure = rendered(plots.training_curves(runs))
    loss, score, rate, norm = figure.axes
    assert [(*points(line), line.get_color()) for line in loss.lines] == [
        ([1, 2, 3, 4, 5, 6], [1.0 / step for step in range(1, 7)], COLOURS[0]),
        ([3, 6], [2 / 3, 2 / 6], COLOURS[0]),
        ([1, 2, 3, 4, 5, 6], [2.0 / step for step in range(1, 7)], COLOURS[1]),
        ([3, 6], [4 / 3, 4 / 6], COLOURS[1]),
    ]
    assert [line.get_marker() for line in loss.lines] == ["", MARKERS[0], "", MARKERS[1]]
    assert texts(loss.get_legend().get_texts())[:2] == [f"{runs[0]}, train", f"{runs[0]}, validation"]
    assert [points(line) for line in score.lines] == [([6], [12.5])]
    assert (len(rate.lines), len(norm.lines), norm.get_yscale()) == (2, 2, "log")
    assert (loss.get_ylabel(), score.get_ylabel()) == ("loss (nats)", "BLEU (validation)")
    named = plots.training_curves({"first": runs[0]}).axes[0]
    assert texts(named.get_legend().get_texts()) == ["first, train", "first, validation"]


@pytest.mark.parametrize(
    ("fields", "drawn", "label"),
    [
        ({"masked_accuracy": 0.5, "sentence_accuracy": 0.9, "loss_token": 0.75}, 0.5, "masked tokens found"),
        ({"accuracy": 0.75, "macro_f1": 0.6}, 0.75, "accuracy"),
        ({"perplexity": 4.0, "bits_per_byte": 1.25}, 1.25, "bits per byte"),
    ],
)
def test_the_score_that_is_drawn_is_the_tasks(fields, drawn, label, tmp_path):
    record = {"event": "validation", "step": 3, "loss": 1.0, **fields}
    (tmp_path / "metrics.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    loss, score, *_ = plots.training_curves([tmp_path]).axes
    assert [points(line) for line in score.lines] == [([3], [drawn])]
    assert [points(line) for line in loss.lines] == [([3], [fields.get("loss_token", 1.0)])]
    assert score.get_ylabel() == f"{label} (validation)"


def test_what_was_not_measured_is_said(tmp_path):
    figure = plots.training_curves([write_metrics(tmp_path / "run", bleu=False)])
    assert texts(figure.axes[1].texts) == ["not measured"]


def test_the_command_writes_a_png(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_metrics(tmp_path / "run")
    assert plot.main(["run"]) == 0
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr() == ("", "curves.png is drawn\n")
    assert plot.main(["run", "--output", "gone/curves.png"]) == 1
    assert "error: cannot write gone/curves.png" in capsys.readouterr().err
    assert plot.main(["nowhere"]) == 1
    assert "error: cannot read nowhere/metrics.jsonl" in capsys.readouterr().err
    (tmp_path / "run" / "metrics.jsonl").write_text("", encoding="utf-8")
    assert plot.main(["run"]) == 1
    assert "holds no metrics yet" in capsys.readouterr().err
    for words in (["run", "other", "--sentence", "Oi."], ["run", "--heads"]):
        with pytest.raises(SystemExit) as stopped:
            plot.main(words)
        assert stopped.value.code == 2


def test_the_module_is_a_command():
    done = subprocess.run([sys.executable, "-m", "transformer", "plot", "--help"], capture_output=True, text=True)
    assert done.returncode == 0
    assert "python -m transformer plot" in done.stdout


@pytest.fixture
def translation():
    weights = np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]])
    heads = np.arange(2 * 3 * 2 * 3).reshape(2, 3, 2, 3) / 36
    return Translation("Hi", 0.0, 0.0, ("▁Hi",), ("[start]", "▁Oi", "[end]"), weights, heads=heads)


def test_an_attention_map_shows_the_tokens_it_is_of(tmp_path, translation):
    figure = rendered(plots.attention_map(translation, tmp_path / "map.png", alignment=True))
    axes = figure.axes[0]
    np.testing.assert_array_equal(axes.images[0].get_array(), translation.attention)
    assert axes.images[0].get_clim() == (0.0, 1.0)
    assert texts(axes.get_yticklabels()) == ["▁Hi", "[end]"]
    assert texts(axes.get_xticklabels()) == ["[start]", "▁Oi", "[end]"]
    assert [list(place) for place in axes.collections[0].get_offsets()] == [[1, 0]]  # ▁Oi, the second column
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert texts(figure.legends[0].get_texts()) == [
        "source token that each token attends to most (mean of the last layer's heads; start and end left out)"
    ]
    unmarked = plots.attention_map(translation)
    assert not unmarked.axes[0].collections and not unmarked.legends
    with pytest.raises(ValueError, match="with_attention=True"):
        plots.attention_map(Translation("Hi", 0.0, 0.0))
    with pytest.raises(ValueError, match="with_heads=True"):
        plots.attention_map(dataclasses.replace(translation, heads=None), heads=True)


def test_the_command_draws_a_sentence(tmp_path, monkeypatch, translation, capsys):
    from transformer.inference.translator import Translator

    results = [translation, Translation("", 0.0, 0.0)]

    class Fixed:
        def translate(self, sentences, with_attention, with_heads):
            assert (sentences, with_attention, with_heads) == (["Oi"], True, True)
            return [[results.pop(0)]]

    monkeypatch.setattr(Translator, "load", lambda run: Fixed())
    words = ["run", "--sentence", "Oi", "--heads", "--alignment", "--output", str(tmp_path / "map.png")]
    assert plot.main(words) == 0
    assert capsys.readouterr().out == "Hi\n"
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")
    assert plot.main(words) == 1
    assert "has no attention map" in capsys.readouterr().err


def test_every_layer_has_a_row_of_heads(translation):
    figure = rendered(plots.attention_map(translation, heads=True))
    maps = [axes for axes in figure.axes if axes.images and axes.get_title()]
    assert [axes.get_title() for axes in maps] == [f"layer {i}, head {j}" for i in (1, 2) for j in (1, 2, 3)]
    for axes, table in zip(maps, translation.heads.reshape(6, 2, 3), strict=True):
        np.testing.assert_array_equal(axes.images[0].get_array(), table)
    rows = [round(axes.get_position().y0, 3) for axes in maps]
    assert rows[0] == rows[1] == rows[2] > rows[3] == rows[4] == rows[5]


def test_heads_and_their_mean():
    weights = np.random.default_rng(0).dirichlet(np.ones(3), (2, 2))  # (H, T, S)
    figure = rendered(plots.attention_heads(weights, ["a", "b"], ["x", "y", "z"]))
    maps = figure.axes[:3]
    assert [axes.get_title() for axes in maps] == ["head 1", "head 2", "mean of the heads"]
    np.testing.assert_array_equal(maps[1].images[0].get_array(), weights[1])
    np.testing.assert_allclose(maps[2].images[0].get_array(), (weights[0] + weights[1]) / 2)
    (only,) = plots.attention_heads(weights[:1], ["a", "b"], ["x", "y", "z"], numbers=True).axes[:1]
    assert (only.get_title(), len(only.images)) == ("", 1)
    assert texts(only.texts) == [f"{weight:.2f}" for weight in weights[0].ravel()]
    named = plots.attention_heads(weights[:1], ["a", "b"], ["x", "y", "z"], title="Tags", names=("word", "tag"))
    assert (named.get_suptitle(), named.axes[0].get_ylabel(), named.axes[0].get_xlabel()) == ("Tags", "word", "tag")
    with pytest.raises(ValueError, match=r"weights must be \(H, 1, 3\), got \(2, 2, 3\)"):
        plots.attention_heads(weights, ["a"], ["x", "y", "z"])


def test_masks_are_light_where_a_token_may_attend():
    look_ahead, padding = np.tril(np.ones((3, 3), bool)), np.array([[[[True, True, False]]]])
    figure = rendered(plots.mask_maps({"look ahead": look_ahead, "padding": padding}, ["a", "b", "c"], ["x", "y", "z"]))
    first, second = figure.axes
    np.testing.assert_array_equal(first.images[0].get_array(), [[1, 0, 0], [1, 1, 0], [1, 1, 1]])
    np.testing.assert_array_equal(second.images[0].get_array(), [[1, 1, 0]])
    assert texts(first.get_yticklabels()) == ["a", "b", "c"]
    assert texts(second.get_xticklabels()) == ["x", "y", "z"]
    assert texts(second.get_yticklabels()) == [""]
    assert [axes.get_title() for axes in figure.axes] == ["look ahead", "padding"]
    allowed, hidden = figure.legends[0].get_patches()
    assert texts(figure.legends[0].get_texts()) == ["True: may attend", "False: hidden"]
    assert (first.get_ylabel(), first.get_xlabel()) == ("query", "key")
    other = plots.mask_maps({"m": padding}, meanings=("word", "pad"), names=("sentence", "position"))
    assert texts(other.legends[0].get_texts()) == ["word", "pad"]
    assert (other.axes[0].get_ylabel(), other.axes[0].get_xlabel()) == ("sentence", "position")
    for patch, value in ((allowed, 1), (hidden, 0)):
        np.testing.assert_allclose(patch.get_facecolor(), first.images[0].to_rgba(value))
    for bad in (look_ahead.astype(float), np.ones((2, 1, 1, 3), bool)):
        with pytest.raises(ValueError, match=r"mask 'm' must be boolean"):
            plots.mask_maps({"m": bad})


def test_positions_and_their_dot_products():
    table = np.array([[0.0, 1.0], [0.6, 0.8], [1.0, 0.0]])
    encodings, products, *_ = rendered(plots.position_maps(table[np.newaxis])).axes
    np.testing.assert_array_equal(encodings.images[0].get_array(), table)
    np.testing.assert_allclose(products.images[0].get_array(), [[1, 0.8, 0], [0.8, 1, 0.6], [0, 0.6, 1]])
    with pytest.raises(ValueError, match="table must be"):
        plots.position_maps(table[0])


def test_learning_rates_begin_with_the_first_update():
    figure = plots.learning_rates({"steps": lambda step: 0.1 * (step + 1), "flat": lambda step: 0.5}, 4)
    (axes,) = figure.axes
    assert points(axes.lines[0]) == ([1, 2, 3, 4], pytest.approx([0.1, 0.2, 0.3, 0.4]))
    assert points(axes.lines[1])[1] == [0.5] * 4
    assert texts(axes.get_legend().get_texts()) == ["steps", "flat"]
    assert len(plots.learning_rates({"long": lambda step: 1.0}, 100_000).axes[0].lines[0].get_xdata()) == 500


def test_levels_are_named_lines():
    (axes,) = plots.curves({"a": ([1, 2], [3, 4])}, "x", "y", levels={"floor": 2.5}).axes
    assert list(axes.lines[1].get_ydata()) == [2.5, 2.5]
    assert texts(axes.texts) == ["floor"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")


def test_cost_growth_says_its_powers():
    sizes = [1, 2, 4, 8]
    figure = plots.cost_growth(
        {"all": (sizes, [3 * n + n**3 for n in sizes]), "square": (sizes, [1, 4, 16, 64])}, "n", "c"
    )
    (axes,) = figure.axes
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    # 4, 14, 76, 536: log2(14 / 4) = 1.8 and log2(536 / 76) = 2.8
    assert texts(axes.get_legend().get_texts()) == ["all: n = 1.8 to 2.8", "square: n = 2.0 to 2.0"]
    assert points(axes.lines[1]) == (sizes, [1, 4, 16, 64])


def test_bleu_is_drawn_of_the_sentences_of_a_length():
    good = "one two three four five"
    lengths, hypotheses, references = [1, 2, 2, 9], [good, "so very wrong", good, good], [good] * 4
    figure = rendered(plots.length_bleu({"all": (lengths, hypotheses, references)}, [1, 2, 3, 5, 10], "en"))
    (axes,) = figure.axes
    places, scores = points(axes.lines[0])
    assert places == [0, 1, 3]  # there is no sentence of 3 or 4 tokens
    assert scores[0] == scores[2] == pytest.approx(100.0)
    assert 0 < scores[1] < 100
    assert texts(axes.texts) == ["1", "2", "1"]
    assert texts(axes.get_xticklabels()) == ["1", "2", "3 to 4", "5 to 9"]


def test_histograms_are_shares_in_common_bins():
    (axes,) = rendered(plots.histograms({"a": [0.0, 0.0, 1.0, 2.0], "b": [2.0, 2.0]}, "nats")).axes
    first, second = (patch.get_data() for patch in axes.patches)
    np.testing.assert_array_equal(first.edges, second.edges)
    assert (first.values[0], first.values.sum()) == (0.5, 1.0)
    assert (second.values[-1], second.values.sum()) == (1.0, 1.0)


def test_probabilities_stand_beside_each_other():
    figure = rendered(plots.token_probabilities({"T = 1": [0.6, 0.4], "T = 2": [0.55, 0.45]}, ["▁a", "▁b"]))
    (axes,) = figure.axes
    assert [[bar.get_height() for bar in bars] for bars in axes.containers] == [[0.6, 0.4], [0.55, 0.45]]
    assert [bars[0].get_hatch() for bars in axes.containers] == list(HATCHES[:2])
    assert texts(axes.get_xticklabels()) == ["▁a", "▁b"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("token", "probability")
    (axes,) = rendered(plots.token_probabilities({"tags": [0.9]}, ["PLACE"], names=("kind", "F1"))).axes
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("kind", "F1")


def test_a_beam_is_joined_to_its_parents():
    steps = [
        [(("a",), -0.1), (("b",), -0.4)],
        [(("a", "[end]"), -0.45), (("b", "c"), -0.5)],
        [(("b", "c", "[end]"), -0.42), (("a", "[end]"), -0.45)],  # with a length penalty a score may rise
    ]
    (axes,) = rendered(plots.beam_tree(steps)).axes
    lines = [(*points(line), line.get_linewidth() > 1) for line in axes.lines]
    assert lines == [
        ([0, 1], [0, 0], False),
        ([0, 1], [1, 1], True),
        ([1, 2], [1, 0], True),  # b c [end] comes from b c, the second
        ([1, 2], [0, 1], False),  # finished: it goes on from itself
    ]
    assert texts(axes.texts)[:3] == ["a\n-0.10", "b\n-0.40", "[end]\n-0.45"]
    with pytest.raises(ValueError, match="'x y' goes on from none"):
        plots.beam_tree([[(("a",), 0.0)], [(("x", "y"), 0.0)]])


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.curves({"a": ([1], [0.5])}, "steps", "loss"),
        lambda: plots.attention_heads(np.ones((1, 1, 1)), ["a"], ["b"]),
        lambda: plots.mask_maps({"all": np.ones((2, 2), bool)}),
        lambda: plots.position_maps(np.ones((2, 2))),
        lambda: plots.beam_tree([[(("a",), -0.1)]]),
        lambda: plots.token_probabilities({"p": [1.0]}, ["a"]),
    ],
)
def test_without_matplotlib_the_extra_is_named(monkeypatch, draw):
    draw()
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(UserError, match=r"pip install 'transformer-reference\[plots\]'"):
        draw()


def test_commands_ask_for_matplotlib_before_anything_is_done(tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    picture = str(tmp_path / "a.png")
    for main, words in (
        (translate.main, ["--run", "gone", "--attention", picture, "Olá."]),
        (plot.main, ["gone", "--sentence", "Olá."]),
    ):
        assert main(words) == 1
        out, err = capsys.readouterr()
        how = "pip install 'transformer-reference[plots]'"
        assert (out, err) == ("", f"error: pictures need matplotlib; install it with: {how}\n")


@pytest.fixture
def only_own_fonts(monkeypatch):
    """Take away all fonts but those that come with matplotlib."""
    from matplotlib import font_manager, get_data_path

    own = [font for font in font_manager.fontManager.ttflist if font.fname.startswith(get_data_path())]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", own)
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: [])
    return font_manager


def chinese_font(path):
    """Write a font that has nothing but 车 and 站, both as a square."""
    pen = TTGlyphPen(None)
    pen.moveTo((0, 0))
    for corner in ((0, 800), (800, 800), (800, 0)):
        pen.lineTo(corner)
    pen.closePath()
    builder = FontBuilder(1000, isTTF=True)
    builder.setupGlyphOrder([".notdef", "che", "zhan"])
    builder.setupCharacterMap({ord("车"): "che", ord("站"): "zhan"})
    builder.setupGlyf(dict.fromkeys([".notdef", "che", "zhan"], pen.glyph()))
    builder.setupHorizontalMetrics(dict.fromkeys([".notdef", "che", "zhan"], (900, 0)))
    builder.setupHorizontalHeader(ascent=800, descent=-200)
    builder.setupNameTable({"familyName": "Two Signs", "styleName": "Regular"})
    builder.setupOS2(usWeightClass=400)
    builder.setupPost()
    builder.save(path)
    return path


def test_a_font_with_the_signs_is_found(tmp_path, only_own_fonts, monkeypatch):
    path = str(chinese_font(tmp_path / "two.ttf"))
    monkeypatch.setattr(only_own_fonts, "findSystemFonts", lambda: [path])
    chosen = fonts.text_renderer(["▁Onde 车站"])
    assert (chosen.families, chosen.missing) == (["DejaVu Sans", "Two Signs"], frozenset())
    translation = Translation("站", 0.0, 0.0, ("站",), ("[start]", "车", "[end]"), np.full((2, 3), 1 / 3))
    figure = rendered(plots.attention_map(translation))
    assert texts(figure.axes[0].get_xticklabels()) == ["[start]", "车", "[end]"]
    assert figure.axes[0].get_xticklabels()[1].get_fontfamily() == ["DejaVu Sans", "Two Signs"]


def test_signs_without_a_font_are_numbers_and_a_note(only_own_fonts):
    chosen = fonts.text_renderer(["车站 a", "\N{GRINNING FACE}é\n"])
    assert chosen.missing >= {"车", "站"} and not chosen.missing & set("aé\n ")
    assert chosen.show("a车") == r"a\u8f66"
    translation = Translation("站", 0.0, 0.0, ("站",), ("[start]", "车", "[end]"), np.full((2, 3), 1 / 3))
    figure = rendered(plots.attention_map(translation))
    assert texts(figure.axes[0].get_yticklabels()) == [r"\u7ad9", "[end]"]
    assert figure.get_supxlabel().startswith("No installed font has 2 of these characters")
    assert plots.beam_tree([[(("站",), 0.0)]]).axes[0].texts[0].get_text() == "\\u7ad9\n0.00"


@pytest.mark.parametrize(
    "draw",
    [
        lambda t: plots.attention_map(t),
        lambda t: plots.attention_map(t, heads=True, alignment=True),
        lambda t: plots.attention_heads(np.ones((2, 1, 1)), ["a"], ["b"]),
        lambda t: plots.mask_maps({"padding": np.ones((2, 2), bool)}),
        lambda t: plots.position_maps(np.ones((2, 2))),
        lambda t: plots.beam_tree([[(("a",), -0.1)]]),
        lambda t: plots.token_probabilities({"p": [1.0]}, ["a"]),
        lambda t: plots.curves({"a": ([1], [0.5])}, "steps", "loss"),
        lambda t: plots.cost_growth({"a": ([1, 2], [1, 2])}, "size", "cost"),
        lambda t: plots.learning_rates({"a": lambda step: 1.0}, 3),
        lambda t: plots.length_bleu({"a": ([1], ["a"], ["a"])}, [1, 2], "en"),
        lambda t: plots.histograms({"a": [1.0]}, "nats"),
    ],
)
def test_every_picture_has_a_title_and_names_its_axes(translation, draw):
    figure = rendered(draw(translation))
    named = [axes for axes in figure.axes if not hasattr(axes, "_colorbar")]
    assert named and all(axes.get_xlabel() and axes.get_ylabel() for axes in named)
    assert figure.get_suptitle() or all(axes.get_title() for axes in named)


def of_length(source, target, heads=None):
    weights = np.zeros((target, source), np.float32)
    heads = heads and np.zeros((*heads, target, source), np.float32)
    return Translation("", 0.0, 0.0, ("a",) * (target - 1), ("b",) * source, weights, heads=heads)


@pytest.mark.parametrize(
    "draw",
    [
        lambda: plots.attention_map(of_length(500, 500)),
        lambda: plots.attention_map(of_length(100, 100, (6, 8)), heads=True),
        lambda: plots.attention_map(of_length(2, 16000)),  # narrow, and too high for the renderer
        lambda: plots.attention_heads(np.zeros((400, 1, 1)), ["a"], ["b"]),
        lambda: plots.mask_maps({"m": np.ones((600, 600), bool)}),
        lambda: plots.position_maps(np.zeros((16000, 512), np.float32)),
        lambda: plots.token_probabilities({"p": [0.0] * 100_000}, ["a"] * 100_000),
    ],
)
def test_a_picture_that_would_take_all_memory_is_refused_with_the_limit(draw):
    with pytest.raises(UserError, match=r"is too large.* the limit is [\d,]+"):
        draw()


@pytest.mark.slow  # a large picture
def test_a_large_picture_has_fewer_dots_to_an_inch(tmp_path):
    from matplotlib.image import imread

    for size in (30, 120):
        figure = plots.attention_map(of_length(size, size), tmp_path / "map.png")
        height, width = imread(tmp_path / "map.png").shape[:2]
        dots = width / figure.get_size_inches()[0]
        assert height * width <= 41e6
        assert dots == pytest.approx(150, rel=0.01) if size == 30 else 60 <= dots < 149


@pytest.mark.parametrize("name", ["$a$", "a$b$c", "\udcff$", "_run", "a\nb", "\x1b[31mred", "\u8f66" * 3, "r" * 500])
def test_any_name_of_a_run_is_drawn_letter_by_letter(tmp_path, name):
    """A pair of dollar signs would be mathematics, and a name with an underscore no part of a legend."""
    run = write_metrics(tmp_path / "run")
    figure = rendered(plots.training_curves({name: run}))
    (shown,) = texts(figure.axes[1].get_legend().get_texts())
    assert shown.isprintable() and len(shown) <= 81 and shown.count("$") == shown.count(r"\$")
    if name == "$a$":
        assert shown == r"\$a\$"  # matplotlib's way to write two dollar signs


ODD_METRICS = [
    b"\xff\xfe\n[1]\n3\nnull\n" + b"[" * 100_000,
    b'{"event": ["train"], "step": 1}\n{"event": "train"}\n{"event": "train", "step": "1", "loss": 1}',
    b'{"event": "train", "step": -1, "loss": 1}\n{"event": "train", "step": 1e999, "loss": 1}',
]


@pytest.mark.parametrize("content", ODD_METRICS)
def test_metrics_that_hold_no_reports(tmp_path, capsys, content):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "metrics.jsonl").write_bytes(content)
    assert plot.main([str(tmp_path / "run"), "--output", str(tmp_path / "a.png")]) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and "holds no metrics yet" in err and err.count("\n") == 1


def test_numbers_that_are_none_leave_gaps(tmp_path):
    values = ["1.0", "NaN", "Infinity", "1e300", "1" + "0" * 400, "null", '"2"', "true", "[3]", "2.0"]
    lines = (f'{{"event": "train", "step": {step}, "loss": {value}}}\n' for step, value in enumerate(values))
    (tmp_path / "metrics.jsonl").write_text("".join(lines) + '{"event": "validation", "step": 3, "loss": NaN}')
    figure = rendered(plots.training_curves([tmp_path]))
    steps, losses = points(figure.axes[0].lines[0])
    assert steps == list(range(10))
    assert [losses[0], losses[-1]] == [1.0, 2.0] and np.isnan(losses[1:-1]).all()
    assert len(figure.axes[0].lines) == 1  # of the validation nothing is known
    assert texts(figure.axes[2].texts) == ["not measured"]


def test_long_metrics_are_thinned_and_keep_their_ends(tmp_path):
    lines = (f'{{"event": "train", "step": {step}, "loss": {step}}}\n' for step in range(1, 9002))
    (tmp_path / "metrics.jsonl").write_text("".join(lines))
    steps, losses = points(plots.training_curves([tmp_path]).axes[0].lines[0])
    assert steps == losses and (steps[0], steps[-1]) == (1, 9001) and 1500 < len(steps) <= 2001


def test_metrics_that_are_no_file_of_the_run_are_refused(tmp_path, capsys, monkeypatch):
    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.write_text("secret", encoding="utf-8")
    path = run / "metrics.jsonl"
    makers = {
        "is a device or a pipe": lambda: os.mkfifo(path),
        "is a link to a place outside": lambda: path.symlink_to(elsewhere),
        "is a link to a place outside ": lambda: path.symlink_to("/dev/zero"),
        "Is a directory": path.mkdir,
        "is longer than 10 bytes": lambda: path.write_text("x" * 11),
    }
    monkeypatch.setattr("transformer.plots.runs.MOST_METRICS", 10)
    for told, make in makers.items():
        make()
        assert plot.main([str(run)]) == 1
        out, err = capsys.readouterr()
        assert out == "" and told.strip() in err and err.count("\n") == 1
        path.rmdir() if path.is_dir() else path.unlink()


def test_plain_text_needs_no_note(translation):
    assert plots.attention_map(translation).get_supxlabel() == ""


def test_a_user_whose_folder_cannot_be_written_gets_a_picture_and_no_notes(tmp_path):
    write_metrics(tmp_path / "run")
    command = [sys.executable, "-m", "transformer", "plot", "run", "--output", "curves.png"]
    environment = {**os.environ, "HOME": "/dev/null/x", "PYTHONPATH": str(ROOT)}
    environment = {
        name: value for name, value in environment.items() if name not in ("MPLCONFIGDIR", "XDG_CONFIG_HOME")
    }
    done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "curves.png is drawn\n")
