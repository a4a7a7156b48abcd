"""Tokenizers: the lossless round trip, ids by hand and by the sentencepiece library, graphs, seeds, special ids."""

import random
import sys
import unicodedata

import keras
import numpy as np
import pytest
import sentencepiece
import tensorflow as tf
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from transformer.config.settings import TextConfig
from transformer.data.cleaning import normalise_text
from transformer.data.tokenizers.learning import train_sentencepiece
from transformer.data.tokenizers.sentencepiece import SentencePieceTokenizer
from transformer.data.tokenizers.wordpiece import WordPieceTokenizer
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID

UNTIMED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])  # a busy machine is no failure

SENTENCES = [
    "Where is the station?",
    "Onde fica a estação de trem?",
    "The train leaves at nine o'clock.",
    "O trem sai às nove horas.",
    "车站在哪里？",
    "火车九点开。",
] * 20

# Fragments that have a meaning of their own to SentencePiece, to Unicode or to a terminal.
FRAGMENTS = ["\u2581", "<s>", "</s>", "<unk>", "<pad>", "<0x41>", "\x00", "\n", "\r\n", "\t", "  ", "\u3000", "\ufeff"]
FRAGMENTS += [
    "e\u0301",
    "\u0323\u0301",
    "👩\u200d👩\u200d👧",
    "🇧🇷",
    "\u202eabc",
    "ﬁ",
    "Ａ",
    "\ufffd",
    "\U0010fffd",
    "车站",
]
TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cn"))) | st.lists(st.sampled_from(FRAGMENTS)).map("".join)


@pytest.fixture(scope="module", params=["unigram", "bpe"])
def tokenizer(request):
    return train_sentencepiece(SENTENCES, TextConfig(model_type=request.param, vocabulary_size=400))


@pytest.fixture(scope="module")
def wordpiece():
    pieces = ["[PAD]", "[UNK]", "[START]", "[END]", "the", "The", "train", "##s", "don", "'", "t", ".", "?", "(", ")"]
    return WordPieceTokenizer("".join(piece + "\n" for piece in [*pieces, "café", "车", "站", "。", "##站"]).encode())


def fuzzed(count):
    """Return lines of words, fragments and any assigned characters, in any order."""
    chance = random.Random(7)
    assigned = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) not in ("Cn", "Cs")]
    words = " ".join(SENTENCES).split()
    lines = []
    for _ in range(count):
        parts = []
        for _ in range(chance.randint(0, 8)):
            kind = chance.random()
            many = chance.choice((words, words, FRAGMENTS)) if kind < 0.7 else assigned
            parts.append("".join(chance.choices(many, k=chance.randint(1, 3))))
        lines.append(chance.choice((" ", " ", "", "\u3000")).join(parts))
    return lines


def encode(tokenizer, texts):
    return tokenizer.tokenize(tf.constant([text.encode() for text in texts], tf.string))


def decode(tokenizer, ids):
    return [text.decode() for text in tokenizer.detokenize(ids).numpy()]


@settings(UNTIMED, max_examples=100)
@given(st.lists(TEXTS, max_size=4))
@example([])
@example(["", " ", "\u2581", "\u2581\u2581a\u2581 \u2581b\u2581"])
@example(["".join(FRAGMENTS), "".join(reversed(FRAGMENTS)), "".join(map(chr, range(0x250)))])
def test_round_trip_of_any_text(tokenizer, texts):
    ids = encode(tokenizer, texts)
    assert decode(tokenizer, ids) == [normalise_text(text) for text in texts]
    assert UNKNOWN_ID not in ids.flat_values


def test_ids_are_those_of_the_sentencepiece_library(tokenizer):
    library = sentencepiece.SentencePieceProcessor(model_proto=tokenizer.asset)
    texts = [*SENTENCES[:6], "unseen: Žluťoučký kůň 🐎", "", "<s>", "a  b"]
    ids = encode(tokenizer, texts)
    assert ids.dtype == tf.int32 and ids.shape.rank == 2
    assert ids.to_list() == [library.encode(text) for text in texts]
    assert tokenizer.vocabulary_size == library.vocab_size() <= 400
    assert tokenizer.pieces(range(library.vocab_size())) == [
        library.id_to_piece(i) for i in range(library.vocab_size())
    ]
    assert (library.pad_id(), library.unk_id(), library.bos_id(), library.eos_id()) == (0, 1, 2, 3)


