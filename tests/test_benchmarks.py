"""What the benchmarks share: they run the project's scripts, give them time to save, and put corpora together."""

import json
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from transformer.system.errors import UserError

sys.path += [str(ROOT / "benchmarks"), str(ROOT / "recipes")]
import data_diversification
from scripts import run_script

# A script that saves when it is asked to end, which takes a while.
SAVING = """
import pathlib, signal, sys, time
def save(number, frame):
    time.sleep(1)
    pathlib.Path(sys.argv[1], "saved").touch()
    sys.exit(128 + number)
signal.signal(signal.SIGTERM, save)
pathlib.Path(sys.argv[1], "begun").touch()
time.sleep(60)
"""
BENCHMARK = """
import sys
sys.path.append("benchmarks")
from scripts import run_script
from transformer.system.process import exit_code
sys.exit(exit_code(lambda: run_script(*sys.argv[1:])))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_benchmark_lets_its_script_save(tmp_path, handlers, number, code):
    (tmp_path / "saving.py").write_text(SAVING, encoding="utf-8")
    words = [sys.executable, "-c", BENCHMARK, tmp_path / "saving.py", tmp_path]
    with (tmp_path / "told").open("w") as told:  # a pipe would be open till the script has ended
        benchmark = subprocess.Popen(words, cwd=ROOT, stderr=told)
    deadline = time.monotonic() + 30
    while not (tmp_path / "begun").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    benchmark.send_signal(number)
    assert benchmark.wait(timeout=30) == code
    assert (tmp_path / "saved").exists()
    assert (tmp_path / "told").read_text(encoding="utf-8") == "\ninterrupted\n"


def test_a_script_that_fails_is_named():
    with pytest.raises(UserError, match=r"^train\.py did not finish"):
        run_script("train.py", "--max-steps", "0")


def test_a_translator_of_both_directions_reads_each_pair_either_way(tmp_path):
    for name, text in {"train.en": "a\nb\n", "train.de": "A\u2028C\n\n", "val.en": "v\n", "val.de": "V"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    data_diversification.both_directions(tmp_path, tmp_path / "both")
    texts = {file.name: file.read_text(encoding="utf-8") for file in (tmp_path / "both").iterdir()}
    assert texts == {
        "train.en": "a\nA\u2028C\nb\n\n",
        "train.de": "A\u2028C\na\n\nb\n",
        "val.en": "v\nV\n",
        "val.de": "V\nv\n",
    }


def test_teachers_begin_as_the_translator_of_both_directions(tmp_path, monkeypatch):
    for name in ("train.en", "train.de", "val.en", "val.de"):
        (tmp_path / name).write_text("a\n", encoding="utf-8")
    trained = {}

    def train(direction, data, run, steps, *flags):
        trained[run.name] = (direction, data.name, steps, dict(zip(flags[::2], flags[1::2], strict=True)))
        return 30.0

    monkeypatch.setattr(data_diversification, "train", train)
    monkeypatch.setattr(data_diversification, "diversify", lambda data, folder, teachers: 30.0)
    runs = tmp_path / "runs"
    steps = ["--shared-steps", "3", "--teacher-steps", "4", "--student-steps", "5"]
    assert data_diversification.main([str(tmp_path), "--runs", str(runs), "--seed", "7", *steps]) == 0
    same = {"--seed": 7, "--precision": "float32"}
    assert trained == {
        "shared_7": ("en_de", "both", 3, same),
        "teacher_en_de_7": ("en_de", tmp_path.name, 4, {**same, "--init-from": runs / "shared_7"}),
        "teacher_de_en_7": ("de_en", tmp_path.name, 4, {**same, "--init-from": runs / "shared_7"}),
        "en_de_7": ("en_de", "diversified_7", 5, {**same, "--init-from": runs / "teacher_en_de_7"}),
    }


def test_the_student_reads_each_sentence_beside_its_pair_and_its_translations(tmp_path, monkeypatch):
    for name, text in {"train.en": "a\nb\n", "train.de": "A\nB\n", "val.en": "v\n", "val.de": "V\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    folder = tmp_path / "diversified"
    teachers = [{one: tmp_path / f"{one}_{seed}" for one in ("en_de", "de_en")} for seed in (1, 2)]
    for pair in teachers:
        for run in pair.values():
            run.mkdir()
            (run / "best.safetensors").write_bytes(b"weights of " + run.name.encode())
    asked = []

    def script(name, *words):
        flags = dict(zip(words[::2], words[1::2], strict=True))
        asked.append(flags["--run"].name)
        lines = flags["--input"].read_text(encoding="utf-8").swapcase()
        flags["--output"].write_text(lines.replace("\n", flags["--run"].name[-1] + "\n"), encoding="utf-8")

    monkeypatch.setattr(data_diversification, "run_script", script)
    data_diversification.diversify(tmp_path, folder, teachers)
    assert asked == ["en_de_1", "de_en_1", "en_de_2", "de_en_2"]
    for kept in folder.glob("*.json"):
        kept.write_text(json.dumps({**json.loads(kept.read_text(encoding="utf-8")), "seconds": 2.5}), encoding="utf-8")
    # nothing is translated again
    assert (
        data_diversification.diversify(tmp_path, folder, teachers) == 10.0 and len(asked) == 4
    )  # nothing is translated again
    (tmp_path / "de_en_1" / "best.safetensors").write_bytes(b"weights of a training that went on")
    assert 7.5 <= data_diversification.diversify(tmp_path, folder, teachers) < 10.0 and asked[4:] == ["de_en_1"]
    sides = [(folder / f"train.{language}").read_text(encoding="utf-8").split() for language in ("en", "de")]
    expected = "a/A b/B a/A1 b/B1 a1/A b1/B a/A2 b/B2 a2/A b2/B"
    assert ["/".join(pair) for pair in zip(*sides, strict=True)] == expected.split()
    assert [(folder / f"val.{language}").read_text(encoding="utf-8") for language in ("en", "de")] == ["v\n", "V\n"]


def test_ngrams_of_both_sides_take_the_longest_context_that_was_seen():
    from masked_accuracy import NGrams

    counted = NGrams([[2, 5, 6, 7, 8, 3], [2, 5, 6, 9, 8, 3], [2, 5, 6, 7, 8, 3], [2, 9, 9, 9, 9, 3]])
    assert counted.most_frequent == 9  # five times
    assert counted.guess([2, 5, 6, 4, 8, 3], 3) == 7  # twice between 5 6 and 8, 9 once
    assert counted.guess([2, 9, 6, 4, 8, 3], 3) == 7  # by 6 and 8 3: the 9 before was never seen there
    assert counted.guess([2, 5, 4, 4, 8, 3], 3) == 7  # the mask before tells nothing, 8 3 behind does
    assert counted.guess([4, 4, 4], 1) == 9
