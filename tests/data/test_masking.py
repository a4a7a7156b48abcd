"""Masking: rates by statistics, whole words, and what is never chosen."""

import numpy as np
import pytest
import tensorflow as tf

from transformer.data.masking import FIRST_WORD_ID, masked
from transformer.ids import END_ID, MASK_ID, PAD_ID, START_ID, UNKNOWN_ID

SIZE = 105  # of the vocabulary: 100 ids stand for text
ROWS, WORDS = 400, 40


def drawn(ids, seed=(3, 4), rate=0.15, continues=None, size=SIZE):
    found = masked(tf.constant(ids, tf.int32), tf.constant(seed, tf.int64), rate, size, continues)
    return [part.numpy() for part in found]


def framed(rows):
    """Return rows of text with start, end and two tokens of padding."""
    ends = [np.full((len(rows), 1), i, np.int32) for i in (START_ID, END_ID, PAD_ID, PAD_ID)]
    return np.concatenate([ends[0], rows, *ends[1:]], axis=1)


@pytest.fixture(scope="module")
def text():
    return framed(np.random.default_rng(0).integers(FIRST_WORD_ID, SIZE, (ROWS, WORDS)).astype(np.int32))


def test_fifteen_percent_are_chosen_and_80_10_10_of_them_are_the_mask_any_token_and_the_same(text):
    """Bounds are four standard deviations of binomial shares."""
    read, labels = drawn(text)
    chosen = labels != PAD_ID
    assert (labels[chosen] == text[chosen]).all() and (read[~chosen] == text[~chosen]).all()
    assert (chosen.sum(axis=1) == 6).all()  # 15 % of 40, in each row
    count = chosen.sum()
    assert count == ROWS * 6
    same = read[chosen] == text[chosen]
    mask = read[chosen] == MASK_ID
    for share, expected in ((mask.mean(), 0.8), ((~mask & ~same).mean(), 0.1 * 99 / 100), (same.mean(), 0.101)):
        assert abs(share - expected) < 4 * (expected * (1 - expected) / count) ** 0.5
    others = read[chosen & (read != MASK_ID) & (read != text)]
    assert others.min() >= FIRST_WORD_ID and others.max() < SIZE and len(set(others)) > 80
    places = chosen[:, 1 : WORDS + 1].mean(axis=0)  # no place is preferred
    assert abs(places - 0.15).max() < 4 * (0.15 * 0.85 / ROWS) ** 0.5


def test_a_share_of_a_token_is_met_on_average():
    """15 % of 9 tokens are 1.35: one or two of them."""
    ids = np.full((4000, 9), FIRST_WORD_ID, np.int32)
    counts = (drawn(ids)[1] != PAD_ID).sum(axis=1)
    assert set(counts) == {1, 2} and abs(counts.mean() - 1.35) < 4 * (0.35 * 0.65 / 4000) ** 0.5


def test_at_least_one_token_is_chosen_and_start_end_and_padding_never():
    ids = np.array([[START_ID, UNKNOWN_ID, END_ID, PAD_ID], [START_ID, END_ID, PAD_ID, PAD_ID], [PAD_ID] * 4], np.int32)
    for seed in range(20):
        read, labels = drawn(ids, (seed, 0))
        assert labels.tolist() == [[0, UNKNOWN_ID, 0, 0], [0] * 4, [0] * 4]
        assert (read[1:] == ids[1:]).all()


def test_other_seeds_choose_others_and_the_same_seed_the_same(text):
    one, again, other = (drawn(text, seed)[1] for seed in ((1, 2), (1, 2), (1, 3)))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any(axis=1).mean() > 0.99


def word_of(ids, continues):
    """Return for each token of a row the place where its word begins, None outside words."""
    words, start = [], None
    for place, i in enumerate(ids):
        if i in (PAD_ID, START_ID, END_ID):
            start = None
        elif start is None or not continues[i]:
            start = place
        words.append(start)
    return words


def test_whole_words_are_chosen_or_none_of_their_pieces_and_the_rate_is_met():
    continues = np.arange(SIZE) % 3 == 2
    chance = np.random.default_rng(1)
    ids = framed(chance.integers(FIRST_WORD_ID, SIZE, (ROWS, WORDS)).astype(np.int32))
    _, labels = drawn(ids, continues=continues)
    several = 0
    for row, found in zip(ids, labels != PAD_ID, strict=True):
        words = word_of(row, continues)
        for start in set(words) - {None}:
            pieces = [place for place, word in enumerate(words) if word == start]
            assert len({bool(found[place]) for place in pieces}) == 1
            several += len(pieces) > 1
    assert several > ROWS
    counts = (labels != PAD_ID).sum(axis=1)
    assert abs(counts.mean() - 6) < 4 * counts.std() / ROWS**0.5


def test_a_piece_behind_an_end_begins_a_word():
    """A sentence may begin with a piece that otherwise goes on with a word: it is none with the sentence before."""
    continues = np.zeros(SIZE, bool)
    continues[9] = True
    ids = np.array([[START_ID, 7, END_ID, 9, END_ID]] * 200, np.int32)
    chosen = drawn(ids, continues=continues)[1] != PAD_ID
    assert (chosen.sum(axis=1) == 1).all() and 0 < chosen[:, 1].sum() < 200
