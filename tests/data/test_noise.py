"""Noise: each kind worked by hand, its rates by statistics, and what holds of every row."""

import itertools

import numpy as np
import pytest
import tensorflow as tf

from transformer.config.settings import TextConfig
from transformer.data import noise
from transformer.data.tokenizers.learning import train_denoising
from transformer.ids import MASK_ID, PAD_ID

ROWS, WORDS = 2000, 30
FIRST = 100  # id of the first sentinel


def seed(number=0):
    return tf.constant([5, number], tf.int64)


def tensor(rows):
    return tf.constant(rows, tf.int32)


@pytest.fixture(scope="module")
def text():
    """Return rows of tokens, each token another one, so that it shows where it comes from."""
    return np.tile(np.arange(10, 10 + WORDS, dtype=np.int32), (ROWS, 1))


def near(found, expected, count):
    """Whether a share is within four standard deviations of a binomial one."""
    return abs(found - expected) < 4 * (expected * (1 - expected) / count) ** 0.5


def stripped(row):
    return [i for i in row if i != PAD_ID]


def test_tokens_are_masked_at_their_rate_and_stay_where_they_are(text):
    found = noise.masked_tokens(tensor(text), seed(), 0.15, MASK_ID).numpy()
    masks = found == MASK_ID
    assert (found[~masks] == text[~masks]).all()
    assert near(masks.mean(), 0.15, text.size)
    assert abs(masks.mean(axis=0) - 0.15).max() < 4 * (0.15 * 0.85 / ROWS) ** 0.5  # no place is preferred


def test_tokens_are_deleted_at_their_rate_and_the_others_keep_their_order(text):
    found = noise.deleted_tokens(tensor(text), seed(), 0.2, MASK_ID).numpy()
    left = found != PAD_ID
    assert near(left.sum() / text.size, 0.8, text.size)
    for row in found[:50]:
        kept = stripped(row)
        assert kept == sorted(kept) and not row[len(kept) :].any()


def test_no_mask_is_deleted():
    ids = tensor([[MASK_ID, 10, MASK_ID, 11, PAD_ID]])
    assert noise.deleted_tokens(ids, seed(), 1.0, MASK_ID).numpy().tolist() == [[MASK_ID, MASK_ID]]


def gaps(row, first=10, last=10 + WORDS):
    """Return how many tokens are missing at the masks of a row, (masks together, tokens)."""
    found, before, masks = [], first - 1, 0
    for token in [*stripped(row), last]:
        if token == MASK_ID:
            masks += 1
            continue
        if masks:
            found.append((masks, token - before - 1))
        assert masks or token == before + 1  # without a mask nothing is missing
        before, masks = token, 0
    return found


def test_spans_are_infilled_at_their_rate_with_poisson_lengths(text):
    found = noise.infilled(tensor(text), seed(), 0.3, 3.0, MASK_ID, 60).numpy()
    every = [gap for row in found for gap in gaps(row)]
    assert sum(missing for _, missing in every) == ROWS * 9  # 30 % of 30, in each row
    assert {sum(missing for _, missing in gaps(row)) for row in found} == {9}
    # Drawn in NumPy: spans until 9 tokens are covered, the last one cut.
    chance, counts, empty = np.random.default_rng(1), [], []
    for _ in range(20_000):
        covered, lengths = 0, []
        while covered < 9:
            lengths.append(min(chance.poisson(3.0), 9 - covered))
            covered += lengths[-1]
        counts.append(len(lengths))
        empty.append(lengths.count(0))
    masks = (found == MASK_ID).sum(axis=1)
    assert abs(masks.mean() - np.mean(counts)) < 4 * np.std(counts) * (1 / ROWS + 1 / 20_000) ** 0.5
    # A mask by itself where nothing is missing was inserted; two spans may touch, so a few are beside another.
    alone = sum(gap == (1, 0) for gap in every) / ROWS
    assert 0.75 * np.mean(empty) < alone < np.mean(empty)


