"""An export that somebody forged: told in one line before the library reads it; nothing outside is read or written."""

import hashlib
import json
import os
import random
import shutil
import struct
from pathlib import Path

import pytest
from damage import mutated
from tiny_run import save_run, spread_parts, tiny_config

from transformer.commands import export
from transformer.convert.ctranslate2 import load_export
from transformer.convert.directory import describe, draft_export
from transformer.data.tokenizers.learning import train_tokenizers
from transformer.system.errors import UserError

WEIGHTS = "model/model.bin"


@pytest.fixture(scope="module")
def honest(tmp_path_factory):
    """Exports of one run, by quantisation."""
    folder = tmp_path_factory.mktemp("honest")
    run = save_run(folder / "run", spread_parts(), beam_size=2).path
    for kind in ("float32", "int16", "int8"):
        words = (str(run), str(folder / kind), "--format", "ctranslate2", "--quantization", kind)
        assert export.main(list(words)) == 0
    return folder


@pytest.fixture
def out(honest, tmp_path, monkeypatch):
    """A copy to forge, in the directory at hand."""
    shutil.copytree(honest / "float32", tmp_path / "out")
    monkeypatch.chdir(tmp_path)
    return Path("out")


def described_anew(out):
    """Let the description fit the files, as whoever forges an export would."""
    description = json.loads((out / "export.json").read_text())
    files = {name: (out / name) for name in description["files"] if (out / name).is_file()}
    description["files"] = {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in files.items()}
    (out / "export.json").write_text(json.dumps(description))


def refusal(out):
    with pytest.raises(UserError) as told:
        load_export(out)
    assert "\n" not in str(told.value) and len(str(told.value)) < 1000
    return str(told.value)


def array(content, name):
    """Return where the type, the shape and the numbers of an array stand in a file of weights."""
    start = content.index(struct.pack("<H", len(name) + 1) + name.encode() + b"\0") + len(name) + 3
    shape = start + 1
    dtype = shape + 4 * content[start]
    return dtype, shape, dtype + 5


def forge(out, change):
    content = bytearray((out / WEIGHTS).read_bytes())
    changed = change(content)
    (out / WEIGHTS).write_bytes(content if changed is None else changed)
    described_anew(out)


@pytest.mark.parametrize("kind", ["float32", "int16", "int8"])
def test_the_exports_are_honest(honest, kind):
    (group,) = load_export(honest / kind).translate(["sol mar"])
    assert group[0].token_log_probabilities


@pytest.mark.parametrize(
    "name, place, value, word",
    [
        ("decoder/num_heads", 2, struct.pack("<H", 0), "'decoder/num_heads' is another"),
        ("encoder/num_heads", 2, struct.pack("<H", 3), "'encoder/num_heads' is another"),
        ("decoder/alignment_layer", 2, struct.pack("<H", 77), "'decoder/alignment_layer' is another"),
        ("decoder/alignment_heads", 2, struct.pack("<H", 999), "'decoder/alignment_heads' is another"),
        ("decoder/activation", 2, b"\x63", "'decoder/activation' is another"),
        ("decoder/embeddings/weight", 1, struct.pack("<II", 16, 300), "another length than its shape|has shape"),
        ("decoder/embeddings/weight", 1, struct.pack("<II", 2**31, 2**31), "another length than its shape"),
        ("decoder/embeddings/weight", 0, b"\x09", "is no weight"),
        ("decoder/embeddings/weight", 0, b"\x03", "holds int32"),
        ("decoder/embeddings/weight", 2, struct.pack("<f", float("nan")), "no finite number"),
        ("decoder/embeddings/weight", 2, struct.pack("<f", float("inf")), "no finite number"),
    ],
)
def test_weights_that_the_library_would_trust(out, name, place, value, word):
    def change(content):
        start = array(content, name)[place]
        content[start : start + len(value)] = value

    forge(out, change)
    message = refusal(out)
    assert any(each in message for each in word.split("|")), message


@pytest.mark.parametrize(
    "change, word",
    [
        (lambda content: content[:0], "ends too early"),
        (lambda content: content[:3000], "ends too early"),
        (lambda content: content[:-1], "a name in it has no end"),
        (lambda content: content + b"\0", "goes on behind its end"),
        (lambda content: struct.pack("<I", 5) + content[4:], "another version of CTranslate2"),
        (lambda content: content.replace(b"encoder/layer_0/", b"encoder/layer_9/"), "is missing or stands twice"),
        (lambda content: content.replace(b"decoder/num_heads\0", b"decoder/num_hea\xff\xff\0"), "can't decode"),
        (lambda content: content[:26] + struct.pack("<I", 2**32 - 1) + content[30:], "4,294,967,295 arrays"),
    ],
)
def test_files_of_weights_that_are_none(out, change, word):
    forge(out, change)
    message = refusal(out)
    assert "out/model/model.bin does not go with" in message and word in message


