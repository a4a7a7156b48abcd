"""Vocabularies: learned the same each time, from any corpus; saved, loaded, and refused where damaged."""

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tensorflow as tf
from conftest import ROOT

from transformer.config.settings import TextConfig
from transformer.data.tokenizers.learning import train_sentencepiece, train_tokenizers, train_wordpiece
from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer
from transformer.data.tokenizers.vocabularies import TokenizerPair
from transformer.data.tokenizers.wordpiece import WordPieceTokenizer
from transformer.system.errors import UserError

PAIRS = [("the train leaves", "o trem sai"), ("the bus leaves", "o ônibus sai"), ("the train", "o trem")] * 10
SMALL = TextConfig(vocabulary_size=300)
WORDS = TextConfig(tokenizer="wordpiece", vocabulary_size=300)


def pairs():
    return iter(PAIRS)


def ids(tokenizer, *texts):
    return tokenizer.tokenize(tf.constant(texts)).to_list()


def failure(call):
    with pytest.raises(UserError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
@pytest.mark.parametrize("joint", [True, False])
def test_saved_and_loaded_pairs_are_equal(tmp_path, kind, joint):
    config = TextConfig(tokenizer=kind, joint=joint, vocabulary_size=300)
    pair = train_tokenizers(pairs, config)
    pair.save(tmp_path / "deep" / "run")
    suffix = {"sentencepiece": ".model", "wordpiece": ".vocab.txt"}[kind]
    sides = ("joint",) if joint else ("source", "target")
    written = {path.name for path in (tmp_path / "deep" / "run").iterdir()}
    assert written == {side + suffix for side in sides} | {"tokenizer.json"}
    loaded = TokenizerPair.load(tmp_path / "deep" / "run")
    assert loaded.joint == joint == (loaded.source is loaded.target)
    assert loaded.fingerprint() == pair.fingerprint()
    for side, texts in (("source", ("the train", "bus!")), ("target", ("o ônibus", ""))):
        assert ids(getattr(loaded, side), *texts) == ids(getattr(pair, side), *texts)
    assert train_tokenizers(pairs, config).fingerprint() == pair.fingerprint()


def test_each_side_learns_from_its_own_language():
    pair = train_tokenizers(pairs, TextConfig(joint=False, vocabulary_size=300))
    source, target = (set("".join(t.pieces(range(260, t.vocabulary_size)))) for t in (pair.source, pair.target))
    assert "h" in source and "ô" not in source
    assert "ô" in target and "h" not in target
    joint = train_tokenizers(pairs, SMALL)
    assert {"h", "ô"} <= set("".join(joint.source.pieces(range(260, joint.source.vocabulary_size))))


def test_fingerprint_tells_assets_and_jointness_apart():
    one, other = (train_sentencepiece([text], SMALL) for text in ("hello hello", "other words"))
    same = SentencePieceTokenizer(one.asset)
    made = [TokenizerPair(one, one), TokenizerPair(one, same), TokenizerPair(one, other), TokenizerPair(other, one)]
    assert len({pair.fingerprint() for pair in made}) == 4
    assert TokenizerPair(same, same).fingerprint() == TokenizerPair(one, one).fingerprint()


def test_two_kinds_make_no_pair():
    with pytest.raises(ValueError, match="target must be of the source's kind 'sentencepiece', got 'wordpiece'"):
        TokenizerPair(train_sentencepiece(["a"], SMALL), train_wordpiece(["a"], WORDS))


def learned_hashes():
    """The SHA-256 of a model of each algorithm, learned from a sample."""
    sentences = [f"sentence {n} of {n * n}" for n in range(500)]
    configs = [TextConfig(model_type=name, vocabulary_size=350, sample_size=200) for name in ("unigram", "bpe")]
    return [hashlib.sha256(train_sentencepiece(sentences, config).asset).hexdigest() for config in configs]


@pytest.mark.slow  # a process that imports TensorFlow
def test_a_fresh_process_learns_the_same_bytes(tmp_path):
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), str(Path(__file__).parent)])
    environment = {**os.environ, "PYTHONPATH": path, "PYTHONHASHSEED": "7"}
    code = "import test_vocabularies; print(*test_vocabularies.learned_hashes())"
    run = {"capture_output": True, "text": True, "check": True, "env": environment, "cwd": tmp_path}
    elsewhere = subprocess.run([sys.executable, "-c", code], **run).stdout.split()
    assert learned_hashes() == learned_hashes() == elsewhere and len(set(elsewhere)) == 2
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
@pytest.mark.parametrize("text", ["a", "one word", "你好，世界", "a" * 5000, "\x00\x01"])
def test_a_corpus_smaller_than_the_vocabulary_works(model_type, text):
    tokenizer = train_sentencepiece([text], TextConfig(model_type=model_type, vocabulary_size=8000))
    assert 260 < tokenizer.vocabulary_size < 8000
    assert tokenizer.detokenize(tokenizer.tokenize(tf.constant([text]))).numpy()[0].decode() == text


@pytest.mark.parametrize("model_type", ["unigram", "bpe"])
def test_more_characters_than_the_vocabulary_holds_become_bytes(model_type):
    rare = ["".join(chr(code) for code in range(start, start + 50)) for start in range(0x4E00, 0x5600, 50)]
    tokenizer = train_sentencepiece(
        [*rare, *["的是" * 20] * 50], TextConfig(model_type=model_type, vocabulary_size=300)
    )
    assert tokenizer.vocabulary_size <= 300
    assert "的" in "".join(tokenizer.pieces(range(260, tokenizer.vocabulary_size)))
    pieces = tokenizer.pieces(ids(tokenizer, "\u4fff")[0])
    assert pieces[-3:] == ["<0xE4>", "<0xBF>", "<0xBF>"]  # UTF-8 of U+4FFF