def test_a_share_of_a_token_is_infilled_on_average():
    """30 % of 4 tokens are 1.2: one or two of them."""
    ids = np.full((4000, 4), 10, np.int32)
    found = noise.infilled(tensor(ids), seed(), 0.3, 3.0, MASK_ID, 40).numpy()
    missing = 4 - (found == 10).sum(axis=1)
    assert set(missing) == {1, 2} and abs(missing.mean() - 1.2) < 4 * (0.2 * 0.8 / 4000) ** 0.5


def test_masks_are_inserted_only_where_there_is_room(text):
    for most in (WORDS, WORDS + 1):
        found = noise.infilled(tensor(text), seed(), 0.1, 1.0, MASK_ID, most).numpy()
        assert found.shape[1] <= most and {sum(missing for _, missing in gaps(row)) for row in found} == {3}


@pytest.mark.parametrize("rate", [0.0, 1.0])
def test_nothing_or_everything_is_infilled(text, rate):
    found = noise.infilled(tensor(text[:20]), seed(), rate, 3.0, MASK_ID, 60).numpy()
    if rate:
        assert set(found.ravel()) <= {MASK_ID, PAD_ID}
    else:
        np.testing.assert_array_equal(found, text[:20])


def test_the_example_of_raffel_et_al():
    """Figure 2: "Thank you for inviting me to your party last week." """
    words = "PAD Thank you for inviting me to your party last week .".split()
    ids = tensor([[*range(1, len(words)), 0, 0]])
    corrupted = tf.constant([[word in ("for", "inviting", "last") for word in words[1:]] + [False] * 2])
    names = dict(enumerate(words)) | {FIRST: "<X>", FIRST + 1: "<Y>", FIRST + 2: "<Z>"}
    source, target = ([names[i] for i in rows.numpy()[0]] for rows in noise.with_sentinels(ids, corrupted, FIRST))
    assert " ".join(source) == "Thank you <X> me to your party <Y> week ."
    assert " ".join(target) == "<X> for inviting <Y> last <Z>"


def test_a_row_of_nothing_stays_nothing_and_rows_of_one_token_are_taken_whole():
    ids = tensor([[0, 0], [10, 0]])
    corrupted = noise.corrupted_spans(ids, seed(), 0.15, 3.0, 9)
    source, target = (rows.numpy().tolist() for rows in noise.with_sentinels(ids, corrupted, FIRST))
    assert source == [[0], [FIRST]] and target == [[0] * 3, [FIRST, 10, FIRST + 1]]


def test_spans_of_sentinels_have_their_rate_and_mean_length_and_do_not_touch(text):
    """20 % of 30 tokens are 6, which are 2 spans of 3 tokens on average."""
    found = noise.corrupted_spans(tensor(text), seed(), 0.2, 3.0, 99).numpy()
    lengths = [[len(list(g)) for taken, g in itertools.groupby(row) if taken] for row in found]
    assert {sum(row) for row in lengths} == {6} and {len(row) for row in lengths} == {2}
    firsts = np.array([row[0] for row in lengths])
    assert all(near((firsts == length).mean(), 1 / 5, ROWS) for length in range(1, 6))  # each division is as likely
    # 24 tokens stay, so that there are 25 places for two spans; a row begins with one in 2 of 25 cases.
    assert near(found[:, 0].mean(), 2 / 25, ROWS) and near(found[:, -1].mean(), 2 / 25, ROWS)


def test_there_are_no_more_spans_than_sentinels(text):
    found = noise.corrupted_spans(tensor(text[:50]), seed(), 0.5, 1.0, 4).numpy()
    assert {sum(1 for taken, _ in itertools.groupby(row) if taken) for row in found} == {4}
    assert (found.sum(axis=1) == 15).all()


