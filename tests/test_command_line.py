"""What all scripts share: how a mistake in a flag and a missing package are told."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT

from transformer.command_line import Parser, exit_code


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--beam-sise", "3"], "error: unrecognized arguments: --beam-sise 3. Did you mean '--beam-size'? See --help"),
        (["--beam-sise=3"], "error: unrecognized arguments: --beam-sise=3. Did you mean '--beam-size'? See --help"),
        (["--quiet"], "error: unrecognized arguments: --quiet; see --help"),
        (["words"], "error: unrecognized arguments: words; see --help"),
        (["--beam-size", "x"], "error: argument --beam-size: invalid int value: 'x'; see --help"),
    ],
)
def test_a_typo_in_a_flag_names_the_nearest(capsys, words, expected):
    parser = Parser()
    parser.add_argument("--beam-size", type=int)
    with pytest.raises(SystemExit) as stopped:
        parser.parse_args(words)
    assert (stopped.value.code, capsys.readouterr().err) == (2, expected + "\n")


@pytest.mark.parametrize(
    "script, package",
    [
        (["train.py"], "tensorflow"),
        (["translate.py", "Olá."], "tensorflow"),
        (["-m", "transformer.evaluation", "a", "b", "--target-language", "en"], "babel"),
    ],
)
def test_the_python_of_another_environment_is_one_line_with_the_way_out(script, package):
    """`-S` hides what is installed, as from the system's Python beside an environment."""
    done = subprocess.run([sys.executable, "-S", *script], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sys.executable} has no package {package}; run the Python of")
    assert "pip install -e ." in done.stderr and done.stderr.count("\n") == 1


def test_a_missing_module_of_ours_is_no_mistake_of_the_user():
    def job():
        raise ModuleNotFoundError("no module", name="transformer.gone")

    with pytest.raises(ModuleNotFoundError):
        exit_code(job)


@pytest.mark.parametrize(
    "machine, given, expected", [("x86_64", None, "1"), ("x86_64", "0", "0"), ("aarch64", None, None)]
)
def test_products_of_onednn_are_asked_for_on_x86_unless_the_user_says_otherwise(machine, given, expected):
    """TF_ENABLE_ONEDNN_OPTS is the variable of TensorFlow's guide."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    code = (
        "import os, platform\n"
        "from transformer.command_line import import_tensorflow\n"
        f"platform.machine = lambda: {machine!r}\n"
        "import_tensorflow()\n"
        "print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == str(expected), done.stderr
