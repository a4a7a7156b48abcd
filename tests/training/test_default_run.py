"""The README's first command as a whole: the default training, its score on held-out pairs, and a translation."""

import json
import os
import subprocess
import sys

import pytest
from conftest import ROOT


def run(*command, **environment):
    done = subprocess.run(
        [sys.executable, *command], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow  # it trains the default model, for some minutes: nothing smaller shows that the default is good
def test_default_training_reaches_90_bleu_and_translates(tmp_path):
    directory = str(tmp_path / "run")
    folders = {"TRANSFORMER_CACHE": str(tmp_path / "cache"), "TFDS_DATA_DIR": str(tmp_path / "datasets")}
    run("train.py", "--run", directory, **folders)
    score = json.loads(run("benchmarks/translation_quality.py", directory, "--split", "test", **folders))
    assert score["sentences"] >= 1000
    assert score["bleu"] >= 90
    assert run("translate.py", "--run", directory, "Onde fica a estação?") == "Where is the station?\n"
