"""Tokenizers of language models give back every text as it was."""

import hashlib
import json
import re

import numpy as np
import pytest

from transformer.config.settings import TextConfig
from transformer.data.tokenizers import exact
from transformer.data.tokenizers.learning import train_exact
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, UNKNOWN_ID
from transformer.system.errors import UserError

TEXTS = ["the cat sat on the mat\n\n  the dog sat on the log\n", "cat and dog,\tcat and dog\n"] * 5
ODD = [" the  cat\n\n", "\n", "", "naïve 猫🐈 \x00\x7f", "[END][PAD]</s><unk>", "e\u0301 and \u00e9", "\r\n\u2028 x"]


@pytest.fixture(scope="module", params=exact.KINDS)
def tokenizer(request):
    return train_exact(TEXTS, TextConfig(tokenizer=request.param, vocabulary_size=310))


def test_every_text_comes_back(tokenizer):
    known = tokenizer.kind != "characters"
    for text, ids in zip([*TEXTS, *ODD], tokenizer.encode([*TEXTS, *ODD]), strict=True):
        assert ids.dtype == np.int32 and ids.ndim == 1
        assert not set(ids.tolist()) & ({0, 1, 2, 3} if known else {0, 2, 3})  # whatever the text says
        assert (ids < tokenizer.vocabulary_size).all()
        if known or text in TEXTS:
            assert tokenizer.decode(ids) == text
    assert tokenizer.decode([0, 1, 2, *tokenizer.encode(["cat"])[0], END_ID, 0]) == "cat"


def test_the_same_text_gives_the_same_vocabulary_on_disk_and_back(tokenizer, tmp_path):
    again = train_exact(TEXTS, TextConfig(tokenizer=tokenizer.kind, vocabulary_size=310))
    assert again.asset == tokenizer.asset
    vocabulary = TextVocabulary(tokenizer)
    vocabulary.save(tmp_path)
    copy = TextVocabulary.load(tmp_path)
    assert copy.fingerprint() == vocabulary.fingerprint()
    assert copy.tokenizer.kind == tokenizer.kind and copy.tokenizer.vocabulary_size == tokenizer.vocabulary_size
    assert [ids.tolist() for ids in copy.tokenizer.encode(ODD)] == [ids.tolist() for ids in tokenizer.encode(ODD)]


def test_bytes_and_characters_by_hand():
    assert exact.Bytes().encode(["Aé"])[0].tolist() == [4 + 65, 4 + 0xC3, 4 + 0xA9]
    assert exact.Bytes().decode([4 + 0xC3]) == "\ufffd"
    characters = train_exact(["banana\n"], TextConfig(tokenizer="characters", vocabulary_size=300))
    assert characters.characters == "\nabn" and characters.vocabulary_size == 8
    assert characters.encode(["nab z\n"])[0].tolist() == [7, 5, 6, UNKNOWN_ID, UNKNOWN_ID, 4]


def test_rare_characters_are_left_out():
    text = "".join(chr(0x4E00 + i) * 2 for i in range(296)) + "x"
    characters = train_exact([text], TextConfig(tokenizer="characters", vocabulary_size=300))
    assert characters.vocabulary_size == 300 and characters.encode(["x"])[0].tolist() == [UNKNOWN_ID]


def test_frequent_pairs_become_tokens():
    tokenizer = train_exact(["aaab aaab aaab\n"] * 9, TextConfig(tokenizer="bytepair", vocabulary_size=300))
    (ids,) = tokenizer.encode(["aaab aaab"])
    assert len(ids) == 2 and tokenizer.vocabulary_size <= 300  # GPT-2's words hold the space before them
    assert json.loads(tokenizer.asset)["model"]["vocab"]["[END]"] == END_ID


@pytest.mark.parametrize("kind", ["sentencepiece", "characters", "bytepair"])
def test_without_text_nothing_is_learned(kind):
    if kind == "bytepair":  # all bytes are in it anyhow
        assert train_exact([], TextConfig(tokenizer=kind)).vocabulary_size == 260
        return
    with pytest.raises(UserError, match="there is no text to learn a vocabulary from"):
        train_exact([], TextConfig(tokenizer=kind))


def test_a_tokenizer_that_loses_spaces_is_refused():
    with pytest.raises(UserError, match="'wordpiece' does not give back a text as it was"):
        train_exact(["a"], TextConfig(tokenizer="wordpiece"))


def _changed(**changes):
    """Return the asset of a byte-pair tokenizer with other entries in its vocabulary."""
    asset = json.loads(train_exact([], TextConfig(tokenizer="bytepair")).asset)
    asset["model"]["vocab"].update(changes)
    return json.dumps(asset).encode()


@pytest.mark.parametrize(
    "kind, make, words",
    [
        ("bytes", lambda: b"x", "asset must be empty"),
        ("characters", lambda: b"[]", "must be a list of characters"),
        ("characters", lambda: b'["b", "a"]', "in the order of their code points"),
        ("characters", lambda: b'["ab"]', "single characters"),
        ("characters", lambda: b"{", "Expecting property name"),
        ("bytepair", lambda: b"[]", "must be JSON of the tokenizers library"),
        ("bytepair", lambda: b"\xff", "utf-8"),
        ("bytepair", lambda: _changed(**{"[END]": 999}), "number its tokens from 0 without a gap"),
        ("bytepair", lambda: _changed(**{"[END]": 2, "[START]": 3}), "as its first tokens"),
        ("sentencepiece", lambda: b"x", "must be a SentencePiece model"),
    ],
)
def test_a_forged_asset_is_refused(kind, make, words, tmp_path):
    asset = make()
    with pytest.raises(ValueError, match=re.escape(words)):
        exact.KINDS[kind](asset)
    known = exact.KINDS[kind]
    (tmp_path / f"text{known.suffix}").write_bytes(asset)
    described = {"kind": kind, "sha256": hashlib.sha256(asset).hexdigest()}
    (tmp_path / "tokenizer.json").write_text(json.dumps(described))
    with pytest.raises(UserError, match="is damaged"):
        TextVocabulary.load(tmp_path)


def test_a_damaged_folder_is_named(tmp_path):
    with pytest.raises(UserError, match="cannot read tokenizer file"):
        TextVocabulary.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text('{"kind": "words", "sha256": ""}')
    with pytest.raises(UserError, match="describes no tokenizer of a language model"):
        TextVocabulary.load(tmp_path)
    TextVocabulary(exact.Characters.of("ab")).save(tmp_path)
    (tmp_path / "text.json").write_text('["a"]')
    with pytest.raises(UserError, match="is truncated or changed"):
        TextVocabulary.load(tmp_path)
