"""The workflows and the Dockerfile are valid, and call what is there."""

import configparser
import os
import re
import shlex

import pytest
from conftest import ROOT

yaml = pytest.importorskip("yaml", reason="needs PyYAML: pip install -e '.[test]' brings it")

WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg", encoding="utf-8")


def read(path):
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def steps(path):
    return [step for job in read(path)["jobs"].values() for step in job["steps"]]


def commands(path):
    return [shlex.split(line) for step in steps(path) for line in step.get("run", "").splitlines()]


def instructions():
    """Return the instructions of the Dockerfile, as (name, rest)."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    return [tuple(line.split(maxsplit=1)) for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_says_when_where_and_what(path):
    workflow = read(path)
    assert workflow[True]  # YAML 1.1 reads `on` as a boolean
    assert workflow["permissions"] == {"contents": "read"}  # a job that needs more says so itself
    for job in workflow["jobs"].values():
        assert job["runs-on"].startswith("ubuntu-")
        for step in job["steps"]:
            assert ("uses" in step) != ("run" in step)
            assert re.fullmatch(r"actions/[\w-]+@v\d+", step.get("uses", "actions/none@v1"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_its_commands_exist(path):
    assert commands(path)
    for program, *words in commands(path):
        if program.startswith("."):
            assert os.access(ROOT / program, os.X_OK)
        elif program == "pip":
            (extra,) = re.findall(r"\.\[(\w+)\]", " ".join(words))
            assert extra in SETUP["options.extras_require"]
        else:
            assert [program, *words][:3] == ["python", "-m", "sphinx"]
            command = " ".join([program, *words])
            assert f"`{command}`" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_one_of_them_runs_the_checks_with_the_oldest_python():
    (oldest,) = re.findall(r">=(3\.\d+)", SETUP["options"]["python_requires"])
    running = [path for path in WORKFLOWS if [".ci/run"] in commands(path)]
    assert len(running) == 1
    (python,) = (step["with"]["python-version"] for step in steps(running[0]) if "setup-python" in step.get("uses", ""))
    assert python == oldest


def test_the_image_has_what_the_package_is_made_of_and_no_root():
    found = instructions()
    for name, rest in found:
        if name == "COPY":
            assert all((ROOT / source).exists() for source in rest.split()[:-1])
    copied = {source for name, rest in found if name == "COPY" for source in rest.split()[:-1]}
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8")
    assert copied == set(re.findall(r"^!(\S+)$", ignored, flags=re.MULTILINE))
    assert ("USER", "10001") in found
    assert "serve" in SETUP["options.extras_require"] and any(".[serve]" in rest for _, rest in found)


def test_the_image_listens_to_the_outside_only_when_told():
    named = dict(instructions())
    assert named["ENTRYPOINT"] == '["transformer", "serve"]'
    assert "0.0.0.0" not in " ".join(rest for _, rest in instructions())
    (command,) = re.findall(r"docker run .+", (ROOT / "docs" / "serving.md").read_text(encoding="utf-8"))
    assert ':ro" transformer ' in command and command.endswith("--host 0.0.0.0")
