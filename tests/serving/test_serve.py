"""`python -m transformer serve` and the benchmark that puts load on it."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys

import pytest
from conftest import ROOT
from tiny_run import spread_parts, tiny_config, write_corpus

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.run_directory import BEST, RunDirectory
from transformer.commands import serve
from transformer.serving.config import ServeConfig

SCRIPT = ROOT / "benchmarks" / "server_load.py"


def refusal(capsys, code, *words):
    """Return the one line with which the command refuses."""
    try:
        assert serve.main([*map(str, words)]) == code
    except SystemExit as stopped:
        assert stopped.code == code
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    return err


def test_a_port_in_use_is_named(capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert f"port {port} of 127.0.0.1 is in use" in refusal(capsys, 1, "run", "--port", port)


@pytest.mark.parametrize("host", ["no.such.invalid", "192.0.2.1", "x" * 300])
def test_an_address_of_another_machine_is_refused(capsys, host):
    assert f"cannot listen at {host}" in refusal(capsys, 1, "run", "--port", 0, "--host", host)


@pytest.mark.parametrize("module", ["fastapi", "uvicorn"])
def test_without_the_extra_it_is_named(capsys, monkeypatch, module):
    monkeypatch.setitem(sys.modules, module, None)
    for name in [name for name in sys.modules if name.startswith("transformer.serving.")]:
        monkeypatch.delitem(sys.modules, name)
    assert "pip install 'transformer-reference[serve]'" in refusal(capsys, 1, "run")


def test_a_run_that_is_none_is_named(capsys, tmp_path):
    assert f"there is no run directory {tmp_path / 'run'}" in refusal(capsys, 1, tmp_path / "run", "--port", 0)


@pytest.mark.parametrize(
    "words, told",
    [
        (["--port", "65536"], "port must be from 0 to 65535, got 65536"),
        (["--max-beam", "0"], "max_beam must be from 1 to 64, got 0"),
        (["--timeout", "nan"], "timeout must be above 0"),
        (["--max-body", "-1"], "max_body must be above 0, got -1"),
        (["--arrival-timeout", "0"], "arrival_timeout must be above 0"),
        (["--max-chunks", "0"], "max_chunks must be above 0, got 0"),
        (["--max-arriving", "0"], "max_arriving must be above 0, got 0"),
        (["--allow-host", "*.example.org"], "--allow-host must be a host's name or address"),
        (["--max-waiting", "8"], "max_waiting must be at least max_sentences=64"),
        (["--beam-size", "65"], "beam_size must be from 1 to 64, got 65"),
        (["--max-sentence", "many"], "invalid int value"),
    ],
)
def test_wrong_flags(capsys, words, told):
    assert told in refusal(capsys, 2, "run", *words)


def test_any_host_is_allowed_with_a_warning(capsys, tmp_path):
    assert serve.main([str(tmp_path / "run"), "--port", "0", "--allow-host", "*"]) == 1
    warning, error = capsys.readouterr().err.splitlines()
    assert warning.startswith("warning: --allow-host '*'") and "DNS rebinding" in warning
    assert "there is no run directory" in error


def test_every_limit_has_a_flag():
    limits = ServeConfig()
    assert serve.parser().parse_args(["run", "--max-beam", "3"]).max_beam == 3
    args = vars(serve.parser().parse_args(["run"]))
    assert {name: args[name] for name in serve.FLAGS} == vars(limits)


def test_the_documented_defaults_are_the_defaults():
    text = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `--([\w-]+)` \| ([\d,]+)", text, flags=re.MULTILINE)
    told = {flag.replace("-", "_"): int(number.replace(",", "")) for flag, number in rows}
    assert told == {name: value for name, value in vars(ServeConfig()).items() if name not in ("host", "port")}
    commands = [line for line in text.splitlines() if "transformer serve" in line]
    for flag in re.findall(r"--[a-z][a-z-]+", "\n".join(commands)):
        assert f" {flag}" in serve.parser().format_help()


def load_script(monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPT.parent))
    spec = importlib.util.spec_from_file_location("server_load", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)  # its neighbours are found as when it is run
    return module


def test_the_load_test_tells_right_from_wrong(monkeypatch):
    load = load_script(monkeypatch)
    offline = {"a": ("A", -1.0), "b": ("B", -2.0)}

    def verdict(status, *entries, body=None):
        found = [{"source": s, "hypotheses": [{"text": text, "score": score}]} for s, text, score in entries]
        body = body or json.dumps({"translations": found}).encode()
        return load.judge(load.Reply(load.translation(["a", "b"]), status, body, 0.1, 0), offline, 0.01)

    right = [("a", "A", -1.004), ("b", "B", -2.0)]
    assert verdict(200, *right) == "right"
    assert verdict(200, right[0], ("b", "C", -2.004)) == "near tie"
    assert verdict(200, right[0], ("b", "C", -2.02)) == "wrong"  # another text, and not as good
    assert verdict(200, *reversed(right)) == "wrong"  # crossed
    assert verdict(200, ("a", "B", -2.0), ("b", "A", -1.0)) == "wrong"  # crossed under the right names
    assert verdict(200, right[0]) == "wrong"
    assert verdict(500, body=b'{"error": "x"}') == verdict(None, body=b"") == "lost"
    bad = load.Ask(b"{", load.JSON, [], 400)
    assert load.judge(load.Reply(bad, 400, b'{"error": "x"}', 0.1, 0), offline, 0.01) == "right"
    assert load.judge(load.Reply(bad, 200, b"{}", 0.1, 0), offline, 0.01) == "lost"


@pytest.mark.slow  # a server and its clients in processes of their own, for a minute
def test_a_server_under_load_answers_everyone_rightly_and_stops_at_sigterm(tmp_path):
    """The benchmark in small: a server process, clients of good and bad requests, attacks, SIGTERM."""
    model, tokenizers = spread_parts()
    config = tiny_config(tmp_path, write_corpus(tmp_path), model={"embeddings": "target"})
    run = RunDirectory(tmp_path / "run")
    run.create(
        config, tokenizers, {"name": "tiny", "source_language": "pt", "target_language": "en", "fingerprint": ""}
    )
    save_arrays(run.weights(BEST), model_variables(model))
    command = [sys.executable, str(SCRIPT), str(run.path), "--input", config.data.train[0], "--clients", "16"]
    done = subprocess.run(
        [*command, "--requests", "200", "--rounds", "1", "--minutes", "5", "--attackers", "4"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    load, throughput, *attacks, end = map(json.loads, done.stdout.splitlines())
    assert (load["requests"], load["wrong"], load["lost"]) == (200, 0, 0)
    assert load["right"] + load["near_tie"] == 200
    assert set(load["statuses"]) == {"200", "400", "413", "415", "422"}
    assert (throughput["sentences"], throughput["wrong"], throughput["lost"]) == (100, 0, 0)
    assert len(attacks) == 12 and {row["part"] for row in attacks} == {"attack"}
    # An attack may be over before /health is asked the next time, after 50 ms.
    assert all(row["lost"] == 0 and 0 < row["longest_silence_ms"] <= 1000 for row in attacks)
    assert [row["statuses"] for row in attacks[:-1]] == [
        {str(status): 4} for status in [422] * 7 + [400, 422, 422, 413]
    ]
    assert set(attacks[-1]["statuses"]) == {"200"}
    assert (end["part"], end["slow_bodies"]) == ("end", 4)
