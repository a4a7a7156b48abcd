"""Pairs of sentences: packed rows, and second halves of the same or another document."""

import numpy as np
import pytest
import tensorflow as tf

from transformer.data.sentence_pairs import ENDS, NEXT, OTHER, paired, rows_of
from transformer.ids import END_ID, START_ID

LONGEST = 23  # 20 tokens of text


def passages(documents=12, sentences=30, seed=0):
    """Return documents whose tokens tell them: 1,000 times its number plus a count, in sentences of 1 to 9."""
    chance, found = np.random.default_rng(seed), []
    for document in range(1, documents + 1):
        ids = 1000 * document + np.arange(10 * sentences, dtype=np.int32)
        cuts = np.cumsum(chance.integers(1, 10, sentences))
        found.append((document, np.split(ids, cuts)[:sentences]))
    return found


def rows(given, pairs=True, seed=0):
    columns = rows_of(given, LONGEST, pairs, np.random.default_rng(seed))
    return {name: tf.RaggedTensor.from_row_lengths(*column) for name, column in columns.items()}


def made(record, seed):
    found = paired(record, LONGEST, None if seed is None else tf.constant([seed, 9], tf.int64))
    return [part.numpy() for part in found]


def halves(ids, segments):
    """Return the two halves of a row by its ends, checking the frame."""
    real = ids[ids > 0].tolist()
    assert real[0] == START_ID and real[-1] == END_ID and real.count(END_ID) in (1, 2)
    first = real[1 : real.index(END_ID)]
    second = real[real.index(END_ID) + 1 : -1] if real.count(END_ID) == 2 else []
    expected = [0] * (len(first) + 2) + [1] * (len(second) + bool(second))
    assert segments.tolist() == expected + [0] * (len(ids) - len(expected))
    return first, second


def test_rows_hold_each_token_once_in_order_and_as_many_sentences_as_fit():
    given = passages()
    record = rows(given)
    every = np.concatenate([ids for _, sentences in given for ids in sentences])
    np.testing.assert_array_equal(record["tokens"].flat_values, every)
    documents = [row[0] // 1000 for row in record["tokens"].to_list()]
    for i, (row, sizes) in enumerate(zip(record["tokens"].to_list(), record["sentences"].to_list(), strict=True)):
        assert sum(sizes) == len(row) <= LONGEST - ENDS
        assert {token // 1000 for token in row} == {documents[i]}  # no row crosses documents
        if i + 1 < len(documents) and documents[i + 1] == documents[i]:
            assert len(row) + record["sentences"].to_list()[i + 1][0] > LONGEST - ENDS


def test_half_of_the_pairs_are_of_other_documents_and_their_labels_tell():
    given = passages()
    record, starts = rows(given), {ids[0] for _, sentences in given for ids in sentences}
    labels, cuts = [], set()
    for seed in range(60):
        ids, segments, sentence = made(record, seed)
        assert ids.shape[1] <= LONGEST
        for row, kinds, label, tokens in zip(ids, segments, sentence, record["tokens"].to_list(), strict=True):
            first, second = halves(row, kinds)
            if label == 0:  # a row of one sentence
                assert first == tokens and not second
                continue
            labels.append(label)
            assert first == tokens[: len(first)] and second[0] in starts  # whole sentences
            if label == NEXT:
                assert first + second == tokens
            else:
                assert second[0] // 1000 != first[0] // 1000 and len({token // 1000 for token in second}) == 1
            cuts.add((tokens[0], len(first)))
    count, share = len(labels), np.mean(np.array(labels) == OTHER)
    assert count > 3000 and abs(share - 0.5) < 4 * (0.25 / count) ** 0.5
    assert len(cuts) > 2 * len(record["tokens"].to_list())  # the same row is cut in several ways


def test_a_row_meets_sentences_of_many_documents():
    record = rows(passages())
    met = {}
    for seed in range(40):
        ids, segments, sentence = made(record, seed)
        for row, kinds, label in zip(ids, segments, sentence, strict=True):
            if label == OTHER:
                first, second = halves(row, kinds)
                met.setdefault(first[0], set()).add(second[0] // 1000)
    assert np.median([len(documents) for documents in met.values()]) > 5  # of 11


def test_the_length_of_a_pair_does_not_tell_its_label():
    """Of rows inside documents: given the first half, both kinds of second halves fill the same room."""
    record = rows(passages(40, 60))
    lengths = {NEXT: [], OTHER: []}
    for seed in range(40):
        ids, segments, sentence = made(record, seed)
        for row, kinds, label in zip(ids, segments, sentence, strict=True):
            if label:
                lengths[label].append(sum(map(len, halves(row, kinds))))
    means = {label: np.mean(values) for label, values in lengths.items()}
    assert abs(means[NEXT] - means[OTHER]) < 0.5  # of 17 tokens


def test_without_another_document_a_pair_does_not_count():
    record = rows(passages(1))
    assert not record["other"].flat_values.shape[0]
    ids, segments, sentence = made(record, 1)
    assert not sentence.any()
    for row, kinds, tokens in zip(ids, segments, record["tokens"].to_list(), strict=True):
        first, second = halves(row, kinds)
        assert first + second == tokens


def test_without_pairs_a_row_is_one_segment():
    record = rows(passages(), pairs=False)
    ids, segments, sentence = made(record, None)
    assert not segments.any() and not sentence.any() and not record["other"].flat_values.shape[0]
    for row, kinds, tokens in zip(ids, segments, record["tokens"].to_list(), strict=True):
        assert halves(row, kinds) == (tokens, []) and len(tokens) <= LONGEST - 2


@pytest.mark.parametrize("pairs, longest", [(True, 10), (False, 21)])
def test_sentences_that_are_too_long_are_cut(pairs, longest):
    long = np.arange(1000, 1055, dtype=np.int32)
    record = rows([(1, [long]), (2, [long + 1000])], pairs)
    assert record["tokens"].flat_values.numpy().tolist() == [*long, *(long + 1000)]
    assert max(size for sizes in record["sentences"].to_list() for size in sizes) == longest


def test_batches_are_pure_in_their_seed():
    record = rows(passages())
    one, again, other = made(record, 1), made(record, 1), made(record, 2)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    assert (one[2] != other[2]).any()
