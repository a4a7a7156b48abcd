"""--task: a task's name, or the file and the class of a user's own."""

import dataclasses
from types import SimpleNamespace

import pytest

from transformer.commands import export, plot, selfcheck, serve, task_flag, train, translate
from transformer.commands.task_flag import load_own_task
from transformer.config import tasks
from transformer.config.flags import resolve
from transformer.system.errors import UserError


@dataclasses.dataclass(frozen=True)
class Settings:
    name: str = "counting"
    most: int = 3


@pytest.fixture
def asked(monkeypatch):
    """What `load_task` was asked for; it finds the task 'counting' in every file but gone.py."""
    places = []

    def load_task(place):
        places.append(place)
        if place.startswith("gone.py"):
            raise UserError(f"--task {place}: cannot read gone.py")
        tasks.register_settings("counting", Settings)
        return SimpleNamespace(name="counting", Settings=Settings)

    monkeypatch.setattr(task_flag, "load_task", load_task)
    monkeypatch.setitem(tasks.SETTINGS, "counting", Settings)  # taken out in the end
    return places


def test_a_file_is_run_before_the_settings_are_read(asked, monkeypatch):
    found = []
    monkeypatch.setattr(train, "resolve", lambda args: found.append(resolve(args)[0]) or resolve(args))
    monkeypatch.setattr(train, "exit_code", lambda job, told: 0)
    assert train.main(["--task", "mine.py:Counting", "--set", "task.most=7", "--tsv", "a.tsv"]) == 0
    assert asked == ["mine.py:Counting"]
    assert found[0].task == Settings(most=7)
    assert train.main(["--task", "translation"]) == 0 and len(asked) == 1  # a name is no file


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--task", "gone.py:Counting"], "--task gone.py:Counting: cannot read gone.py"),
        (["--task", "translation", "--set", "task.name=translation"], "--set task.name and a flag of its own give one"),
    ],
)
def test_a_wrong_task_is_one_line(asked, capsys, words, message):
    assert train.main(words) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {message}") and err.count("\n") == 1


def test_commands_that_load_a_run_take_the_file_of_its_task(asked):
    assert load_own_task(None) is None and asked == []
    assert load_own_task("mine.py:Counting") == "counting"
    for command, words in (
        (translate, []),
        (plot, ["run"]),
        (selfcheck, ["run"]),
        (serve, ["run"]),
        (export, ["run", "out", "--format", "savedmodel"]),
    ):
        assert command.parser().parse_args([*words, "--task", "mine.py:Counting"]).task == "mine.py:Counting"
