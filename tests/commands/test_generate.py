"""`transformer generate` as its users meet it: texts out, one clear line for each mistake."""

import io
import json
import os
import signal
import sys

import pytest
from reference import randomised
from tiny_run import language_model, save_run, spread_parts, write_run

from transformer.commands import generate, translate
from transformer.data.tokenizers.exact import Characters
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.inference.generator import Generator
from transformer.system.errors import UserError
from transformer.tasks.language_model import LanguageModel


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate")
    config = language_model(folder, search={"max_length": 20})
    task = LanguageModel(config, TextVocabulary(Characters.of("abcdefghijklmnopqrstuvwxyz ")), {})
    return write_run(folder / "run", config, task.vocabularies, randomised(task.network("float32")))


@pytest.fixture(scope="module")
def generator(run):
    return Generator.load(run)


@pytest.fixture
def call(run, generator, tmp_path, monkeypatch, capsys):
    """Return a function from words to exit code, stdout and stderr; its graphs are those of `generator`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        Generator, "load", lambda path, which, **search: generator.with_search(**search) if search else generator
    )

    def call_main(*words):
        try:
            code = generate.main([str(run), *words])
        except SystemExit as stopped:
            code = stopped.code
        return (code, *capsys.readouterr())

    return call_main


def text_of(generator, *prompts):
    return "---\n".join(
        f"{prompt}{found.text}\n" for prompt, (found,) in zip(prompts, generator.generate(prompts), strict=True)
    )


def test_arguments_files_and_pipes_say_the_same(call, generator, tmp_path, monkeypatch):
    expected = text_of(generator, "one", "two")
    assert call("one", "two") == (0, expected, "")
    (tmp_path / "in").write_text("one\ntwo\n", encoding="utf-8")
    assert call("--input", "in") == (0, expected, "")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"one\ntwo")))
    assert call() == (0, expected, "")
    assert call("--stream", "one", "two") == (0, expected, "")
    code, out, _ = call("--input", "in", "--output", "out")
    assert (code, out) == (0, "") and (tmp_path / "out").read_text(encoding="utf-8") == expected


def test_json_lines_hold_the_probabilities_of_tokens(call, generator):
    code, out, _ = call("--json", "one", "Two")
    assert code == 0
    rows = [json.loads(line) for line in out.splitlines()]
    for prompt, row in zip(("one", "Two"), rows, strict=True):
        (found,) = generator.generate([prompt])[0]
        assert row["prompt"] == prompt
        (sample,) = row["samples"]
        logs = [sample.pop("log_probability"), *sample.pop("token_log_probabilities")]
        assert logs == pytest.approx([found.log_probability, *found.token_log_probabilities], abs=1e-4)
        assert sample == {"text": found.text, "reason": found.reason, "tokens": list(found.tokens)}
    assert rows[0]["warnings"] == [] and len(rows[1]["warnings"]) == 1


def test_samples_and_a_stop_string(call, generator):
    words = ("one", "--samples", "2", "--temperature", "0.9", "--seed", "3")
    code, out, _ = call(*words)
    expected = generator.with_search(temperature=0.9, seed=3).generate(["one"], 2)[0]
    assert (code, out) == (0, "---\n".join(f"one{each.text}\n" for each in expected))
    assert call(*words[1:], "--stream", "one")[:2] == (code, out)
    (whole,) = generator.generate(["one"])[0]
    stop = whole.text[3:5]
    assert call("one", "--stop", stop) == (0, f"one{whole.text[: whole.text.index(stop)]}\n", "")
    assert call("one", "--stop", "never") == call("one")


def test_prompts_that_a_reader_should_know_something_of(call):
    _, out, told = call("a long prompt it is", "\N{SNOWMAN}")
    assert out.startswith("a long prompt it is") and told.splitlines() == [
        "warning: prompt 1: the prompt has 20 tokens, and the model reads 16 at once; the last 12 are read",
        "warning: prompt 2: the vocabulary lacks 1 characters of the prompt",
    ]


@pytest.mark.parametrize(
    "words, code, message",
    [
        (["one", "--samples", "2"], 2, "--samples 2 needs --temperature T, or a --beam-size of 2 or more, got 1"),
        (["one", "--samples", "0"], 2, "--samples must be at least 1, got 0"),
        (["one", "--input", "in"], 2, "give prompts or --input, not both"),
        (["one", "--json", "--stream"], 2, "--stream does not go with --json"),
        (["one", "--stop", ""], 2, "--stop must not be empty"),
        (["one", "--stop", "\udcff"], 2, "--stop is not UTF-8"),
        (["one", "--min-p", "2"], 2, "command line: [search] min_p must be from 0 to 1, got 2.0"),
        (["one", "--max-new-tokens", "2"], 2, "Did you mean '--max-tokens'?"),
        (["\udcff"], 1, "prompt 1 is not UTF-8; convert it first"),
        (["--input", "absent"], 1, "absent"),
        (["one", "--output", "."], 1, "cannot write .: it is a directory"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(call, words, code, message):
    found, out, told = call(*words)
    assert (found, out, told.count("\n")) == (code, "", 1) and message in told and told.startswith("error: ")


@pytest.mark.parametrize("number, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_work_and_leaves_nothing(call, generator, tmp_path, monkeypatch, number, code):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("the signal is ignored here, as under nohup, and stays so")
    (tmp_path / "in").write_text("one\n", encoding="utf-8")
    monkeypatch.setattr(Generator, "generate", lambda *arguments: os.kill(os.getpid(), number))
    found, out, told = call("--input", "in", "--output", "out")
    assert (found, out, told.splitlines()[-1]) == (code, "", "interrupted") and os.listdir() == ["in"]


def test_a_run_of_another_task_names_the_command_that_fits(run, tmp_path, capsys):
    translator = save_run(tmp_path / "translator", spread_parts()).path
    assert generate.main([str(translator), "one"]) == 1
    assert "is a run of the task 'translation'; use python -m transformer translate\n" in capsys.readouterr().err
    assert translate.main(["--run", str(run), "one"]) == 1
    assert "is a run of the task 'language-model'; use python -m transformer generate\n" in capsys.readouterr().err
    with pytest.raises(UserError, match="absent"):
        Generator.load(tmp_path / "absent")


@pytest.mark.parametrize("as_terminal", [False, True])
def test_control_characters_cannot_steer_a_terminal(generator, as_terminal):
    from transformer.commands.generate_texts import Writer

    class File(io.StringIO):
        def isatty(self):
            return as_terminal

    file = File()
    writer = Writer(file, "---")
    writer.begin("a\x1b[2J\nb")
    writer.end()
    assert file.getvalue() == ("a\\x1b[2J\nb\n" if as_terminal else "a\x1b[2J\nb\n")
