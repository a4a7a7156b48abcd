"""`translate.py` between other programs: signals, pipes that close, disks that are full, and a terminal."""

import contextlib
import io
import os
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from conftest import ROOT
from tiny_run import save_run, spread_parts

from transformer.commands import translate
from transformer.commands import translate_lines as commands
from transformer.inference.live_input import LiveInput
from transformer.inference.translator import Translator

pty, fcntl, termios = (pytest.importorskip(name) for name in ("pty", "fcntl", "termios"))
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHONIOENCODING": "utf-8:strict"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return str(save_run(tmp_path_factory.mktemp("terminal") / "run", spread_parts(), beam_size=1).path)


@pytest.fixture
def call(run, tmp_path, monkeypatch, capsys):
    """Return a function from arguments to exit code, stdout and what stderr holds besides warnings."""
    monkeypatch.chdir(tmp_path)

    def call_main(*words):
        try:
            code = translate.main(["--run", run, *words])
        except SystemExit as stopped:
            code = stopped.code
        out, err = capsys.readouterr()
        return code, out, [line for line in err.split("\n") if line and not line.startswith("warning: line ")]

    return call_main


@pytest.fixture
def lines(tmp_path, monkeypatch):
    """A file `in` of ten lines that are translated two at a time."""
    monkeypatch.setattr(commands, "LINES_TOGETHER", 2)
    (tmp_path / "in").write_text("sol mar\n" * 10, encoding="utf-8")


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_work_and_leaves_nothing(call, lines, monkeypatch, number, code):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup, and stays so")
    handlers = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    groups, translate_group = [], Translator.translate

    def signalled(self, group, *arguments, **options):
        groups.append(group)
        if len(groups) == 3:
            os.kill(os.getpid(), number)
        return translate_group(self, group, *arguments, **options)

    monkeypatch.setattr(Translator, "translate", signalled)
    left, out, told = call("--input", "in", "--output", "out")
    assert (left, out, told[-1]) == (code, "", "interrupted")
    assert told[:-1] == ["\r2 lines translated", "\r4 lines translated"] and os.listdir() == ["in"]
    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == handlers


def test_a_full_disk_is_told_in_a_line(call, lines, monkeypatch):
    with open("/dev/full", "w") as full, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", full)
        assert call("sol") == (1, "", ["error: cannot write standard output: No space left on device"])
    monkeypatch.setattr(commands, "open", lambda *arguments, **options: open("/dev/full", "w"), raising=False)
    message = "error: cannot write out: No space left on device; name another file with --output"
    assert call("--input", "in", "--output", "out") == (1, "", [message])
    assert os.listdir() == ["in"]


def test_a_reader_that_leaves_ends_the_work_quietly(call, lines, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "w") as left:
        monkeypatch.setattr(sys, "stdout", left)
        assert call("--input", "in") == (1, "", [])


def test_a_pipe_as_output_stays_one_and_a_link_too(call, lines):
    os.mkfifo("pipe")
    read = []
    thread = threading.Thread(target=lambda: read.append(open("pipe", encoding="utf-8").read()), daemon=True)
    thread.start()
    assert call("--input", "in", "--output", "pipe")[0] == 0
    thread.join(60)
    os.symlink("real", "link")
    assert call("--input", "in", "--output", "link")[0] == 0
    assert read == [open("real", encoding="utf-8").read()] and read[0].count("\n") == 10
    assert os.path.islink("link") and sorted(os.listdir()) == ["in", "link", "pipe", "real"]


def test_a_prefix_that_is_no_text(call):
    assert call("--prefix", "\udcff", "sol") == (2, "", ["error: --prefix is not UTF-8; convert it first; see --help"])


def test_a_mark_at_the_start_of_standard_input_is_dropped_as_in_a_file(call, monkeypatch, tmp_path):
    content = b"\xef\xbb\xbfsol mar\r\nrio"
    (tmp_path / "in").write_bytes(content)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert call() == call("--input", "in") == call("sol mar", "rio")


def started(run, *words, **options):
    command = [sys.executable, str(ROOT / "translate.py"), "--run", run, *words]
    return subprocess.Popen(command, env=ENVIRONMENT, **options)


