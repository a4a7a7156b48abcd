"""CONTRIBUTING.md keeps its word: each worked example, applied to a copy of the package as written, works."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT
from tiny_run import WORDS, pairs

from transformer.checkpoints.arrays import stored_shapes

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
CONFIG = """
[model]
num_layers = 1
d_model = 16
num_heads = 2
dff = 32
max_positions = 32
positions = "learned"

[text]
vocabulary_size = 300

[data]
max_tokens = 24
batch_tokens = 192
cache = "cache"

[training]
max_steps = 3
warmup_steps = 4
score_examples = 0
"""


def steps(example):
    """Yield the file, the kind ('diff' or 'python') and the text of each block of code of an example."""
    for step in re.split(r"^\d+\. ", example, flags=re.MULTILINE)[1:]:
        (path,) = re.findall(r"\bin (?:the new file )?`([\w/]+\.py)`", step.split("```")[0])
        blocks = re.findall(r"^   ```(diff|python)\n(.*?)^   ```$", step, re.MULTILINE | re.DOTALL)
        assert 2 * len(blocks) == step.count("```") > 0, path
        for kind, block in blocks:
            yield path, kind, re.sub(r"^ {3}", "", block, flags=re.MULTILINE)


EXAMPLES = {
    title: list(steps(body))
    for title, body in re.findall(r"^### (.*?)$(.*?)(?=^### |\Z)", TEXT, re.MULTILINE | re.DOTALL)
}


def edited(text, diff):
    """Return a text with a diff applied to the one place where it fits."""
    lines = [(line[:1] or " ", line[1:]) for line in diff.splitlines()]
    assert {sign for sign, _ in lines} <= {"+", "-", " "}
    before, after = ("".join(f"\n{rest}" for sign, rest in lines if sign != left_out) for left_out in "+-")
    text, places = re.subn(rf"{re.escape(before)}(?=\n)", lambda _: after, f"\n{text}")
    assert places == 1, f"this must fit in one place, not {places}:{before}"
    return text[1:]


def applied(examples):
    """Return the files that examples change or bring: {path: text}."""
    files = {}
    for path, kind, block in (step for example in examples for step in EXAMPLES[example]):
        if kind == "python":
            assert path not in files and not (ROOT / path).exists(), path
            files[path] = block
        else:
            text = files.get(path) or (ROOT / path).read_text(encoding="utf-8")
            files[path] = edited(text, block)
    return files


def python(folder, *words, code=0):
    """Run Python in a folder, whose package comes first; returns stdout and stderr."""
    done = subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder)},
        capture_output=True,
        encoding="utf-8",
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def changed(tmp_path_factory):
    """A copy of what examples need of the repository, with all of them applied."""
    folder = tmp_path_factory.mktemp("changed")
    for name in ("transformer", "tests"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("train.py", "translate.py", "setup.cfg", "ruff.toml"):
        shutil.copy(ROOT / name, folder)
    for path, text in applied(EXAMPLES).items():
        (folder / path).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def trained(changed):
    """The copy, after its `train.py` has read JSON lines and trained a model of learned positions for three steps."""
    (changed / "tiny.toml").write_text(CONFIG, encoding="utf-8")
    rows = [json.dumps({"source": source, "target": target}) + "\n" for source, target in pairs(60)]
    (changed / "pairs.jsonl").write_text("".join(rows), encoding="utf-8")
    python(changed, "train.py", "--config", "tiny.toml", "--jsonl", "pairs.jsonl", "--run", "run")
    return changed


def test_there_are_three_and_each_brings_a_test():
    assert len(EXAMPLES) == 3
    for example, blocks in EXAMPLES.items():
        assert [kind for path, kind, _ in blocks if path.startswith("tests/")] == ["python"], example


@pytest.mark.parametrize("example", EXAMPLES)
def test_each_stands_alone(example):
    for path, text in applied([example]).items():
        ast.parse(text, path)


def test_a_diff_that_fits_nowhere_or_twice_is_refused():
    assert edited("a\nb\nc\n", " a\n-b\n+x\n+y\n") == "a\nx\ny\nc\n"
    for text in ("a\nc\n", "a\nb\na\nb\n", "a\nbc\n"):
        with pytest.raises(AssertionError, match="this must fit in one place"):
            edited(text, " a\n-b\n+x\n")


def test_they_pass_the_linter(changed):
    paths = list(applied(EXAMPLES))
    python(changed, "-m", "ruff", "check", *paths)
    python(changed, "-m", "ruff", "format", "--check", *paths)


def test_their_types_hold(changed):
    python(changed, "-m", "mypy")


def test_their_tests_pass(changed):
    brought = [path for path in applied(EXAMPLES) if path.startswith("tests/")]
    out, _ = python(changed, "-m", "pytest", "-q", "-p", "no:cacheprovider", *brought)
    assert re.search(r"^\d+ passed in", out, re.MULTILINE), out


def test_the_new_position_kind_trains_on_the_new_corpus(trained):
    stored = json.loads((trained / "run" / "config.json").read_text(encoding="utf-8"))
    assert (stored["model"]["positions"], stored["data"]["jsonl"]) == ("learned", "pairs.jsonl")
    shapes = stored_shapes(trained / "run" / "best.safetensors")
    for stack in ("encoder", "decoder"):
        assert tuple(shapes[f"model/{stack}/positions/vectors"]) == (32, 16)


def test_the_new_strategy_draws_by_its_flag(trained):
    words = ("translate.py", "--run", "run", "--beam-size", "1", *(f"{word} {word}" for word in WORDS))
    # Where nothing but the likeliest token is likely enough, drawing is greedy search; else it would not come close.
    drawn, _ = python(trained, *words, "--temperature", "1", "--epsilon", "0.999")
    assert drawn == python(trained, *words)[0] and len(drawn.splitlines()) == len(WORDS)
    _, message = python(trained, *words, "--epsilon", "2", code=2)
    assert "epsilon must be at least 0 and below 1, got 2.0" in message


def test_named_paths_exist():
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)]+)\)", TEXT)]
    prose = re.sub(r"^ *```.*?```$", "", TEXT, flags=re.MULTILINE | re.DOTALL)
    brought = {path for path, kind, _ in sum(EXAMPLES.values(), []) if kind == "python"}
    named = set(re.findall(r"`((?:transformer|tests|docs|benchmarks)/[\w/.]*)`", prose)) - brought
    assert len(links) > 2 and len(named) > 5
    assert [path for path in (*links, *named) if not (ROOT / path).exists()] == []
