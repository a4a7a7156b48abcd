"""Tokenizers of encoders: a mask among the reserved ids, pieces of words, WordPiece against its definition."""

import json
import re

import numpy as np
import pytest

from transformer.config.settings import TextConfig
from transformer.data.tokenizers.base import MASK_TOKEN, RESERVED_TOKENS
from transformer.data.tokenizers.learning import train_exact, train_masking
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.data.tokenizers.wordpieces import WordPieces, train_wordpieces, wordpiece_json
from transformer.ids import MASK_ID, UNKNOWN_ID
from transformer.system.errors import UserError

LINES = [
    "A man in an orange hat starring at something.",
    "Two young, White males are outside near many bushes.",
    "Several men in hard hats are operating a giant pulley system.",
    "Ein kleines Mädchen klettert in ein Spielhaus aus Holz.",
    "Un café, s'il vous plaît: naïve, déjà vu.",
] * 3
KINDS = ("wordpiece", "sentencepiece", "bytepair")


def learned(kind, size=400, **options):
    return train_masking(LINES, TextConfig(tokenizer=kind, vocabulary_size=size), **options)


@pytest.fixture(scope="module", params=KINDS)
def tokenizer(request):
    return learned(request.param)


def test_the_mask_has_its_id_and_no_text_spells_it(tokenizer):
    assert tokenizer.masks and tokenizer.vocabulary_size <= 400
    for text in (MASK_TOKEN, f"a {MASK_TOKEN} b", "[PAD][START] [END]"):
        ids = tokenizer.encode([text])[0]
        assert MASK_ID not in ids and (ids > MASK_ID)[ids != UNKNOWN_ID].all()


def test_pieces_go_on_with_a_word_exactly_where_no_space_was_before(tokenizer):
    """Of text without punctuation, which WordPiece takes for words of its own."""
    text = "two young men are operating a starring system"
    ids = tokenizer.encode([" " + text])[0]
    assert len(ids) > 8  # some words have several pieces
    begins = ~tokenizer.continuations()[ids]
    words = [tokenizer.decode(part).strip() for part in np.split(ids, np.flatnonzero(begins)[1:])]
    assert begins[0] and words == text.split()


def test_it_is_saved_loaded_and_learned_alike(tokenizer, tmp_path):
    TextVocabulary(tokenizer).save(tmp_path)
    copy = TextVocabulary.load(tmp_path).tokenizer
    assert copy.kind == tokenizer.kind and copy.masks
    for one, other in zip(copy.encode(LINES), tokenizer.encode(LINES), strict=True):
        assert one.tolist() == other.tolist()
    assert learned(tokenizer.kind).asset == tokenizer.asset


def test_a_language_model_has_no_mask():
    for kind in ("sentencepiece", "bytepair"):
        assert not train_exact(LINES, TextConfig(tokenizer=kind, vocabulary_size=400)).masks


def longest_pieces(word, vocabulary):
    """WordPiece by its definition: from the left, the longest piece that is known."""
    found, start = [], 0
    while start < len(word):
        for end in range(len(word), start, -1):
            piece = word[start:end] if not start else "##" + word[start:end]
            if piece in vocabulary:
                found.append(vocabulary[piece])
                start = end
                break
        else:
            return [UNKNOWN_ID]
    return found


def test_wordpiece_takes_the_longest_pieces():
    tokenizer = learned("wordpiece")
    tokens = list(json.loads(tokenizer.asset)["model"]["vocab"])
    assert tokens[:5] == [*RESERVED_TOKENS, MASK_TOKEN]
    vocabulary = {token: i for i, token in enumerate(tokens)}
    for line in [*LINES, "unknown ☃ snow☃man pulleys!?"]:
        words = re.findall(r"\w+|[^\w\s]", line)
        if "☃" in line:
            words = ["unknown", "☃", "snow☃man", "pulleys", "!", "?"]  # a symbol is no punctuation
        expected = [i for word in words for i in longest_pieces(word, vocabulary)]
        assert tokenizer.encode([line])[0].tolist() == expected


def test_wordpiece_spells_every_word_that_it_learned_from():
    tokenizer = learned("wordpiece", lower_case=False)
    for line, ids in zip(LINES, tokenizer.encode(LINES), strict=True):
        assert UNKNOWN_ID not in ids
        assert tokenizer.decode(ids).replace(" ", "") == line.replace(" ", "")


def test_case_and_accents_are_left_out_on_request():
    kept, lower = learned("wordpiece"), learned("wordpiece", lower_case=True)
    upper, plain = lower.encode(["CAFÉ Déjà", "cafe deja"])
    assert upper.tolist() == plain.tolist()
    upper, plain = kept.encode(["Un café", "un cafe"])
    assert upper.tolist() != plain.tolist()


@pytest.mark.parametrize(
    ("kind", "options", "rule"),
    [
        ("bytes", {}, "'bytes' has no mask, which an encoder needs; take 'wordpiece'"),
        ("characters", {}, "'characters' has no mask"),
        ("huggingface", {}, "give --init-from with its run"),
        ("bytepair", {"lower_case": True}, "'bytepair' keeps case; take 'wordpiece'"),
    ],
)
def test_kinds_that_cannot_do_it_are_refused(kind, options, rule):
    with pytest.raises(UserError, match=rule):
        learned(kind, **options)


def test_without_text_nothing_is_learned():
    with pytest.raises(UserError, match="no text to learn a vocabulary from"):
        train_masking(["", " \n "], TextConfig(tokenizer="wordpiece"))


def forged(**changes):
    values = json.loads(train_wordpieces(LINES, 300).asset)
    return json.dumps({**values, **changes}).encode()


@pytest.mark.parametrize(
    ("asset", "rule"),
    [
        (b"[]", "JSON of the tokenizers library"),
        (forged(model={"type": "WordPiece"}), "no JSON of the tokenizers library"),
        (json.dumps(wordpiece_json({"[UNK]": 0, "a": 1}, "[UNK]", False, None)).encode(), "as its first tokens"),
        (
            forged(model={**json.loads(forged())["model"], "vocab": {"[UNK]": 0, "a": 2}}),
            "number its tokens from 0 without a gap",
        ),
    ],
)
def test_forged_assets_are_refused(asset, rule):
    with pytest.raises(ValueError, match=rule):
        WordPieces(asset)