def test_special_ids_are_the_packages(tokenizer, wordpiece):
    assert (PAD_ID, UNKNOWN_ID, START_ID, END_ID) == (0, 1, 2, 3)
    for one in (tokenizer, wordpiece):
        assert (one.pad_id, one.unknown_id, one.start_id, one.end_id) == (0, 1, 2, 3)
        assert not set(encode(one, ["The train."]).flat_values.numpy()) & {0, 1, 2, 3}
    assert tokenizer.pieces([0, 1, 2, 3]) == ["<pad>", "<unk>", "<s>", "</s>"]
    assert wordpiece.pieces(tf.constant([0, 1, 2, 3])) == ["[PAD]", "[UNK]", "[START]", "[END]"]


def test_special_ids_are_dropped_from_ragged_and_padded_ids(tokenizer, wordpiece):
    assert decode(wordpiece, tf.constant([[2, 5, 1, 6, 3, 0], [0, 1, 2, 3, 4, 0]])) == ["The train", "the"]
    ids = encode(tokenizer, SENTENCES[:2]).to_list()
    framed = tf.ragged.constant([[2, *ids[0], 3], [2, *ids[1][:3], 1, 0, *ids[1][3:], 3, 0]], dtype=tf.int64)
    assert decode(tokenizer, framed) == SENTENCES[:2]
    assert decode(tokenizer, framed.to_tensor()) == SENTENCES[:2]
    assert decode(tokenizer, tf.constant([[2, 3, 0], [0, 0, 0]])) == ["", ""]
    assert decode(tokenizer, tf.zeros((0, 5), tf.int32)) == []


def test_unknown_characters_are_counted(tokenizer, wordpiece):
    assert tokenizer.count_unknown(encode(tokenizer, ["ü ö"]).to_list()[0]) == (4, 0)  # two bytes each; blanks apart
    ids = encode(tokenizer, ["train ü"]).to_list()[0]
    known = "".join(piece for piece in tokenizer.pieces(ids) if not piece.startswith("<0x"))
    assert known.strip("▁") == "train" and tokenizer.count_unknown(ids)[0] == 2
    assert wordpiece.count_unknown(encode(wordpiece, ["the Zug train."]).to_list()[0]) == (1, 3)
    assert wordpiece.count_unknown([]) == (0, 0)


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_eager_graph_and_dataset_give_the_same(kind, tokenizer, wordpiece):
    one = {"sentencepiece": tokenizer, "wordpiece": wordpiece}[kind]
    texts = tf.constant(SENTENCES[:3])
    expected = one.tokenize(texts).to_list()
    in_function = tf.function(lambda texts: one.tokenize(texts).to_tensor())
    assert in_function(texts).numpy().tolist() == one.tokenize(texts).to_tensor().numpy().tolist()
    dataset = tf.data.Dataset.from_tensor_slices(SENTENCES[:3]).batch(1).map(one.tokenize, num_parallel_calls=2)
    assert [row for batch in dataset for row in batch.to_list()] == expected
    back = tf.function(one.detokenize)(one.tokenize(texts))
    assert back.numpy().tolist() == one.detokenize(one.tokenize(texts)).numpy().tolist()


@pytest.mark.parametrize("kind", ["sentencepiece", "wordpiece"])
def test_a_graph_is_made_once_whatever_is_tokenised(kind, tokenizer, wordpiece, caplog):
    """Several tokenizers, each with a graph of its own, are no reason for TensorFlow's warning of retracing either."""
    one = {"sentencepiece": tokenizer, "wordpiece": wordpiece}[kind]
    for _ in range(6):
        fresh = type(one)(one.asset)
        for texts in (["a"], ("a", "b"), ["the train"] * 50, np.array(["a", "b"]), tf.constant(["a"]), [b"a"]):
            ids = fresh.tokenize(texts)
            assert ids.nrows() == len(texts)
            for same in (ids, ids.to_tensor(), ids.with_row_splits_dtype(tf.int32)):
                assert len(fresh.detokenize(same)) == len(texts)
        assert (fresh.graphs.split.traces, fresh.graphs.join.traces) == (1, 1)
    assert "retracing" not in caplog.text


def test_the_package_and_the_graph_encode_and_decode_alike(tokenizer):
    lines = fuzzed(10_000)
    ids = encode(tokenizer, lines)
    assert tokenizer.encode(lines) == ids.to_list()
    chance = np.random.default_rng(7)
    rows = ids.to_list() + [chance.integers(0, tokenizer.vocabulary_size, 9).tolist() for _ in range(2000)]
    padded = tf.ragged.constant(rows, tf.int32).to_tensor()
    in_graph = [text.decode("utf-8", "replace") for text in tokenizer.detokenize(padded).numpy()]
    assert tokenizer.decode(rows) == in_graph
    assert tokenizer.encode([]) == tokenizer.decode([]) == []
    assert tokenizer.encode(["sol \ud800"]) == tokenizer.encode(["sol ?"])  # half of a surrogate pair


