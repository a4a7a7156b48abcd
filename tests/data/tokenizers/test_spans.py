"""Which characters each token stands for: the same ids as ever, and spans that cover the text in its order."""

import json
from unicodedata import combining

import numpy as np
import pytest

from transformer.config.settings import TextConfig
from transformer.data.tokenizers.exact import Bytes, Characters
from transformer.data.tokenizers.imported import Imported
from transformer.data.tokenizers.learning import train_masking
from transformer.ids import UNKNOWN_ID

LINES = ["Two young men, outside near many bushes.", "Un café, déjà vu: 12 maçãs.", "我去学校。 ☃!"] * 3
TEXTS = [*LINES[:3], "near café", "", "  two  spaces ", "e\u0301 ☃☃ x"]


def tokenizers():
    yield Bytes()
    yield Characters.of(sorted(set("".join(LINES))))
    for kind in ("wordpiece", "sentencepiece", "bytepair"):
        yield train_masking(LINES, TextConfig(tokenizer=kind, vocabulary_size=400))
    learned = train_masking(LINES, TextConfig(tokenizer="wordpiece", vocabulary_size=400), lower_case=True)
    parts = {"reserved": [0, 1, 2, 3, 4], "size": learned.vocabulary_size, "settings": {}}
    yield Imported.from_parts(tokenizer=json.loads(learned.asset), **parts)


@pytest.mark.parametrize("tokenizer", list(tokenizers()), ids=lambda tokenizer: tokenizer.kind)
def test_spans_say_what_a_token_stands_for(tokenizer):
    found = tokenizer.encode_with_spans(TEXTS)
    plain = tokenizer.encode([" " + text for text in TEXTS] if tokenizer.spaced else TEXTS)
    for text, (ids, spans), same in zip(TEXTS, found, plain, strict=True):
        assert ids.tolist() == same.tolist() and spans.shape == (len(ids), 2)
        assert (spans[:, 0] <= spans[:, 1]).all() and (np.diff(spans[:, 0]) >= 0).all()
        assert spans.max(initial=0) <= len(text)
        read = {place for start, end in spans for place in range(start, end)}
        assert all(place in read or text[place].isspace() or combining(text[place]) for place in range(len(text)))
        for token, (start, end) in zip(ids, spans, strict=True):
            if token != UNKNOWN_ID and text.isascii():
                shown = text[start:end].strip().lower()
                assert tokenizer.decode([token]).strip().removeprefix("##").lower() == shown


def test_spans_by_hand():
    ((ids, spans),) = Bytes().encode_with_spans(["aé"])
    assert spans.tolist() == [[0, 1], [1, 2], [1, 2]] and len(ids) == 3
    ((_, spans),) = Characters.of("ab").encode_with_spans(["abx"])
    assert spans.tolist() == [[0, 1], [1, 2], [2, 3]]
