"""The one command: what it lists, how it is called, and that an installed package needs no repository."""

import importlib.resources
import json
import os
import re
import subprocess
import sys
import zipfile

import pytest
from conftest import ROOT

import transformer
from transformer import __main__ as command
from transformer.commands import train
from transformer.config.presets import DEFAULT_CONFIG
from transformer.system.messages import called


def left(capsys, *words):
    """Return the exit code with which a command line leaves at once, and what it wrote."""
    with pytest.raises(SystemExit) as stopped:
        command.main(list(words))
    return stopped.value.code, *capsys.readouterr()


def test_help_lists_every_command_and_version_is_that_of_the_package(capsys):
    code, out, err = left(capsys, "--help")
    listed = re.findall(r"^  (\w+) +\w", out.partition("commands:")[2], flags=re.MULTILINE)
    assert (code, err, listed) == (0, "", list(command.COMMANDS))
    assert left(capsys, "--version") == (0, f"transformer-reference {transformer.__version__}\n", "")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["trian"], "there is no command 'trian'. Did you mean 'train'? Commands: train, translate,"),
        (["trian", "--seed", "1"], "there is no command 'trian'."),
        (["xyz"], "there is no command 'xyz'. Commands: train, translate,"),
        ([], "name a command: train, translate,"),
        (["--hlep"], "unrecognized arguments: --hlep"),
    ],
)
def test_a_wrong_command_is_one_line(capsys, words, message):
    code, out, err = left(capsys, *words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"error: {message}") and err.endswith("see --help\n")


def test_each_command_has_a_module_with_its_flags(capsys):
    for name in command.COMMANDS:
        code, out, _ = left(capsys, name, "--help")
        assert code == 0 and f"transformer {name} " in out


@pytest.mark.parametrize(
    ("script", "expected"),
    [
        ("/usr/bin/transformer", ["transformer train", "transformer export"]),
        ("train.py", ["python train.py", "python -m transformer export"]),
        ("/a/b/translate.py", ["python train.py", "python -m transformer export"]),
        ("/a/transformer/__main__.py", ["python -m transformer train", "python -m transformer export"]),
        ("ipykernel_launcher.py", ["python -m transformer train", "python -m transformer export"]),
    ],
)
def test_a_command_is_named_as_it_was_typed(monkeypatch, script, expected):
    monkeypatch.setattr(sys, "argv", [script, "words"])
    assert [called("train"), called("export")] == expected
    assert train.parser().format_usage().startswith(f"usage: {expected[0]} ")


def test_help_and_typos_do_not_wait_for_tensorflow():
    code = (
        "import sys\nfrom transformer.__main__ import main\n"
        "for words in (['--help'], ['--version'], ['trian'], *([c, '--help'] for c in sys.argv[1:])):\n"
        "    try: main(words)\n    except SystemExit: pass\n"
        "sys.exit('tensorflow' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "train", "translate", "export"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# An installed package


def test_what_a_message_or_a_default_names_is_in_the_package():
    package = importlib.resources.files("transformer")
    assert package.joinpath("config", "phrasebook.toml").read_bytes() == DEFAULT_CONFIG.read_bytes()
    assert package.joinpath("__init__.pyi").is_file() and package.joinpath("py.typed").is_file()
    for path in (ROOT / "transformer").rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(r"see docs/|docs/[a-z_]+\.md|pip install -e|(?<!['\"])configs/", text), path


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder in which a wheel of the package is installed, without what it needs; it is built offline."""
    folder = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "--quiet", "--no-cache-dir"]
    built = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(copied(folder))]
    done = subprocess.run(built, capture_output=True, text=True)
    if done.returncode and "setuptools" in done.stderr:
        pytest.skip("needs setuptools and wheel to build without a network")
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder


def copied(folder):
    """Return a copy of what the wheel is made of, so that building leaves nothing in the repository."""
    import shutil

    target = folder / "source"
    target.mkdir()
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, target)
    shutil.copytree(ROOT / "transformer", target / "transformer", ignore=shutil.ignore_patterns("__pycache__"))
    return target


@pytest.mark.slow  # builds a wheel, and imports TensorFlow three times in processes of their own
def test_an_installed_package_needs_no_repository(installed, tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(installed / "site")}

    def run(*words):
        command = [sys.executable, "-m", "transformer", *words]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, encoding="utf-8")
        assert done.returncode == 0, done.stderr
        return done.stdout

    assert run("--version") == f"transformer-reference {transformer.__version__}\n"
    sizes = ("model.num_layers=1", "model.d_model=24", "model.dff=32", "training.score_examples=2")
    settings = [part for word in ("training.max_steps=2", *sizes) for part in ("--set", word)]
    out = run("train", *settings)
    assert 'Translate: python -m transformer translate --run runs/phrasebook_pt_to_en "..."' in out
    stored = json.loads((tmp_path / "runs" / "phrasebook_pt_to_en" / "config.json").read_text(encoding="utf-8"))
    assert (stored["data"]["dataset"], stored["training"]["max_steps"]) == ("phrasebook/pt_to_en", 2)
    assert stored["training"]["schedule"] == "cosine"  # of its default config
    assert run("translate", "Onde fica a estação?").count("\n") == 1
    entry = next((installed / "site").glob("*.dist-info/entry_points.txt")).read_text(encoding="utf-8")
    assert "transformer = transformer.__main__:script" in entry
