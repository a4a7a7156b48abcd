"""Ctrl-C while a script is still importing ends it with code 130 and without a word."""

import signal
import subprocess
import sys

import pytest
from conftest import ROOT

from transformer.system.interrupts import Terminated, end_at_once, end_cleanly, quiet_start, starting

SCRIPTS = {
    "train.py": ["train.py"],
    "translate.py": ["translate.py", "Bom dia."],
    "selfcheck": ["-m", "transformer", "selfcheck", "run"],
    "export": ["-m", "transformer", "export", "run", "out", "--format", "savedmodel"],
    "serve": ["-m", "transformer", "serve", "run", "--port", "0"],
    "evaluation": ["-m", "transformer", "evaluate", "a", "b", "--target-language", "en"],
    "plots": ["-m", "transformer", "plot", "run", "--sentence", "Bom dia."],
}
LAST = dict.fromkeys(("translate.py", "serve", "plots"), "numpy")  # they may do without TensorFlow
# A module that is interrupted while it is imported, and makes another error of it.
INTERRUPTED = """
import os, signal
try:
    os.kill(os.getpid(), signal.SIGNAL)
    for _ in range(1000):
        pass
except BaseException:
    raise ImportError("there is something wrong with this module")
"""


def stopped(tmp_path, words, module, name):
    """Return exit code and output of a script in which the import of a module is interrupted by the signal `name`."""
    (tmp_path / f"{module}.py").write_text(INTERRUPTED.replace("SIGNAL", name), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, *words], cwd=ROOT, env={"PYTHONPATH": f"{tmp_path}:{ROOT}"}, capture_output=True, text=True
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.parametrize(
    "script, module",
    [  # of the first imports, and of the last
        *((script, "argparse") for script in SCRIPTS),
        *((script, LAST.get(script, "tensorflow")) for script in SCRIPTS),
    ],
)
def test_an_interrupted_import_is_quiet(tmp_path, handlers, script, module):
    assert stopped(tmp_path, SCRIPTS[script], module, "SIGINT") == (130, "", "")


def test_sigterm_is_as_quiet(tmp_path):
    assert stopped(tmp_path, SCRIPTS["train.py"], "tensorflow", "SIGTERM") == (143, "", "")


def test_a_signal_that_is_ignored_stays_so(handlers):
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    quiet_start()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_only_what_ends_a_script_cleanly_ends_it_at_once_while_it_starts(handlers):
    signal.signal(signal.SIGINT, signal.default_int_handler)  # as in a notebook, whose kernel must not end
    signal.signal(signal.SIGTERM, end_cleanly)
    with starting():
        assert signal.getsignal(signal.SIGINT) == signal.default_int_handler
        assert signal.getsignal(signal.SIGTERM) == end_at_once
    assert signal.getsignal(signal.SIGTERM) == end_cleanly
    with pytest.raises(Terminated) as error:
        signal.raise_signal(signal.SIGTERM)
    assert error.value.args == (signal.SIGTERM,)