@pytest.mark.parametrize("texts", [[], ["the trains", "", "\ud800 café"]])
def test_lists_go_through_the_graph_where_there_is_no_other_library(wordpiece, texts):
    ids = encode(wordpiece, [text.replace("\ud800", "?") for text in texts]).to_list()
    assert wordpiece.encode(texts) == ids
    assert wordpiece.decode(ids) == ["the trains", "", "? café"][: len(texts)] or not texts
    assert wordpiece.decode([]) == []


def test_seeding_leaves_the_tokenizer_alone(tokenizer):
    expected = encode(tokenizer, SENTENCES[:6]).to_list()
    rows = iter(tf.data.Dataset.from_tensor_slices(SENTENCES[:6]).batch(2).map(tokenizer.tokenize))
    seen = next(rows).to_list()
    for seed in (tf.random.set_seed, keras.utils.set_random_seed):
        seed(1)
        seen += next(rows).to_list()
        assert encode(tokenizer, SENTENCES[:6]).to_list() == expected
        assert decode(tokenizer, encode(tokenizer, SENTENCES[:6])) == SENTENCES[:6]
    assert seen == expected


def test_two_models_stand_in_one_graph():
    first, second = (train_sentencepiece(SENTENCES[i::2], TextConfig(vocabulary_size=300)) for i in (0, 1))
    both = tf.function(lambda texts: (first.tokenize(texts), second.tokenize(texts), first.tokenize(texts)))
    results = both(tf.constant(SENTENCES[:6]))
    assert [ids.to_list() for ids in results] == [
        encode(one, SENTENCES[:6]).to_list() for one in (first, second, first)
    ]
    assert results[0].to_list() != results[1].to_list()


def test_saved_model_holds_the_tokenizer(tokenizer, tmp_path):
    module = tf.Module()
    module.tokenize = tf.function(
        lambda texts: tokenizer.tokenize(texts), input_signature=[tf.TensorSpec([None], tf.string)]
    )
    tf.saved_model.save(module, str(tmp_path))
    loaded = tf.saved_model.load(str(tmp_path)).tokenize(tf.constant(SENTENCES[:6]))
    assert loaded.to_list() == encode(tokenizer, SENTENCES[:6]).to_list()


@pytest.mark.parametrize("asset", [b"", b"no model", b"\xff" * 100])
def test_no_sentencepiece_model(asset):
    with pytest.raises(ValueError, match="asset must"):
        SentencePieceTokenizer(asset)


def test_wordpiece_by_hand(wordpiece):
    ids = encode(wordpiece, ["The trains don't.", "(the café)?", "车站。", "trainer The", " train \n\ttrain ", ""])
    expected = [[5, 6, 7, 8, 9, 10, 11], [13, 4, 15, 14, 12], [16, 17, 18], [1, 5], [6, 6], []]
    assert ids.dtype == tf.int32 and ids.to_list() == expected
    assert wordpiece.pieces(expected[0]) == ["The", "train", "##s", "don", "'", "t", "."]
    assert wordpiece.vocabulary_size == 20


def test_wordpiece_keeps_case_and_accents(wordpiece):
    assert encode(wordpiece, ["café", "cafe", "the", "THE", "cafe\u0301"]).to_list() == [[15], [1], [4], [1], [15]]


@pytest.mark.parametrize(
    "text",
    ["The trains don't.", "(the café)?", "车站。", "the train. The trains?", "the (train)", "", "don't (don't) the."],
)
def test_wordpiece_puts_blanks_where_text_has_them(wordpiece, text):
    assert decode(wordpiece, encode(wordpiece, [text])) == [text]


@pytest.mark.parametrize(
    ("asset", "message"),
    [
        (b"the\ntrain\n", "must start with"),
        (b"[PAD]\n[UNK]\n[START]\n[END]\na\na\n", "each piece once"),
        (b"[PAD]\n[UNK]\n[START]\n[END]\n\xff\n", "must be UTF-8"),
    ],
)
def test_no_wordpiece_vocabulary(asset, message):
    with pytest.raises(ValueError, match=f"asset {message}|asset must hold {message}"):
        WordPieceTokenizer(asset)
