"""The documents keep their word: commands parse, configs are read, paths, names and settings exist."""

import configparser
import re
import shlex

import pytest
from conftest import ROOT

from transformer.commands import (
    convert,
    embed,
    evaluate,
    evaluate_embeddings,
    evaluate_labels,
    evaluate_masks,
    evaluate_texts,
    export,
    generate,
    plot,
    predict,
    search,
    selfcheck,
    serve,
    train,
    translate,
)
from transformer.config import presets
from transformer.config.run import Config
from transformer.config.tasks import SETTINGS

PATHS = {path.name: path for folder in (ROOT, ROOT / "docs") for path in sorted(folder.glob("*.md"))}
PAGES = {name: path.read_text(encoding="utf-8") for name, path in PATHS.items()}
README = PAGES["README.md"]
PARSERS = {
    "train.py": train.parser(),
    "translate.py": translate.parser(),
    **{
        f"transformer {module.__name__.rpartition('.')[2]}": module.parser()
        for module in (convert, embed, evaluate, export, generate, plot, predict, search, selfcheck, serve)
    },
}


EVALUATING = (evaluate_texts, evaluate_masks, evaluate_embeddings, evaluate_labels)  # which of them, the run decides


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGES[page], flags=re.MULTILINE | re.DOTALL)


def calls(page, script):
    """Yield the arguments of each call in the shell blocks of a page and in the commands that its text quotes."""
    quoted = re.findall(r"`((?:python|transformer) [^`]*)`", PAGES[page])
    text = "\n".join([*blocks(page, "sh"), *quoted]).replace("\\\n", " ")
    for command in re.split(r"\n| && | \| | [<>] |; ", text):
        words = shlex.split(command, comments=True)
        name = script.split()  # one word, or two that follow each other
        for start in range(len(words)):
            if words[start : start + len(name)] == name:
                yield words[start + len(name) :]


def test_ci_tests_as_the_readme_says():
    run, check = ((ROOT / ".ci" / name).read_text(encoding="utf-8") for name in ("run", "check"))
    installing, testing = re.search(r"`(pip install [^`]*) && (python -m pytest)`", README).groups()
    assert installing.replace("[test]", "[test,parity,docs]") in run.replace('"$venv"/bin/', "")
    assert f".ci/tool {testing}" in check
    assert run.endswith(".ci/check\n") and "pytest" in check.splitlines()[-1]  # its closing line is the last one


@pytest.mark.parametrize("script", PARSERS)
def test_commands_parse(script):
    found = [arguments for page in PAGES for arguments in calls(page, script)]
    assert any(found)
    for arguments in filter(None, found):  # the text names commands without what they need
        if script == "transformer evaluate" and "--target-language" not in arguments:  # no translations
            assert any(parses(module.parser(), arguments) for module in EVALUATING), arguments
        else:
            assert parses(PARSERS[script], arguments), arguments


def parses(parser, arguments):
    try:
        parser.parse_intermixed_args(arguments)
    except SystemExit:  # a flag is unknown, or missing
        return False
    return True


@pytest.mark.parametrize("page", ["own_corpus.md", "adapting.md", "own_text.md"])
def test_configs_are_read(page, tmp_path):
    texts = blocks(page, "toml")
    assert texts
    for text in texts:
        (tmp_path / "config.toml").write_text(text, encoding="utf-8")
        assert presets.read_config(tmp_path / "config.toml") != Config()


def test_dropped_pairs_are_shown(tmp_path, monkeypatch, capsys):
    """The example of own_corpus.md, run on four pairs of which two break a rule."""
    (example,) = blocks("own_corpus.md", "python")
    (tmp_path / "train.en").write_text(f"A dog.\nA cat.\n{'so ' * 31}\n\n", encoding="utf-8")
    (tmp_path / "train.de").write_text(f"Ein Hund.\nEine Katze.\n{'so ' * 31}\nNichts.\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    exec(compile(example, "own_corpus.md", "exec"), {})
    rows = [line.split("\t")[:2] for line in capsys.readouterr().out.splitlines()]
    assert rows == [["3", "max_words"], ["4", "drop_empty"]]


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files(page):
    """As on GitHub; that the site's lead somewhere is in test_site.py."""
    links = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", PAGES[page])]
    made = "api/"  # by the build of the site
    files = [path for path in links if "://" not in path and not path.startswith(made)]
    assert [path for path in files if not (PATHS[page].parent / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page):
    folders = "transformer|configs|tests|docs|benchmarks|recipes|examples|notebooks"
    named = re.findall(rf"`((?:{folders})/[\w/]*|(?:\w+/)+\w+\.(?:py|toml|md|ipynb))`", PAGES[page])
    assert [path for path in named if not (ROOT / path).exists() and not (ROOT / "transformer" / path).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_named_settings_exist(page):
    config = Config()
    sections = "|".join(config.to_dict())
    for section, key in re.findall(rf"(?:`|--set )({sections})\.(\w+)(?=[`= ])", PAGES[page]):
        if key not in ("safetensors", "txt"):  # `model.safetensors` and `text.txt` are files
            kinds = SETTINGS.values() if section == "task" else [type(getattr(config, section))]
            assert any(hasattr(kind(), key) for kind in kinds), f"{section}.{key}"


@pytest.mark.parametrize("page", ["README.md", "own_corpus.md", "adapting.md"])
def test_imported_names_exist(page):
    found = re.findall(r"^from (transformer[\w.]*) import (.+)$", PAGES[page], flags=re.MULTILINE)
    assert found
    for module, names in found:
        for name in names.split(", "):
            assert hasattr(__import__(module, fromlist=[name]), name), (module, name)


def test_python_versions_are_those_of_the_package():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    first, after = re.fullmatch(r">=3\.(\d+),<3\.(\d+)", config["options"]["python_requires"]).groups()
    named = {int(minor) for minor in re.findall(r"\b3\.(1\d)\b", re.search(r"need Python (.*?) on", README)[1])}
    assert named == set(range(int(first), int(after)))


def test_chinese_lines_end_where_a_space_may_be():
    """A browser shows the end of a line as a space, which has no place between two Chinese characters."""
    wide = "[\u3000-\u30ff\u4e00-\u9fff\uff00-\uffef]"
    broken = re.compile(f".*{wide}\n{wide}.*")
    assert broken.findall(PAGES["README.zh.md"]) == []
    assert broken.findall("\u7528 K\n\u5199\uff0c\n\u53ef\n\u5bf9") == ["\u5199\uff0c\n\u53ef"]