@pytest.mark.parametrize(
    "name, change, word",
    [
        ("shared_vocabulary.json", lambda values: values[:-1], "not those of the tokenizer"),
        ("shared_vocabulary.json", lambda values: [*values[:-1], 5], "not those of the tokenizer"),
        ("shared_vocabulary.json", lambda values: [*values[:-1], "\ud800"], "surrogates not allowed"),
        ("shared_vocabulary.json", lambda values: {}, "not those of the tokenizer"),
        ("shared_vocabulary.json", lambda values: [[]] * 10**5, "is longer than"),
        ("config.json", lambda values: [], "must hold an object"),
        ("config.json", lambda values: {**values, "eos_token": "a"}, "'eos_token' is another"),
        ("config.json", lambda values: {**values, "add_source_bos": 0}, "'add_source_bos' is another"),
        ("config.json", lambda values: {**values, "layer_norm_epsilon": None}, "'layer_norm_epsilon' is another"),
        ("config.json", lambda values: {**values, "quantization_type": 2}, "'quantization_type' is another"),
        ("config.json", lambda values: {"bos_token": "<s>"}, "'unk_token' is another"),
    ],
)
def test_what_stands_beside_the_weights(out, name, change, word):
    path = out / "model" / name
    path.write_text(json.dumps(change(json.loads(path.read_text()))))
    described_anew(out)
    message = refusal(out)
    assert f"out/model/{name}" in message and word in message


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"[" * 10**5, b"", b'{"a": ', b"NaN"], ids=lambda content: content[:5]
)
@pytest.mark.parametrize("name", ["shared_vocabulary.json", "config.json"])
def test_json_that_is_none(out, name, content):
    (out / "model" / name).write_bytes(content)
    described_anew(out)
    assert f"out/model/{name}" in refusal(out)


def test_a_whole_tokenizer_of_another_size(out):
    train_tokenizers(lambda: iter([("abc", "abd")]), tiny_config(out).text).save(out / "tokenizer")
    described_anew(out)
    assert "out/model/shared_vocabulary.json does not go with" in refusal(out)


def test_a_rule_table_beside_the_model_is_not_of_an_export(out):
    (out / "model" / "vmap.txt").write_text("a\tb\n")
    description = json.loads((out / "export.json").read_text())
    description["files"]["model/vmap.txt"] = hashlib.sha256(b"a\tb\n").hexdigest()
    (out / "export.json").write_text(json.dumps(description))
    assert "out/model/vmap.txt is missing, truncated or changed" in refusal(out)


@pytest.mark.parametrize("name", [WEIGHTS, "model/shared_vocabulary.json", "config.json", "tokenizer/joint.model"])
def test_long_files_are_not_read_to_their_end(out, name):
    """Sparse files: 64 GB take no room on the disk, and a minute to hash."""
    os.truncate(out / name, 2**36)
    assert f"out/{name}" in refusal(out)


@pytest.mark.parametrize("language", [5, None, ["pt"], "\ud800"], ids=repr)
def test_a_language_that_is_none(out, language):
    description = json.loads((out / "export.json").read_text())
    (out / "export.json").write_text(json.dumps({**description, "source_language": language}))
    assert refusal(out) == "out/export.json is damaged; export the run again"


@pytest.mark.parametrize("name", ["model", "tokenizer", WEIGHTS, "config.json", "tokenizer/joint.model", "export.json"])
def test_links_out_of_an_export_are_not_followed(out, name):
    Path("outside").mkdir()
    (out / name).rename(Path("outside", Path(name).name))
    (out / name).symlink_to(Path("outside", Path(name).name).absolute())
    assert refusal(out).startswith(f"out/{name} is a link to a place outside out")


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
def test_pipes_circles_and_directories_in_place_of_files(out, name):
    for make, word in (
        (os.mkfifo, "is a device or a pipe"),
        (lambda path: path.symlink_to(path.name), f"out/{name}"),
        (lambda path: path.symlink_to("gone"), f"out/{name}"),
        (Path.mkdir, f"out/{name} is missing, truncated or changed"),
    ):
        (out / name).unlink()
        make(out / name)
        assert word in refusal(out)
        (out / name).rmdir() if (out / name).is_dir() else None
        (out / name).touch() if not os.path.lexists(out / name) else None


@pytest.mark.parametrize("kind", ["draft", "old"])
def test_nothing_outside_is_cleared_or_moved_by_an_export(tmp_path, kind):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "file").write_text("mine")
    (tmp_path / f".out.{kind}").symlink_to(tmp_path / "mine")
    with pytest.raises(UserError, match=f"out.{kind} is a link"), draft_export(tmp_path / "out", True) as draft:
        describe(draft, {"format": "savedmodel"})
    assert (tmp_path / "mine" / "file").read_text() == "mine" and not (tmp_path / "out").exists()


def test_an_export_with_a_linked_folder_is_not_replaced(out):
    (out / "photos").symlink_to(Path("elsewhere").absolute())
    with pytest.raises(UserError, match="holds photos, which is not of its export"), draft_export(out, True):
        pass


@pytest.mark.parametrize(
    "kind, count",
    [("float32", 40), ("int8", 20), pytest.param("int8", 600, marks=pytest.mark.slow)],  # the last takes a minute
)
def test_changed_bytes_either_translate_or_are_told(honest, tmp_path, kind, count):
    """Bytes of every file are changed, cut or doubled, and the description fits them anyway."""
    chance = random.Random(28 + count)
    names = [*json.loads((honest / kind / "export.json").read_text())["files"], "export.json", WEIGHTS]
    told = 0
    for _ in range(count):
        out = shutil.copytree(honest / kind, tmp_path / "out")
        name = chance.choice(names)
        (out / name).write_bytes(mutated((out / name).read_bytes(), chance))
        try:
            if name != "export.json":
                described_anew(out)
            translator = load_export(out)
            assert len(translator.translate(["sol mar rio", "um"])) == 2
        except UserError as error:
            told += 1
            assert "\n" not in str(error)
        shutil.rmtree(out)
    assert told > count / 4


def test_an_export_is_read_where_nothing_can_be_written(out, monkeypatch):
    """Read-only file systems refuse to flush."""

    def refuse(handle):
        raise OSError(22, "Invalid argument")

    monkeypatch.setattr(os, "fsync", refuse)
    assert load_export(out).translate(["sol"])
