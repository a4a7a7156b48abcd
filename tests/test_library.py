"""The package as other people's programs meet it: quiet, with one exception for a mistake, and honest about forks."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT
from tiny_run import save_run, spread_parts

from transformer.inference.result import Translation
from transformer.inference.translator import Translator
from transformer.system.errors import UserError


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return save_run(tmp_path_factory.mktemp("library") / "run", spread_parts(), beam_size=1).path


def python(code, *words):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TF_")}
    command = [sys.executable, "-c", code, *map(str, words)]
    environment["PYTHONPATH"] = str(ROOT)
    return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=ROOT, timeout=300)


def test_importing_says_nothing():
    done = python("import transformer; transformer.Translator; transformer.preprocess_text; print('done')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


def test_names_without_tensorflow_do_not_import_it():
    done = python("import sys, transformer; transformer.Config, transformer.UserError, transformer.preprocess_text; "
                  "print('tensorflow' in sys.modules)")  # fmt: skip
    assert done.stdout == "False\n", done.stderr


def test_a_translation_shows_its_text_and_score():
    shown = repr(Translation("Onde?", -0.51239, -1.0, ("▁Onde", "?"), attention=np.ones((3, 4)), heads=np.ones(9)))
    assert shown == "Translation('Onde?', score=-0.5124)"


@pytest.mark.parametrize("missing", [None, "config.json", "corpus.json", "best.safetensors", "tokenizer"])
@pytest.mark.parametrize("damaged", [False, True])
def test_a_wrong_run_is_one_exception(run, tmp_path, missing, damaged):
    """Python shows a chain of exceptions where one has a cause, or a context that is not suppressed."""
    copy = tmp_path / "copy"
    if missing:
        shutil.copytree(run, copy)
        path = copy / missing
        shutil.rmtree(path) if path.is_dir() else path.unlink()
        if damaged:
            path.write_text("{", encoding="utf-8")
    with pytest.raises(UserError) as caught:
        Translator.load(copy)
    error = caught.value
    assert str(copy) in str(error) and "\n" not in str(error)
    assert error.__cause__ is None and (error.__context__ is None or error.__suppress_context__)


FORKED = """
import os, sys
from transformer import Translator
translator = Translator.load(sys.argv[1])
before = translator.translate(["sol mar"])
for work in (lambda: translator.translate(["sol"]), lambda: Translator.load(sys.argv[1])):
    sys.stdout.flush()
    if child := os.fork():
        os.waitpid(child, 0)
        continue
    try:
        work()
    except RuntimeError as error:
        print(error)
    sys.stdout.flush()
    os._exit(0)
print(translator.translate(["sol mar"]) == before)
"""


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_forked_process_is_told_what_to_do_instead_of_waiting_for_ever(run):
    done = python(FORKED, run)
    first, second, unharmed = done.stdout.splitlines()
    assert first == second and 'load it in the child alone, or start processes by the "spawn" method' in first
    assert unharmed == "True"


@pytest.mark.slow  # likewise
def test_a_process_that_was_forked_before_any_model_was_loaded_works(run):
    code = "import os, sys, transformer\nos.fork() and sys.exit(os.wait()[1])\n"
    code += "print(len(transformer.Translator.load(sys.argv[1]).translate(['sol', 'mar'])))"
    done = python(code, run)
    assert (done.returncode, done.stdout) == (0, "2\n"), done.stderr
