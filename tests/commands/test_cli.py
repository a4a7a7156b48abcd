"""`train.py` and `translate.py` as their users meet them: small runs end to end, one clear line for each mistake."""

import gzip
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from safetensors import safe_open
from safetensors.numpy import save_file
from shared_graphs import Trainer, give_back

from transformer.checkpoints.arrays import model_variables, save_arrays
from transformer.checkpoints.run_directory import RunDirectory
from transformer.commands import train, translate
from transformer.config.run import Config
from transformer.data.tokenizers.base import RESERVED_TOKENS
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.data.tokenizers.wordpiece import WordPieceTokenizer
from transformer.tasks.sequence_to_sequence import build_model

NUMBERS = "um dois três quatro cinco seis sete oito nove dez".split()
THINGS = {"gato": "cat", "cão": "dog", "pão": "bread", "carro": "car"}
PAIRS = [(f"{number} {thing}", f"{thing_en} {number}") for thing, thing_en in THINGS.items() for number in NUMBERS]
CONFIG = """
[model]
num_layers = 1
d_model = 8
num_heads = 2
dff = 16
max_positions = 24

[text]
vocabulary_size = 300

[task]
source_language = "pt"
target_language = "en"

[data]
train = ["train.pt", "train.en"]
max_tokens = 24
batch_tokens = 256

[training]
max_steps = 3
warmup_steps = 10
validate_every = 2
score_examples = 2
log_every = 1
"""


def call(capsys, script, *words):
    """Return exit code, stdout and stderr of a script's `main`."""
    give_back()  # whoever trained before has ended
    try:
        code = script.main([str(word) for word in words])
    except SystemExit as stopped:
        code = stopped.code
    return (code, *capsys.readouterr())


def write(path, *sentences):
    path.write_text("".join(sentence + "\n" for sentence in sentences), encoding="utf-8")
    return path


def error_line(result, code):
    """Return the message of a refusal, after checking that it is nothing but one line."""
    assert result[0] == code, result
    assert result[1] == ""
    assert "Traceback" not in result[2]
    told = result[2].splitlines()
    assert told[-1].startswith("error: "), told
    assert len([line for line in told if "error" in line]) == 1, told
    return told[-1].removeprefix("error: ")


def contents(folder):
    """Return every file below a folder with its bytes: what must not change."""
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