@pytest.mark.slow  # two processes that import TensorFlow; the signals themselves are tested above
def test_signals_to_a_process_of_its_own(run, tmp_path, handlers):
    (tmp_path / "in").write_text("sol mar rio\n" * 100_000, encoding="utf-8")
    files = ("--input", "in", "--output", "out")
    signals = {signal.SIGINT: 130, signal.SIGTERM: 143}
    processes = {number: started(run, *files, cwd=tmp_path, stderr=subprocess.PIPE) for number in signals}
    for number, process in processes.items():
        told = b""
        while b"lines translated" not in told:
            assert (more := os.read(process.stderr.fileno(), 4096)), told
            told += more
        process.send_signal(number)
        told += process.stderr.read()
        assert process.wait() == signals[number]
        assert told.endswith(b"\ninterrupted\n") and b"Traceback" not in told and b"Exception" not in told
    assert os.listdir(tmp_path) == ["in"]


@pytest.mark.slow  # processes that import TensorFlow; the conversation below is one of them
def test_head_and_closed_streams(run, call, tmp_path):
    translating = f"'{sys.executable}' '{ROOT / 'translate.py'}' --run '{run}'"
    command = f"yes 'sol mar' | head -n 9000 | {translating} 2>err | head -n 1; echo ${{PIPESTATUS[2]}}; "
    command += f"{translating} '' sol mar <&- 2>&-; echo $?"
    done = subprocess.run(["bash", "-c", command], env=ENVIRONMENT, cwd=tmp_path, capture_output=True, text=True)
    # No warning strays into an output whose stderr is closed.
    assert done.stdout == call("sol mar")[1] + "1\n" + call("", "sol", "mar")[1] + "0\n"
    assert all(line.startswith("warning: line ") for line in (tmp_path / "err").read_text().splitlines())