def test_a_tiny_corpus_is_enough_for_wordpiece():
    tokenizer = train_wordpiece(["the train", "The café 车站"], WORDS)
    assert tokenizer.pieces(range(4)) == ["[PAD]", "[UNK]", "[START]", "[END]"]
    assert (
        tokenizer.detokenize(tokenizer.tokenize(tf.constant(["The café 车站"]))).numpy()[0].decode() == "The café车站"
    )
    assert 1 not in ids(tokenizer, "the train", "The café 车站")[0]


@pytest.mark.parametrize("train", [train_sentencepiece, train_wordpiece])
@pytest.mark.parametrize("sentences", [[], ["", " ", "\u2581\u3000"]])
def test_no_text_is_a_mistake_of_the_user(train, sentences):
    message = failure(lambda: train(iter(sentences), SMALL if train is train_sentencepiece else WORDS))
    assert message == "there is no text to learn a vocabulary from; give a corpus with at least one sentence"


def test_the_sample_bounds_what_is_learned_from():
    sentences = (character * 30 for character in "abcdefghijklmnopqrstuvwxyz")
    tokenizer = train_sentencepiece(sentences, TextConfig(vocabulary_size=300, sample_size=3))
    learned = set("".join(tokenizer.pieces(range(260, tokenizer.vocabulary_size)))) - {"▁"}
    assert len(learned) == 3


def test_sentences_are_normalised_before_learning():
    tokenizer = train_sentencepiece(["cafe\u0301 cafe\u0301 \u2581"] * 5, SMALL)
    assert tokenizer.asset == train_sentencepiece(["caf\u00e9 caf\u00e9"] * 5, SMALL).asset


@pytest.fixture
def saved(tmp_path):
    train_tokenizers(pairs, TextConfig(joint=False, vocabulary_size=300)).save(tmp_path)
    return tmp_path


@pytest.mark.parametrize("name", ["tokenizer.json", "source.model", "target.model"])
def test_missing_truncated_and_changed_files_are_named(saved, name):
    path = saved / name
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    assert str(path) in failure(lambda: TokenizerPair.load(saved))
    path.unlink()
    message = failure(lambda: TokenizerPair.load(saved))
    assert message == (
        f"cannot read tokenizer file {path}: No such file or directory; restore it or train the run again"
    )
    path.mkdir()
    assert str(path) in failure(lambda: TokenizerPair.load(saved))


def test_a_changed_byte_is_found(saved):
    path = saved / "target.model"
    content = bytearray(path.read_bytes())
    content[200] ^= 1
    path.write_bytes(content)
    assert failure(lambda: TokenizerPair.load(saved)) == (
        f"tokenizer file {path} is truncated or changed: its SHA-256 is not the saved one; "
        "restore it or train the run again"
    )


@pytest.mark.parametrize(
    "content",
    [b"{", b"[]", b"\xff", b'"text"', b'{"kind": "sentencepiece"}', b'{"kind": "other", "joint": true, "sha256": {}}']
    + [b'{"kind": "wordpiece", "joint": 1, "sha256": {}}', b'{"kind": ["wordpiece"], "joint": true, "sha256": []}'],
)
def test_a_description_that_is_none(saved, content):
    (saved / "tokenizer.json").write_bytes(content)
    assert failure(lambda: TokenizerPair.load(saved)).startswith(f"tokenizer file {saved / 'tokenizer.json'} ")


def test_a_description_that_fits_a_foreign_asset(saved):
    description = json.loads((saved / "tokenizer.json").read_text())
    (saved / "tokenizer.json").write_text(json.dumps({**description, "kind": "wordpiece"}))
    (saved / "source.model").rename(saved / "source.vocab.txt")
    (saved / "target.model").rename(saved / "target.vocab.txt")
    assert failure(lambda: TokenizerPair.load(saved)).startswith(
        f"tokenizer file {saved / 'source.vocab.txt'} is damaged"
    )


def test_no_file_name_is_taken_from_the_description(saved, tmp_path):
    (tmp_path.parent / "outside.model").write_bytes((saved / "source.model").read_bytes())
    description = json.loads((saved / "tokenizer.json").read_text())
    description["sha256"] = {"../outside": description["sha256"]["source"], "target": description["sha256"]["target"]}
    (saved / "tokenizer.json").write_text(json.dumps(description))
    assert str(saved / "source.model") in failure(lambda: TokenizerPair.load(saved))


def test_multi30k(data_folder):
    lines = [
        (data_folder("multi30k") / f"val.{language}").read_text(encoding="utf-8").splitlines()
        for language in ("en", "de")
    ]
    pair = train_tokenizers(lambda: zip(*lines, strict=True), TextConfig(vocabulary_size=1000))
    assert pair.source.vocabulary_size == 1000
    for side, texts in zip((pair.source, pair.target), lines, strict=True):
        tokens = side.tokenize(tf.constant(texts))
        assert [text.decode() for text in side.detokenize(tokens).numpy()] == [text.strip() for text in texts]
        assert 10 < tokens.flat_values.shape[0] / len(texts) < 30  # pieces a sentence; words are 12
    assert isinstance(pair.source, SentencePieceTokenizer) and not isinstance(pair.source, WordPieceTokenizer)