@pytest.fixture(autouse=True)
def work(tmp_path, monkeypatch):
    """Stand in an empty folder, with caches of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRANSFORMER_CACHE", str(tmp_path / ".cache"))
    monkeypatch.setattr("transformer.training.trainer.Trainer", Trainer)
    return tmp_path


@pytest.fixture
def corpus(work):
    """Two aligned files and a config that names them."""
    write(work / "train.pt", *(source for source, _ in PAIRS))
    write(work / "train.en", *(target for _, target in PAIRS))
    (work / "config.toml").write_text(CONFIG, encoding="utf-8")
    return work


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with the corpus and a run of three steps in it; read only."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TRANSFORMER_CACHE", str(folder / ".cache"))
        patch.setattr("transformer.training.trainer.Trainer", Trainer)
        write(folder / "train.pt", *(source for source, _ in PAIRS))
        write(folder / "train.en", *(target for _, target in PAIRS))
        (folder / "config.toml").write_text(CONFIG, encoding="utf-8")
        assert train.main(["--config", "config.toml", "--run", "run"]) == 0
    return folder


@pytest.fixture
def run(trained, work):
    """A copy of the trained folder to work in; returns its run directory."""
    shutil.copytree(trained, work, dirs_exist_ok=True)
    return work / "run"


# Training and resuming


def test_a_run_directory_is_complete_by_itself(trained):
    run = trained / "run"
    stored = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert stored["model"]["d_model"] == 8
    assert stored["training"]["max_steps"] == 3
    events = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [event["step"] for event in events if event["event"] == "train"] == [1, 2, 3]
    assert [event["step"] for event in events if event["event"] == "validation"] == [2, 3]
    assert {"best.safetensors", "last.safetensors", "tokenizer", "corpus.json"} <= set(os.listdir(run))


def test_the_same_command_resumes_and_a_longer_one_goes_on(run, capsys):
    command = ("--config", "config.toml", "--run", "run")
    before = contents(run)
    code, _, err = call(capsys, train, *command)
    assert code == 0
    assert "complete after 3 steps" in err
    assert contents(run) == before
    code, out, err = call(capsys, train, *command, "--max-steps", "5")
    assert code == 0, err
    assert "continuing at step 3" in err
    assert "-m transformer translate --run run" in out
    steps = [json.loads(line) for line in (run / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [entry["step"] for entry in steps if entry["event"] == "train"] == [1, 2, 3, 4, 5]


@pytest.mark.slow  # a training; flags and configs have their own tests
def test_flags_stand_above_the_config_file(corpus, capsys):
    tsv = gzip.compress("".join(f"{source}\t{target}\n" for source, target in PAIRS).encode())
    (corpus / "pairs.tsv.gz").write_bytes(tsv)
    flags = ("--tsv", "pairs.tsv.gz", "--seed", "7", "--max-steps", "1", "--max-minutes", "9")
    flags += ("--precision", "bfloat16")
    assert call(capsys, train, "--config", "config.toml", "--run", "run", *flags)[0] == 0
    stored = json.loads((corpus / "run" / "config.json").read_text(encoding="utf-8"))
    assert stored["data"]["train"] == ["pairs.tsv.gz"]
    found = [stored["training"][key] for key in ("seed", "max_steps", "max_minutes", "precision")]
    assert found == [7, 1, 9.0, "bfloat16"]


def test_data_names_the_folder_of_the_configs_files(corpus, capsys):
    (corpus / "elsewhere").mkdir()
    for name in ("train.pt", "train.en"):
        (corpus / name).rename(corpus / "elsewhere" / name)
    result = call(capsys, train, "--config", "config.toml", "--run", "run")
    assert "train.pt" in error_line(result, 1)
    assert not (corpus / "run").exists()
    result = call(capsys, train, "--config", "config.toml", "--run", "run", "--data", "elsewhere", "--max-steps", "1")
    assert result[0] == 0


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("d_model = 8", "d_model = 16", "model.d_model"),
        ("vocabulary_size = 300", "vocabulary_size = 310", "text.vocabulary_size"),
        ("warmup_steps = 10", "warmup_steps = 20", "training.warmup_steps"),
    ],
)
def test_training_into_the_directory_of_another_run_is_refused(run, capsys, old, new, named):
    Path("config.toml").write_text(CONFIG.replace(old, new), encoding="utf-8")
    before = contents(run)
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run", "--max-steps", "9"), 1)
    assert "run holds another run" in message
    assert named in message
    assert contents(run) == before


def test_training_into_the_directory_of_another_corpus_is_refused(run, capsys):
    write(Path("train.en"), *(target + "!" for _, target in PAIRS))
    before = contents(run)
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run", "--max-steps", "9"), 1)
    assert "run was trained on another corpus" in message
    assert contents(run) == before


@pytest.mark.slow  # a run is trained and resumed
def test_run_length_and_logging_may_change(run, capsys):
    text = CONFIG.replace("log_every = 1", "log_every = 2").replace("validate_every = 2", "validate_every = 4")
    Path("config.toml").write_text(text, encoding="utf-8")
    assert call(capsys, train, "--config", "config.toml", "--run", "run", "--max-steps", "4")[0] == 0


@pytest.mark.parametrize(
    "make", [lambda path: path.mkdir() or write(path / "letter", "dear"), lambda path: write(path)]
)
def test_a_run_directory_that_holds_something_else_is_refused(corpus, capsys, make):
    make(corpus / "run")
    before = contents(corpus)
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run"), 1)
    assert message.startswith("run directory run is ")
    assert contents(corpus) == before


def test_a_truncated_checkpoint_is_named_and_the_one_before_is_used(run, capsys):
    weights = run / "last.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    code, _, err = call(capsys, train, "--config", "config.toml", "--run", "run", "--max-steps", "4")
    assert code == 0
    assert "warning: run/last.safetensors is damaged" in err and "Going on from previous.safetensors" in err
    assert "continuing at step 2" in err
    for name in ("last", "previous"):
        path = run / f"{name}.safetensors"
        path.write_bytes(path.read_bytes()[:-100])
    before = contents(run)
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run", "--max-steps", "9"), 1)
    assert "last.safetensors is damaged" in message
    assert contents(run) == before


def forge_facts(path, **changes):
    """Change what a checkpoint says of where its run stands."""
    with safe_open(path, framework="numpy") as file:
        saved = json.loads(file.metadata()["saved"])
        arrays = {name: file.get_tensor(name) for name in file.keys()}
    saved["metadata"].update(changes)
    save_file(arrays, path, {"saved": json.dumps(saved)})


@pytest.mark.slow  # a training
def test_a_checkpoint_that_lies_about_where_its_run_stands_is_refused(run, capsys):
    command = ("--config", "config.toml", "--run", "run", "--max-steps", "4")
    forge_facts(run / "last.safetensors", step="3")
    shutil.copytree(run, run.parent / "copy")
    code, _, err = call(capsys, train, *command)
    assert code == 0
    assert "warning: run/last.safetensors is damaged (step must be of type int, got '3')" in err
    assert "Going on from previous.safetensors" in err
    shutil.rmtree(run)
    (run.parent / "copy").rename(run)
    forge_facts(run / "previous.safetensors", batch=-1)
    before = contents(run)
    message = error_line(call(capsys, train, *command), 1)
    assert message.startswith("run/last.safetensors is damaged (step must be of type int")
    assert contents(run) == before


# Bad corpora


def test_missing_file_and_directory_instead_of_file(corpus, capsys):
    files = ("--source-language", "pt", "--target-language", "en", "--run", "run")
    message = error_line(call(capsys, train, "--source", "gone.pt", "--target", "train.en", *files), 1)
    assert message.startswith("there is no file gone.pt")
    message = error_line(call(capsys, train, "--source", corpus, "--target", "train.en", *files), 1)
    assert message.startswith(f"{corpus} is a directory")
    assert not (corpus / "run").exists()


def test_unequal_line_counts_name_both_and_the_first_unmatched_line(corpus, capsys):
    write(corpus / "train.en", *(target for _, target in PAIRS[:-3]))
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run"), 1)
    assert re.match(r"\S*train\.pt has 40 lines and \S*train\.en has 37: line 38 has no counterpart", message)
    assert not (corpus / "run").exists()


def test_invalid_utf8_names_file_and_line(corpus, capsys):
    lines = [target.encode() for _, target in PAIRS]
    lines[6] = "café".encode("latin-1")
    (corpus / "train.en").write_bytes(b"\n".join(lines) + b"\n")
    message = error_line(call(capsys, train, "--config", "config.toml", "--run", "run"), 1)
    assert re.match(r"\S*train\.en, line 7: not valid UTF-8 \(byte 0xe9 at position 4\)", message)
    assert not (corpus / "run").exists()


@pytest.mark.parametrize("sentences", [[], ["", "  "]])
def test_empty_corpus(corpus, capsys, sentences):
    write(corpus / "train.pt", *sentences)
    write(corpus / "train.en", *sentences)
    assert "train.pt holds no text" in error_line(call(capsys, train, "--config", "config.toml", "--run", "run"), 1)
    assert not (corpus / "run").exists()


@pytest.mark.parametrize(
    ("section", "way_out"), [("[cleaning]\nmax_words = 1\n", "Relax [cleaning]"), ("", "Raise data.max_tokens")]
)
def test_a_corpus_whose_every_pair_is_filtered_out(corpus, capsys, section, way_out):
    text = CONFIG if section else CONFIG.replace("max_tokens = 24", "max_tokens = 3")
    (corpus / "config.toml").write_text(text + section, encoding="utf-8")
    result = call(capsys, train, "--config", "config.toml", "--run", "run")
    assert way_out in error_line(result, 1)
    assert not (corpus / "run").exists()


def test_tsv_with_one_column(corpus, capsys):
    write(corpus / "pairs.tsv", "um\tone", "two")
    message = error_line(call(capsys, train, "--tsv", "pairs.tsv", "--run", "run"), 1)
    assert message == "pairs.tsv, line 2: one column; expected source TAB target"


def test_sources_that_exclude_or_need_each_other(corpus, capsys):
    both = ("--dataset", "phrasebook/pt_to_en", "--tsv", "pairs.tsv")
    assert "give one source only" in error_line(call(capsys, train, *both), 2)
    assert "--target" in error_line(call(capsys, train, "--source", "train.pt"), 2)
    halves = ("--source", "train.pt", "--target", "train.en", "--valid-source", "train.pt")
    assert "--valid-target" in error_line(call(capsys, train, *halves), 2)
    assert "--config" in error_line(call(capsys, train, "--data", "."), 2)
    assert not (corpus / "runs").exists()


# Unknown names, each with the nearest known one


def test_unknown_names_suggest_the_nearest(corpus, capsys):
    cases = [
        (("--preset", "tinny"), 2, "unknown preset 'tinny'. Did you mean 'tiny'?"),
        (("--dataset", "phrasebook/pt_to_eng"), 1, "Did you mean 'phrasebook/pt_to_en'?"),
        (("--dataset", "wmt14_translat/de-en"), 1, "Did you mean 'wmt14_translate'?"),
        (
            ("--config", "config.toml", "--target-language", "english"),
            1,
            "unknown language 'english'. Did you mean 'en'?",
        ),
        (("--config", "gone.toml"), 2, "cannot read config file gone.toml: No such file or directory"),
        (("--config", "broken.toml"), 2, "config file broken.toml is not valid TOML"),
        (("--config", "misspelt.toml"), 2, "unknown key 'd_modl' in [model]. Did you mean 'd_model'?"),
        (("--config", "section.toml"), 2, "unknown section 'modle'. Did you mean 'model'?"),
        (("--config", "type.toml"), 2, "model.d_model must be of type int, got 'wide'"),
        (("--config", "range.toml"), 2, "d_model must be a multiple of num_heads=3, got 8"),
    ]
    write(corpus / "broken.toml", "[model")
    (corpus / "misspelt.toml").write_text(CONFIG.replace("d_model", "d_modl"), encoding="utf-8")
    (corpus / "section.toml").write_text(CONFIG.replace("[model]", "[modle]"), encoding="utf-8")
    (corpus / "type.toml").write_text(CONFIG.replace("d_model = 8", "d_model = 'wide'"), encoding="utf-8")
    (corpus / "range.toml").write_text(CONFIG.replace("num_heads = 2", "num_heads = 3"), encoding="utf-8")
    for words, code, expected in cases:
        assert expected in error_line(call(capsys, train, *words, "--run", "run"), code)
        assert not (corpus / "run").exists()


def test_a_dataset_that_cannot_be_downloaded_names_itself_and_the_alternatives(work, capsys, monkeypatch):
    import tiny_dataset  # noqa: F401  registers the builder

    monkeypatch.setattr("transformer.data.examples.downloads.MAX_RETRIES", 1)
    monkeypatch.setattr("tensorflow_datasets.core.constants.DATA_DIR", str(work / "datasets"))
    code, out, err = call(capsys, train, "--dataset", "tiny_pairs/refused", "--run", "run")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]  # above it: what is being downloaded, and each new try
    assert last.startswith("error: dataset 'tiny_pairs/refused' cannot be downloaded (")
    assert "--dataset phrasebook/pt_to_en" in last and "--source F --target F, or --tsv F" in last
    assert "Traceback" not in err
    assert not (work / "run").exists()


# Flags


@pytest.mark.parametrize(
    ("script", "flag", "value"),
    [
        (train, "--seed", "one"),
        (train, "--seed", "-1"),
        (train, "--seed", "1.5"),
        (train, "--seed", str(2**31)),
        (train, "--max-steps", "many"),
        (train, "--max-steps", "0"),
        (train, "--max-steps", "1.5"),
        (train, "--max-minutes", "long"),
        (train, "--max-minutes", "-1"),
        (train, "--max-minutes", "nan"),
        (train, "--precision", "double"),
        (train, "--colour", "red"),
        (translate, "--weights", "worst"),
        (translate, "--beam-size", "wide"),
        (translate, "--beam-size", "0"),
        (translate, "--beam-size", "65"),
        (translate, "--length-penalty", "much"),
        (translate, "--length-penalty", "-1"),
        (translate, "--length-penalty", "nan"),
        (translate, "--max-length", "long"),
        (translate, "--max-length", "-1"),
        (translate, "--n-best", "few"),
        (translate, "--n-best", "0"),
        (translate, "--n-best", "99"),
        (translate, "--colour", "red"),
    ],
)
def test_wrong_flag_values_are_one_line_and_code_2(trained, capsys, script, flag, value):
    words = {train: ["--config", trained / "config.toml", "--run", "new"], translate: ["--run", trained / "run", "um"]}
    message = error_line(call(capsys, script, *words[script], flag, value), 2)
    assert flag.strip("-").replace("-", "_") in message.replace("-", "_")
    assert not Path("new").exists()


@pytest.mark.parametrize(
    "words",
    [
        ["--attention", "a.png"],
        ["--attention", "a.png", "um", "dois"],
        ["--attention-heads", "um"],
        ["--attention-alignment", "um"],
        ["um", "--input", "sentences.txt"],
    ],
)
def test_flags_of_translate_that_do_not_go_together(work, capsys, words):
    error_line(call(capsys, translate, *words), 2)


@pytest.mark.parametrize("script", ["train.py", "translate.py"])
def test_scripts_are_thin(script):
    assert len((ROOT / script).read_text(encoding="utf-8").splitlines()) < 20


@pytest.mark.parametrize("script", ["train.py", "translate.py"])
def test_help_needs_no_tensorflow_and_names_every_flag(script):
    code = (
        f"import sys, runpy; sys.argv = ['{script}', '--help']\n"
        f"try: runpy.run_path({str(ROOT / script)!r}, run_name='__main__')\n"
        "finally: print('tensorflow' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, encoding="utf-8", cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "False"
    parser = {"train.py": train, "translate.py": translate}[script].parser()
    for action in parser._actions:
        assert action.help, action
        assert all(option in done.stdout for option in action.option_strings)


# Translating


def test_sentences_as_arguments(run, capsys):
    code, out, err = call(capsys, translate, "--run", "run", "um gato", "dois carros\num pão")
    assert code == 0 and all(line.startswith("warning: line ") for line in err.splitlines())
    assert out.count("\n") == 2


def test_the_name_of_a_file_as_a_sentence_is_told(run, capsys):
    write(Path("in.txt"), "um gato")
    code, out, err = call(capsys, translate, "--run", "run", "in.txt")
    assert (code, out.count("\n")) == (0, 1)
    assert err.splitlines()[0] == "warning: in.txt is a file; for its lines: --input in.txt"


@pytest.mark.parametrize(
    ("sentences", "told"),
    [
        (["um", "gato"], ['warning: 2 sentences of one word each; if they are one sentence, quote it: "um gato"']),
        (["um gato", "dois"], []),
        (["um", ""], []),
        (["gato"], []),
    ],
)
def test_words_that_look_like_one_sentence_without_quotes_are_told(run, capsys, sentences, told):
    code, out, err = call(capsys, translate, "--run", "run", *sentences)
    assert (code, out.count("\n")) == (0, len(sentences))
    assert [line for line in err.splitlines() if not line.startswith("warning: line ")] == told


def test_several_hypotheses_without_json_are_lines_of_moses(run, capsys):
    """`N ||| text ||| name= value ||| score`, N from 0: section "n-best lists" of the Moses manual."""
    words = ("--run", "run", "--beam-size", "3", "--n-best", "2", "um gato", "dois")
    code, out, _ = call(capsys, translate, *words)
    assert code == 0
    answers = [json.loads(line) for line in call(capsys, translate, *words, "--json")[1].splitlines()]
    expected = [(number, found) for number, answer in enumerate(answers) for found in answer["hypotheses"]]
    assert len(expected) == 4
    for line, (number, found) in zip(out.splitlines(), expected, strict=True):
        fields = line.split(" ||| ")
        assert fields[:2] == [str(number), found["text"]]
        name, value = fields[2].split()
        assert (name, float(value)) == ("log_probability=", pytest.approx(found["log_probability"], abs=1e-4))
        assert float(fields[3]) == pytest.approx(found["score"], abs=1e-4)


def test_file_to_file_equals_standard_input_and_arguments(run, capsys, monkeypatch):
    sentences = ["um gato", "dez carro\u2028três", "", "cinco pão"]
    write(Path("in.txt"), *sentences)
    assert call(capsys, translate, "--run", "run", "--input", "in.txt", "--output", "out.txt")[:2] == (0, "")
    written = Path("out.txt").read_bytes().decode()
    assert written.count("\n") == 4
    for content in ("\n".join(sentences) + "\n", "\n".join(sentences)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content.encode())))
        code, out, _ = call(capsys, translate, "--run", "run")
        assert (code, out) == (0, written)
    assert call(capsys, translate, "--run", "run", *sentences)[1] == written


def test_scores_json_n_best_and_attention(run, capsys):
    code, out, _ = call(capsys, translate, "--run", "run", "--scores", "um gato")
    assert code == 0
    score, text = out.rstrip("\n").split("\t")
    words = (
        "--json",
        "--attention",
        "map.png",
        "--beam-size",
        "3",
        "--n-best",
        "2",
        "--length-penalty",
        "1",
        "--max-length",
        "5",
    )
    code, out, _ = call(capsys, translate, "--run", "run", *words, "um gato")
    assert code == 0
    answer = json.loads(out)
    assert answer["source"] == "um gato"
    assert len(answer["hypotheses"]) == 2
    best, second = answer["hypotheses"]
    assert best["score"] >= second["score"]
    assert float(score) <= 0 and isinstance(text, str)
    assert Path("map.png").read_bytes().startswith(b"\x89PNG")
    assert len(best["token_log_probabilities"]) == len(best["tokens"]) + best["finished"] <= 5
    assert sum(best["token_log_probabilities"]) == pytest.approx(best["log_probability"], abs=1e-4)
    assert [target for _, target in best["alignment"]] == list(range(len(best["tokens"])))
    assert all(0 <= source < len(answer["source_tokens"]) for source, _ in best["alignment"])


@pytest.mark.slow  # graphs of four kinds of search, which have their own tests
def test_drawing_ensembles_prefixes_and_rules(run, capsys):
    def translated(*words):
        code, out, _ = call(capsys, translate, "--run", "run", *words, "um gato")
        assert code == 0
        return out

    drawn = [translated("--temperature", "1", "--top-k", "9", "--top-p", "0.9", "--seed", seed) for seed in "121"]
    assert drawn[0] == drawn[2]
    assert translated("--run", "run") == translated()  # of two equal models
    assert translated("--prefix", "abc").startswith("abc")
    tight = ("--min-length", "2", "--max-length-ratio", "2", "--no-repeat-ngram", "2", "--penalty", "length")
    assert translated(*tight, "--coverage-penalty", "0.2", "--min-length-ratio", "0.1").endswith("\n")
    os.utime(run / "best.safetensors")  # a translator that has no graph yet
    engine = ("--engine", "tensorflow", "--verbose")
    code, _, err = call(capsys, translate, "--run", "run", *engine, "um gato", "dois")
    assert code == 0 and "engine: tensorflow (it is asked for)" in err and "graphs that TensorFlow made: 1" in err


def test_sentences_that_are_empty_or_too_long_are_no_error(run, capsys):
    code, out, err = call(capsys, translate, "--run", "run", "", " \t", "gato " * 60, "gato")
    assert code == 0
    assert out.count("\n") == 4
    assert out.startswith("\n\n")
    told = err.splitlines()
    assert all(line.startswith("warning: line ") for line in told)
    assert told[:2] == ["warning: line 1: empty sentence", "warning: line 2: empty sentence"]
    assert told[2].startswith("warning: line 3: longer than the ")
    assert not [line for line in told if "line 4: empty" in line or "line 4: cut from" in line]


def test_characters_that_the_model_never_saw_are_no_error(work, capsys):
    # Only WordPiece has unknown characters; this model is untrained.
    tokenizer = WordPieceTokenizer("\n".join([*RESERVED_TOKENS, "gato", "##s"]).encode())
    sizes = {"num_layers": 1, "d_model": 8, "num_heads": 2, "dff": 16, "max_positions": 24}
    text, data = {"tokenizer": "wordpiece"}, {"max_tokens": 24}
    config = Config().override({"model": sizes, "text": text, "data": data})
    run = RunDirectory(work / "run")
    tokenizers = TokenizerPair(tokenizer, tokenizer)
    run.create(config, tokenizers, {"name": "", "source_language": "", "target_language": "", "fingerprint": ""})
    save_arrays(run.weights(), model_variables(build_model(config.model, tokenizers)))
    code, out, err = call(capsys, translate, "--run", "run", "汉字 汉字", "gatos 汉字", "gatos")
    assert code == 0
    assert out.count("\n") == 3
    told = [line for line in err.splitlines() if "characters" in line]
    assert told == [
        "warning: line 1: made only of characters the model does not know",
        "warning: line 2: has characters the model does not know",
    ]


def test_input_and_output_that_cannot_be_used(run, capsys, monkeypatch):
    write(Path("in.txt"), "um gato")
    Path("latin1.txt").write_bytes("um\npão\n".encode("latin-1"))
    write(Path("old.txt"), "keep me")
    cases = [
        (("--input", "gone.txt", "--output", "old.txt"), "cannot read gone.txt: No such file or directory"),
        (("--input", ".", "--output", "old.txt"), "cannot read .: Is a directory"),
        (("--input", "latin1.txt", "--output", "old.txt"), "latin1.txt, line 2: not valid UTF-8"),
        (("--input", "in.txt", "--output", "."), "cannot write .: it is a directory"),
        (("--input", "in.txt", "--output", "gone/out.txt"), "cannot write gone/out.txt: No such file or directory"),
    ]
    for words, expected in cases:
        assert error_line(call(capsys, translate, "--run", "run", *words), 1).startswith(expected)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO("um\npão\n".encode("latin-1"))))
    assert "line 2" in error_line(call(capsys, translate, "--run", "run", "--output", "old.txt"), 1)
    assert Path("old.txt").read_text(encoding="utf-8") == "keep me\n"
    assert not [name for name in os.listdir() if name.startswith(".old")]


# Run directories that cannot be used


def missing(run):
    shutil.rmtree(run)


def no_config(run):
    (run / "config.json").unlink()


def no_weights(run):
    (run / "best.safetensors").unlink()


def no_tokenizer(run):
    shutil.rmtree(run / "tokenizer")


def another_architecture(run):
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["model"]["dff"] = 32
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")


def unknown_key(run):
    config = json.loads((run / "config.json").read_text(encoding="utf-8"))
    config["model"]["depth"] = 32
    (run / "config.json").write_text(json.dumps(config), encoding="utf-8")


def cut(name, size):
    def damage(run):
        path = run / name
        path.write_bytes(path.read_bytes()[:size])

    damage.__name__ = f"{name} cut to {size} bytes"
    return damage


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (missing, "there is no run directory run"),
        (no_config, "run directory run is incomplete: no config.json"),
        (no_weights, "run directory run has no best weights yet"),
        (no_tokenizer, "cannot read tokenizer file run/tokenizer/tokenizer.json"),
        (another_architecture, "run/best.safetensors is of another architecture"),
        (unknown_key, "run/config.json: unknown key 'depth' in [model]"),
        (cut("best.safetensors", 1000), "run/best.safetensors is damaged"),
        (cut("best.safetensors", 0), "run/best.safetensors is damaged"),
        (cut("config.json", 50), "run/config.json is not valid JSON"),
        (cut("tokenizer/tokenizer.json", 50), "tokenizer file run/tokenizer/tokenizer.json is not valid JSON"),
        (cut("tokenizer/joint.model", 50), "tokenizer file run/tokenizer/joint.model is truncated"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_run_directory_that_cannot_be_translated_with(run, capsys, damage, expected):
    damage(run)
    assert error_line(call(capsys, translate, "--run", "run", "um gato"), 1).startswith(expected)


def test_a_file_instead_of_a_run_directory(work, capsys):
    write(work / "run", "no directory")
    assert "run" in error_line(call(capsys, translate, "--run", "run", "um gato"), 1)


def test_without_a_default_run_the_way_out_is_named(work, capsys):
    message = error_line(call(capsys, translate, "um gato"), 1)
    assert "runs/phrasebook_pt_to_en" in message and "-m transformer train" in message


# As processes of their own


def in_a_process(script, *words, **options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, str(ROOT / script), *words], capture_output=True, encoding="utf-8", env=environment, **options
    )


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_fresh_process_translates_as_this_one_does(run, capsys):
    sentences = "um gato\ndois pão\n"
    write(Path("in.txt"), *sentences.splitlines())
    here = call(capsys, translate, "--run", "run", "--input", "in.txt")
    there = in_a_process("translate.py", "--run", "run", input=sentences)
    assert there.returncode == 0, there.stderr
    assert there.stdout == here[1]


@pytest.mark.slow  # a process that imports TensorFlow; mistakes are tested above
def test_a_mistake_in_a_process_of_its_own(work):
    done = in_a_process("train.py", "--tsv", "gone.tsv")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("error: there is no file gone.tsv")
    assert "Traceback" not in done.stderr
    assert os.listdir(work) == []