class Session:
    """A process whose terminal this is; its output may go to a pipe instead."""

    def __init__(self, run, piped=False):
        self.keyboard, terminal = pty.openpty()
        self.process = started(
            run,
            stdin=terminal,
            stdout=subprocess.PIPE if piped else terminal,
            stderr=terminal,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(terminal)
        self.source = self.process.stdout.fileno() if piped else self.keyboard

    def read(self, until):
        """Return what comes up to some bytes, or all of it where they never come."""
        told = b""
        while not told.endswith(until) and select.select([self.source], [], [], 60)[0]:
            try:
                more = os.read(self.source, 1)
            except OSError:  # the other side of a terminal is gone
                break
            if not more:
                break
            told += more
        return told.decode(errors="replace").replace("\r\n", "\n")

    def type(self, keys, until=b"\npt > en: "):
        os.write(self.keyboard, keys)
        return self.read(until)

    def leave(self, keys, again=b""):
        """Type keys, and others every few seconds until the process ends; return its exit code and what it wrote."""
        os.write(self.keyboard, keys)
        while again and not select.select([self.source], [], [], 5)[0]:
            os.write(self.keyboard, again)
        told = self.read(b"never")
        return self.process.wait(60), told


def test_a_conversation(run, call, handlers):
    """Line by line, with a history, ended by Ctrl-D."""
    first = Session(run)
    expected = call("sol mar", "")[1].split("\n")[0]
    assert first.read(b": ") == "Type a sentence and press Enter; Ctrl-D ends.\npt > en: "
    answer = first.type(b"sol mar\n")
    assert answer.startswith("sol mar\n") and answer.endswith(f"\n{expected}\npt > en: ")
    again = first.type(b"\x1b[A\n")  # the key that goes back in the history
    assert again == answer.replace("line 1", "line 2")
    assert first.type("não\n".encode()).startswith("não\n")
    assert first.type(b"\n").endswith("warning: line 4: empty sentence\n\npt > en: ")
    code, told = first.leave(b"\x04")
    assert (code, told.strip()) == (0, "")


@pytest.mark.slow  # two processes that import TensorFlow, beside the one above
def test_other_ends_of_a_conversation(run, handlers):
    second, third = sessions = [Session(run) for _ in range(2)]
    for session in sessions:
        session.read(b"pt > en: ")
    # A signal between the prompt and readline's wait for a key is seen with the next key only.
    second.type(b"sol", b"sol")
    code, told = second.leave(b"\x03", again=b"\x03")
    assert code == 130 and told.split("\n")[-2:] == ["interrupted", ""] and "Traceback" not in told

    code, told = third.leave(b"sol \xff\n")
    assert (
        code == 1 and told.endswith("\nerror: sentence 1 is not UTF-8; convert it first\n") and "Traceback" not in told
    )


@pytest.mark.slow  # a process that imports TensorFlow, beside the conversation above
def test_lines_typed_into_a_pipe_are_answered_one_by_one(run, call):
    expected = call("sol mar", "rio")[1]
    session = Session(run, piped=True)
    assert session.type(b"sol mar\n", b"\n") == expected.split("\n")[0] + "\n"
    assert session.type(b"rio\n", b"\n") == expected.split("\n")[1] + "\n"
    assert session.leave(b"\x04") == (0, "")


@pytest.mark.slow  # likewise
def test_a_program_that_waits_for_each_answer_gets_it(run, call):
    """As editors and dialogue systems talk to a translator; without an answer the wait would end after 60 s."""
    sentences = ["sol mar", "", "lua um dois"]
    *expected, last = call(*sentences, "rio")[1].splitlines()
    process = started(run, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def answer():
        told = b""
        while not told.endswith(b"\n"):
            assert select.select([process.stdout], [], [], 60)[0], "no answer came"
            assert (more := os.read(process.stdout.fileno(), 4096))
            told += more
        return told.decode().removesuffix("\n")

    for sentence, translation in zip(sentences, expected, strict=True):
        process.stdin.write(f"{sentence}\nri".encode())  # with the beginning of the next line
        process.stdin.flush()
        assert answer() == translation
        process.stdin.write(b"o\n")
        process.stdin.flush()
        assert answer() == last
    process.stdin.close()
    assert (process.wait(60), process.stdout.read()) == (0, b"")


def test_lines_that_are_there_are_translated_together(call, monkeypatch):
    groups, translate_group = [], Translator.translate

    def counted(self, group, *arguments, **options):
        groups.append(len(group))
        return translate_group(self, group, *arguments, **options)

    monkeypatch.setattr(Translator, "translate", counted)
    reader, writer = os.pipe()
    os.write(writer, b"sol mar\n" * 3000 + b"rio")
    os.close(writer)
    with os.fdopen(reader) as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert call()[1].count("\n") == 3001
    assert groups == [2048, 953]


def test_a_stream_that_never_rests_is_answered_too(monkeypatch):
    monkeypatch.setattr(commands, "SECONDS_TOGETHER", 0.05)
    lines = (time.sleep(0.02) or str(number) for number in range(100))
    group = next(commands.groups(lines, 2048, lambda: False))
    assert group == list(map(str, range(len(group)))) and len(group) < 50


@pytest.mark.parametrize("chunks", [[b"a\nb", b"c\n", b"\n", b"d"], [b"\n"], []])
def test_a_live_stream_reads_as_any_other(chunks):
    content = b"".join(chunks)
    ways = {
        "lines": lambda stream: list(iter(stream.readline, b"")),
        "at most two bytes of a line": lambda stream: list(iter(lambda: stream.readline(2), b"")),
        "all": lambda stream: [stream.read()],
        "some": lambda stream: [stream.peek(), stream.read(1), stream.read(3), stream.read()],
    }
    for way in ways.values():
        reader, writer = os.pipe()
        stream = LiveInput(reader)
        assert stream.idle()  # nothing was written
        for chunk in chunks:
            os.write(writer, chunk)
        assert stream.idle() == (b"\n" not in content)
        os.close(writer)
        assert not stream.idle()
        assert way(stream) == way(io.BufferedReader(io.BytesIO(content)))
        os.close(reader)


@pytest.mark.slow  # three processes that import TensorFlow; nothing smaller has another locale
def test_arguments_are_utf8_whatever_the_locale(run, call, tmp_path):
    (tmp_path / "não.txt").write_text("três\n", encoding="utf-8")
    words = ("--json", "três", "não.txt", "--prefix", "moon é")
    expected = call(*words)
    environment = {name: value for name, value in ENVIRONMENT.items() if name != "PYTHONIOENCODING"}
    environment |= {"LC_ALL": "C", "PYTHONUTF8": "0"}
    command = [sys.executable, str(ROOT / "translate.py"), "--run", run]
    done = subprocess.run([*command, *words], env=environment, cwd=tmp_path, capture_output=True, encoding="utf-8")
    assert (done.returncode, done.stdout) == expected[:2]
    assert (
        "warning: n\\xe3o.txt is a file; for its lines: --input n\\xe3o.txt\n" in done.stderr
    )  # ASCII cannot say more
    read = subprocess.run([*command, "--input", "não.txt"], env=environment, cwd=tmp_path, capture_output=True)
    assert read.stdout.decode() == call("três")[1]
    bad = subprocess.run([*command, b"tr\xeas"], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (bad.returncode, bad.stderr) == (1, "error: sentence 1 is not UTF-8; convert it first\n")


def test_output_goes_to_whatever_stands_for_stdout():
    stream = io.StringIO()  # a notebook's is as little a file as this one
    with contextlib.redirect_stdout(stream), commands.output(None) as file:
        print("Onde?", file=file)
    assert stream.getvalue() == "Onde?\n"
