"""How likely given translations are: against the sum over single steps, and on the command line."""

import math

import numpy as np
import pytest
from reference import randomised
from tiny_run import pairs, tiny_config, write_run

from transformer.commands import evaluate
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.ids import END_ID
from transformer.inference import translation_scores
from transformer.inference.translation_scores import TooLong, TranslationScorer
from transformer.inference.translator import Translator
from transformer.tasks.sequence_to_sequence import build_model

SOURCES = ["um dois", "sol", "", "mar rio lua três um"]
TARGETS = ["one two", "", "sun", "sea river moon"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scores")
    config = tiny_config(folder)
    tokenizers = train_tokenizers(lambda: iter(pairs(60)), config.text)
    models = [randomised(build_model(config.model, tokenizers), seed) for seed in (0, 1)]
    return [write_run(folder / f"run{i}", config, tokenizers, model) for i, model in enumerate(models)]


@pytest.fixture(scope="module")
def translator(runs):
    return Translator.load(runs[0])


def step_by_step(translator, source, target):
    """Return log P of a target, from `next_token` after each of its beginnings."""
    ids = [*translator.tokenizers.target.tokenize([target.encode()]).to_list()[0], END_ID]
    model, row = translator.transformer, translator.encode([source])
    total = 0.0
    for i, token in enumerate(ids):
        logits = model.project(model.decode(np.array(row), np.array([[2, *ids[:i]]]), training=False)[0])[0, -1]
        total += logits[token] - np.log(np.sum(np.exp(logits, dtype=np.float64)))
    return float(total), len(ids)


def test_scores_are_sums_over_single_steps(translator, monkeypatch):
    found = TranslationScorer(translator).score(SOURCES, TARGETS)
    for score, source, target in zip(found, SOURCES, TARGETS, strict=True):
        total, tokens = step_by_step(translator, source, target)
        assert score.log_probability == pytest.approx(total, abs=1e-4)
        assert (score.tokens, score.bytes) == (tokens, len(target))
        assert score.perplexity == pytest.approx(math.exp(-total / tokens), rel=1e-4)
    monkeypatch.setattr(translation_scores, "TOGETHER", 1)  # one by one, without padding
    for score, alone in zip(found, TranslationScorer(translator).score(SOURCES, TARGETS), strict=True):
        assert alone.log_probability == pytest.approx(score.log_probability, abs=1e-4)


def test_what_cannot_be_scored_is_refused(translator):
    scorer = TranslationScorer(translator)
    assert scorer.score([], []) == []
    with pytest.raises(ValueError, match="targets must be as many as sources \\(2\\), got 1"):
        scorer.score(["um", "dois"], ["one"])
    with pytest.raises(TooLong, match=r"pair 2 must have at most 32 tokens a side, got \d+"):
        scorer.score(["um", "um"], ["one", "one " * 40])


def test_the_command_line_prints_perplexities(runs, translator, tmp_path, capsys):
    source, target = tmp_path / "source", tmp_path / "target"
    source.write_text("um dois\nsol\n")
    target.write_text("one two\nsun\n")
    words = [str(target), str(target), "--target-language", "en", "--run", str(runs[0])]
    assert evaluate.main([*words, "--source", str(source), "--baseline-run", str(runs[1])]) == 0
    lines = capsys.readouterr().out.splitlines()[2:]
    steps = [step_by_step(translator, *pair) for pair in (("um dois", "one two"), ("sol", "sun"))]
    total, tokens = sum(step[0] for step in steps), sum(step[1] for step in steps)
    assert float(lines[0].split()[1]) == pytest.approx(math.exp(-total / tokens), rel=1e-3)
    assert lines[0].endswith(f"  a token ({tokens})") and lines[2].endswith("  a byte (10)")
    assert float(lines[2].split()[1]) == pytest.approx(math.exp(-total / 10), rel=1e-3)
    assert lines[1].startswith(f"  {runs[1]}: ") and " to it, p = " in lines[3]
    for flags, message in (
        ([*words], "--run and --source go together"),
        ([*words[:4], "--baseline-run", "x"], "--baseline-run is compared with --run"),
    ):
        with pytest.raises(SystemExit, match="2"):
            evaluate.main(flags)
        assert message in capsys.readouterr().err
    target.write_text("one two\n" + "sun " * 40 + "\n")
    assert evaluate.main([*words, "--source", str(source)]) == 1
    told = f"error: {source} and {target}, pair 2 must have at most 32 tokens a side, got "
    assert capsys.readouterr().err.splitlines()[-1].startswith(told)