def test_sources_and_spans_together_are_the_text(text):
    ids = tensor(text[:50, :17])
    source, target = (
        rows.numpy() for rows in noise.with_sentinels(ids, noise.corrupted_spans(ids, seed(), 0.4, 2.0, 99), FIRST)
    )
    for noised, spans, original in zip(source, target, text[:50, :17], strict=True):
        parts, current = {}, None
        for token in stripped(spans):
            current = token if token >= FIRST else current
            parts.setdefault(current, []).extend([token] if token < FIRST else [])
        restored = [t for token in stripped(noised) for t in (parts[token] if token >= FIRST else [token])]
        assert restored == original.tolist()


# Of ids 10 to 19, 10 is a full stop.
ENDS = np.arange(20) == 10
SENTENCES = [[11, 12, 10], [13, 10, 10], [14, 15, 16, 10], [17]]  # a run of stops is one end; the last has none


def test_sentences_are_permuted_as_wholes_and_each_order_is_as_likely():
    row = [*itertools.chain(*SENTENCES), PAD_ID, PAD_ID]
    found = noise.permuted_sentences(tensor([row] * ROWS), seed(), 1.0, ENDS).numpy()
    orders = {(*itertools.chain(*order), PAD_ID, PAD_ID): 0 for order in itertools.permutations(SENTENCES)}
    for each in found.tolist():
        orders[tuple(each)] += 1
    assert len(orders) == 24 and all(near(count / ROWS, 1 / 24, ROWS) for count in orders.values())


def test_a_share_of_the_texts_is_permuted_or_rotated():
    row = [*itertools.chain(*SENTENCES), PAD_ID]
    permuted = noise.permuted_sentences(tensor([row] * ROWS), seed(), 0.5, ENDS).numpy()
    assert near((permuted == row).all(axis=1).mean(), 0.5 + 0.5 / 24, ROWS)
    rotated = noise.rotated(tensor([row] * ROWS), seed(), 0.5).numpy()
    assert near((rotated == row).all(axis=1).mean(), 0.5 + 0.5 / 11, ROWS)


def test_a_text_is_rotated_to_begin_at_any_token_by_hand():
    """The rotations of "A B C D" are "A B C D", "B C D A", "C D A B" and "D A B C"."""
    found = noise.rotated(tensor([[11, 12, 13, 14, PAD_ID, PAD_ID]] * ROWS), seed(), 1.0).numpy()
    counts = {(11, 12, 13, 14): 0, (12, 13, 14, 11): 0, (13, 14, 11, 12): 0, (14, 11, 12, 13): 0}
    for row in found.tolist():
        assert row[4:] == [PAD_ID, PAD_ID]
        counts[tuple(row[:4])] += 1
    assert all(near(count / ROWS, 1 / 4, ROWS) for count in counts.values())


@pytest.mark.parametrize(
    "function",
    [
        lambda ids, seed: noise.masked_tokens(ids, seed, 0.3, MASK_ID),
        lambda ids, seed: noise.deleted_tokens(ids, seed, 0.3, MASK_ID),
        lambda ids, seed: noise.infilled(ids, seed, 0.3, 2.0, MASK_ID, 40),
        lambda ids, seed: noise.corrupted_spans(ids, seed, 0.3, 2.0, 9),
        lambda ids, seed: noise.rotated(ids, seed, 1.0),
    ],
)
def test_noise_is_pure_in_its_seed(function, text):
    ids = tensor(text[:20])
    first = function(ids, seed(1)).numpy()
    np.testing.assert_array_equal(function(ids, seed(1)).numpy(), first)
    other = function(ids, seed(2)).numpy()
    assert other.shape != first.shape or (other != first).any()


def test_pieces_that_end_a_sentence_are_found():
    texts = ["Yes. No! Why? I do not know it."] * 30
    tokenizer = train_denoising(texts, TextConfig(vocabulary_size=300)).source
    ends = noise.sentence_ends(tokenizer)
    found = [piece for piece in tokenizer.pieces(np.flatnonzero(ends)) if not piece.startswith("<")]
    assert found and all(piece[-1] in ".!?" for piece in found)
