"""What all scripts share: how a mistake in a flag and a missing package are told."""

import errno
import io
import os
import subprocess
import sys

import pytest
from conftest import ROOT

from transformer.commands import export, selfcheck, train, translate
from transformer.commands.evaluate import parser as evaluation
from transformer.commands.parser import Parser
from transformer.data.phrasebook import __main__ as phrasebook
from transformer.system.errors import UserError
from transformer.system.messages import for_terminal, one_line, say, utf8
from transformer.system.process import exit_code

EVIL = "\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e"  # clears the screen, names the window, turns writing round


@pytest.mark.parametrize(
    "words, expected",
    [
        (["--beam-sise", "3"], "error: unrecognized arguments: --beam-sise 3. Did you mean '--beam-size'? See --help"),
        (["--beam-sise=3"], "error: unrecognized arguments: --beam-sise=3. Did you mean '--beam-size'? See --help"),
        (["--quiet"], "error: unrecognized arguments: --quiet; see --help"),
        (["--hell"], "error: unrecognized arguments: --hell; see --help"),  # not --help
        ([f"--{EVIL}"], f"error: unrecognized arguments: --{one_line(EVIL)}; see --help"),
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


def test_a_file_without_its_flag_is_told(capsys, tmp_path):
    (tmp_path / "a.csv").write_text("a,b\n")
    with pytest.raises(SystemExit):
        train.parser().parse_args(["--task", "classification", str(tmp_path / "a.csv")])
    assert f" Files are given with a flag: --train {tmp_path / 'a.csv'}. See --help" in capsys.readouterr().err


@pytest.mark.parametrize(
    "script, package",
    [
        (["train.py"], "tensorflow"),
        (["translate.py", "Olá."], "backports"),
        (["-m", "transformer", "evaluate", "a", "b", "--target-language", "en"], "babel"),
    ],
)
def test_the_python_of_another_environment_is_one_line_with_the_way_out(script, package):
    """`-S` hides what is installed, as from the system's Python beside an environment."""
    done = subprocess.run([sys.executable, "-S", *script], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"error: {sys.executable} has no package {package}; run the Python of")
    assert "pip install transformer-reference" in done.stderr and done.stderr.count("\n") == 1


def test_a_missing_module_of_ours_is_no_mistake_of_the_user():
    def job():
        raise ModuleNotFoundError("no module", name="transformer.gone")

    with pytest.raises(ModuleNotFoundError):
        exit_code(job)


@pytest.mark.parametrize(
    "machine, given, expected",
    [
        ("x86_64", None, "1"),
        pytest.param("x86_64", "0", "0", marks=pytest.mark.slow),  # a process for each
        pytest.param("aarch64", None, None, marks=pytest.mark.slow),
    ],
)
def test_products_of_onednn_are_asked_for_on_x86_unless_the_user_says_otherwise(machine, given, expected):
    """TF_ENABLE_ONEDNN_OPTS is the variable of TensorFlow's guide."""
    environment = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    environment |= {} if given is None else {"TF_ENABLE_ONEDNN_OPTS": given}
    code = (
        "import os, platform\n"
        "from transformer.system.tensorflow import import_tensorflow\n"
        f"platform.machine = lambda: {machine!r}\n"
        "import_tensorflow()\n"
        "print(os.environ.get('TF_ENABLE_ONEDNN_OPTS'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == str(expected), done.stderr


# What the names of other toolkits mean here, by the command that they are given to.
OTHERS = {
    ("train", "--lr"): "Give --set training.peak_learning_rate=VALUE.",
    ("train", "--epochs"): "Did you mean '--max-steps' or '--max-minutes'?",
    ("train", "--batch-size"): "Give --set data.batch_tokens=VALUE.",
    ("train", "--model"): "Did you mean '--run' or '--preset'?",
    ("train", "--output-dir"): "Did you mean '--run'?",
    ("train", "--file"): "Did you mean '--source' or '--tsv'?",
    ("train", "--warmup-steps"): "Give --set training.warmup_steps=VALUE.",
    ("train", "--gpu"): "pip install 'transformer-reference[gpu]'; $CUDA_VISIBLE_DEVICES",
    ("translate", "--gpus"): "pip install 'transformer-reference[gpu]'; $CUDA_VISIBLE_DEVICES",
    ("translate", "--lr"): "Give python -m transformer train --set training.peak_learning_rate=VALUE.",
    ("translate", "--model"): "Did you mean '--run'?",
    ("translate", "--file"): "Did you mean '--input'?",
    ("translate", "--output-file"): "Did you mean '--output' or '--run'?",
    ("translate", "--beam_size"): "Did you mean '--beam-size'?",
    ("selfcheck", "--model"): "Give RUN without a flag.",
    ("export", "--output-dir"): "Give OUT without a flag.",
    ("evaluation", "--ref"): "Give REF without a flag.",
}
PARSERS = {
    "train": (train.parser, []),
    "translate": (translate.parser, []),
    "selfcheck": (selfcheck.parser, ["RUN"]),
    "export": (export.parser, ["RUN", "OUT", "--format", "savedmodel"]),
    "evaluation": (evaluation, ["HYP", "REF", "--target-language", "en"]),
}


@pytest.mark.parametrize("script, flag", OTHERS)
def test_flags_of_other_toolkits_are_answered_with_ours(capsys, script, flag):
    parser, words = PARSERS[script]
    with pytest.raises(SystemExit) as stopped:
        parser().parse_args([*words, f"{flag}=x"])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.count("\n") == 1
    assert f"unrecognized arguments: {flag}=x. " in err and OTHERS[script, flag] in err and "'--help'" not in err


def test_no_message_steers_a_terminal(capsys):
    for tell in (
        lambda: say(EVIL),
        lambda: say(EVIL, in_place=True),
        lambda: exit_code(lambda: (_ for _ in ()).throw(UserError(EVIL))),
        lambda: exit_code(lambda: open(f"gone{EVIL}")),
        lambda: train.main(["--config", f"gone{EVIL}"]),
    ):
        tell()
        err = capsys.readouterr().err
        assert r"\x1b[2J\x1b]0;owned\x07\r\n\x9b31m\u202e" in err and err.removeprefix("\r").rstrip("\n").isprintable()


def test_nobody_who_reads_messages_is_no_error(monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        monkeypatch.setattr(sys, "stderr", left)
        say("a")
        assert exit_code(lambda: say("b")) == 0
    monkeypatch.setattr(sys, "stderr", None)
    say("c")


def test_results_on_a_terminal_do_not_steer_it_and_in_a_file_are_as_they_are():
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    line = "a\tb\x1b[2J\x9b\u200f\u202fc"  # tabs separate columns, marks and narrow blanks are text
    assert for_terminal(line, io.StringIO()) == line
    assert for_terminal(line, Terminal()) == "a\tb\\x1b[2J\\x9b\u200f\u202fc"


def test_arguments_are_utf8_whatever_the_locale():
    """Python decodes them by the locale and keeps odd bytes as surrogates (PEP 383)."""
    for locale in ("ascii", "utf-8"):
        assert utf8("não".encode().decode(locale, "surrogateescape")) == "não"
        assert one_line("não".encode().decode(locale, "surrogateescape")) == "não"
        with pytest.raises(UnicodeError):
            utf8(b"n\xe3o".decode(locale, "surrogateescape"))
    assert one_line(b"n\xe3o".decode("utf-8", "surrogateescape") + "\ud800") == r"n\udce3o\ud800"


@pytest.mark.parametrize(
    "error, told",
    [
        (
            FileNotFoundError(errno.ENOENT, "No such file or directory", "a.txt"),
            "cannot read or write a.txt: No such file or",
        ),
        (PermissionError(errno.EACCES, "Permission denied", b"b"), "cannot read or write b: Permission denied; give"),
        (
            OSError(errno.ENOSPC, "No space left on device", "c"),
            "cannot read or write c: No space left on device; free",
        ),
        (OSError(errno.ENOSPC, "No space left on device"), "No space left on device; free some space, or name another"),
        (OSError(errno.EROFS, "Read-only file system", "d"), "cannot read or write d: Read-only file system; name"),
        (OSError(errno.EMFILE, "Too many open files"), "Too many open files; raise the limit of open files"),
        (FileNotFoundError("No usable temporary directory"), "set $TMPDIR to a folder that can be written: No usable"),
        (OSError("odd"), "odd; try again"),
        (MemoryError("Unable to allocate 21 GiB"), "there is not enough memory or space (Unable to allocate 21 GiB);"),
        (MemoryError(), "there is not enough memory or space; give less at a time"),
    ],
)
def test_errors_of_the_system_are_one_line_with_a_way_out(capsys, error, told):
    def job():
        raise error

    assert exit_code(job) == 1
    err = capsys.readouterr().err
    assert err.startswith("error: ") and told in err and err.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        exit_code(lambda: 1 / 0)


def shell(command):
    """Run a command whose `python` is this one; returns what bash printed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = f"python() {{ '{sys.executable}' \"$@\"; }}; {command}"
    return subprocess.run(["bash", "-c", command], env=environment, cwd=ROOT, capture_output=True, encoding="utf-8")


@pytest.mark.slow  # it makes all sentences three times
def test_the_phrasebook_goes_to_a_pipe_that_closes_and_to_an_ascii_terminal():
    done = shell("python -m transformer.data.phrasebook | true; echo ${PIPESTATUS[0]}")
    assert done.stdout in ("0\n", "1\n") and done.stderr == ""  # as soon as there is no reader, 1
    done = shell("LC_ALL=C PYTHONUTF8=0 python -m transformer.data.phrasebook")
    assert done.returncode == 0 and any("\u4e00" <= sign <= "\u9fff" for sign in done.stdout) and done.stderr == ""
    done = shell("python -m transformer.data.phrasebook > /dev/full")
    assert done.returncode == 1 and done.stderr.count("\n") == 1 and "No space left on device" in done.stderr
    with pytest.raises(SystemExit):
        phrasebook.main(["--colour"])


@pytest.mark.parametrize("script", ["train.py", "translate.py", "-m transformer plot", "-m transformer evaluate"])
def test_help_goes_to_a_reader_that_leaves_and_to_closed_streams(script):
    done = shell(f"python {script} --help > /dev/full; echo $?; python {script} --help >&- 2>&-; echo $?")
    assert (done.stdout, done.stderr) == ("0\n0\n", "")
    done = shell(f"python {script} --colour 2>&- >&-; echo $?; python {script} --colour 2>/dev/full; echo $?")
    assert (done.stdout, done.stderr) == ("2\n2\n", "")
