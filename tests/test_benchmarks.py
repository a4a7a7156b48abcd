"""What the benchmarks share: they run the project's scripts, give them time to save, and put corpora together."""

import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

from transformer.config import UserError

sys.path.append(str(ROOT / "benchmarks"))
import diversified
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
from transformer.command_line import exit_code
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


def test_the_student_reads_each_sentence_beside_its_pair_and_its_translations(tmp_path):
    for name, text in {"train.en": "a\nb\n", "train.de": "A\nB\n", "val.en": "v\n", "val.de": "V\n"}.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    folder = tmp_path / "diversified"
    folder.mkdir()
    for name, text, seconds in (("translated.de", "A'\nB'\n", "2.5"), ("translated.en", "a'\nb'\n", "4.0")):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / f"{name}.seconds").write_text(f"{seconds}\n", encoding="utf-8")
    assert diversified.diversify(tmp_path, folder, {"en_de": tmp_path, "de_en": tmp_path}) == 6.5  # nothing runs again
    sides = [(folder / f"train.{language}").read_text(encoding="utf-8").split() for language in ("en", "de")]
    pairs, forward, backward = [("a", "A"), ("b", "B")], [("a", "A'"), ("b", "B'")], [("a'", "A"), ("b'", "B")]
    assert list(zip(*sides, strict=True)) == pairs + forward + backward
    assert [(folder / f"val.{language}").read_text(encoding="utf-8") for language in ("en", "de")] == ["v\n", "V\n"]
