"""Tokenizers of other programs under this package's ids."""

import json

import numpy as np
import pytest
from hand_written_folder import END, SIZE, TEXTS, VOCABULARY, tokenizer

from transformer.config.settings import TextConfig
from transformer.data.tokenizers.imported import Imported
from transformer.data.tokenizers.learning import train_exact
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, START_ID
from transformer.system.errors import UserError


def imported(reserved=(None, None, 3, VOCABULARY[END]), size=SIZE, json_of=None, settings=None):
    return Imported.from_parts(reserved, size, json_of or json.loads(tokenizer().to_str()), settings or {})


def test_ids_are_renumbered_by_hand():
    found = imported()
    # Theirs 0, 1, 2 follow as 4, 5, 6; 3 is the start token, and 4 follows 2.
    assert found.theirs[:9].tolist() == [-1, -1, 3, SIZE - 1, 0, 1, 2, 4, 5]
    assert found.vocabulary_size == SIZE + 2 and found.unused_ids == (0, 1) and found.size == SIZE
    assert sorted(found.theirs[found.theirs >= 0]) == list(range(SIZE))
    assert found.encode(["the"])[0].tolist() == [VOCABULARY["the"] + 3]
    assert found.decode([START_ID, VOCABULARY["the"] + 3, END_ID, 0]) == "the"
    assert found.encode([END])[0].tolist() == [END_ID]  # what a text spells, as the original reads it


def test_truncation_and_padding_are_switched_off():
    original = tokenizer()
    original.enable_truncation(3)
    original.enable_padding(length=50)
    found = imported(json_of=json.loads(original.to_str()))
    for text, ids in zip(TEXTS, found.encode(TEXTS), strict=True):
        expected = tokenizer().encode(text, add_special_tokens=False).ids
        assert found.theirs[ids].tolist() == expected and ids.dtype == np.int32


def test_it_is_saved_and_loaded(tmp_path):
    settings = {"tokenizer_config": {"chat_template": "{{ x }}"}}
    vocabulary = TextVocabulary(imported(settings=settings))
    vocabulary.save(tmp_path)
    copy = TextVocabulary.load(tmp_path)
    assert copy.fingerprint() == vocabulary.fingerprint() and isinstance(copy.tokenizer, Imported)
    assert copy.tokenizer.settings == settings
    assert copy.tokenizer.encode(TEXTS)[1].tolist() == vocabulary.tokenizer.encode(TEXTS)[1].tolist()


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"reserved": [None] * 4}, "asset must have an id for the end and, where there is a fifth, for the mask"),
        (
            {"reserved": [0, 1, 2, 3, None]},
            "asset must have an id for the end and, where there is a fifth, for the mask",
        ),
        ({"reserved": [0, 1, 2, 3, 4, 5]}, "asset must have 4 or 5 reserved ids"),
        ({"reserved": [None, 5, 5, 7]}, "asset's reserved ids must be different ids"),
        ({"reserved": [None, None, None, SIZE]}, "asset's reserved ids must be different ids"),
        ({"reserved": [None, None, None, "7"]}, "asset's reserved ids must be different ids"),
        ({"size": 3}, "4 to 2.20 ids in all"),
        ({"size": 2**30}, "4 to 2.20 ids in all"),
        ({"size": SIZE - 1, "reserved": [None, None, None, 7]}, f"asset's tokenizer must have ids below {SIZE - 1}"),
        ({"tokenizer": {"model": 3}}, "it is no JSON of the tokenizers library"),
        ({"settings": None}, "asset must hold reserved, size, tokenizer and settings"),
    ],
    ids=str,
)
def test_a_forged_asset_is_refused(change, rule):
    with pytest.raises(ValueError, match=rule):
        Imported(json.dumps({**json.loads(imported().asset), **change}).encode())


def test_it_cannot_be_learned():
    with pytest.raises(UserError, match="'huggingface' is that of an imported model; give --init-from with its run"):
        train_exact(["a"], TextConfig(tokenizer="huggingface"))
