"""Generation: against whole calls of the network, token by token, whose window slides as the generator's does."""

import numpy as np
import pytest
import tensorflow as tf
from reference import randomised, softmax
from tiny_run import language_model, save_run, spread_parts, write_run

from transformer.data.tokenizers.exact import Bytes, Characters
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.ids import END_ID, PAD_ID, START_ID, UNKNOWN_ID
from transformer.inference.generated_text import GrowingText
from transformer.inference.generator import Generator
from transformer.inference.text_scores import TextScorer
from transformer.system.errors import UserError
from transformer.system.graphs import Graph
from transformer.tasks.language_model import LanguageModel

CONTEXT, LIMIT = 16, 30
PROMPTS = ["one", "", "a prompt that is longer than the context", "seven seas"]


def untrained(folder, **model):
    """Return a task, its network of random weights, the folder of its run, and the network as a graph."""
    model = {"norm_first": True, "max_positions": CONTEXT, **model}
    config = language_model(folder, model=model, search={"max_length": LIMIT})
    task = LanguageModel(config, TextVocabulary(Characters.of("abcdefghijklmnopqrstuvwxyz ")), {})
    network = randomised(task.network("float32"))
    table = network.embedding.embeddings.numpy() / 2  # so that samples are not all alike
    table[END_ID] = 0  # nor short
    network.embedding.embeddings.assign(table)
    whole = Graph(lambda ids: network(ids, training=False), tf.TensorSpec((1, None), tf.int32))
    return task, network, write_run(folder / "run", config, task.vocabularies, network), whole


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return untrained(tmp_path_factory.mktemp("generator"), positions="learned")


@pytest.fixture(scope="module")
def greedy(trained):
    return Generator.load(trained[2])


@pytest.fixture(scope="module")
def sampler(greedy):
    return greedy.with_search(temperature=0.8, top_k=12, top_p=0.95, seed=7)


def window(ids):
    """Return what is read of a text: all, or from the first multiple of half a context where that is too much."""
    start = 0
    while len(ids) - start > CONTEXT:
        start += CONTEXT // 2
    return ids[start:]


def by_hand(trained, prompt, choose, change=lambda logits, ids: logits, limit=LIMIT):
    """Return the tokens and their log-probabilities; `choose` is given the allowed tokens' logits and a number."""
    task, _, _, whole = trained
    ids, logs = task.prompt(prompt).tolist(), []
    begun = len(ids)
    while len(ids) - begun < limit and (len(ids) == begun or ids[-1] != END_ID):
        logits = whole([window(ids)])[0, -1].numpy().astype(np.float64)
        logits = change(logits, window(ids))
        probabilities = softmax(logits)
        logits[[PAD_ID, UNKNOWN_ID, START_ID]] = -np.inf
        token = choose(logits, len(ids) - begun)
        ids.append(int(token))
        logs.append(np.log(probabilities[token]))
    return ids[begun:], logs


def check(found, expected):
    ids, logs = expected
    assert list(found.ids) == ids
    np.testing.assert_allclose(found.token_log_probabilities, logs, rtol=1e-3, atol=1e-4)
    assert found.log_probability == pytest.approx(sum(logs), rel=1e-3)
    assert found.reason == ("end" if ids[-1] == END_ID else "length")


def test_the_likeliest_tokens_follow_while_the_context_slides(trained, greedy):
    results = greedy.generate(PROMPTS)
    assert [len(found) for found in results] == [1] * len(PROMPTS)
    for prompt, (found,) in zip(PROMPTS, results, strict=True):
        check(found, by_hand(trained, prompt, lambda logits, _: logits.argmax()))
        assert found.text == trained[0].tokenizer.decode(found.ids) == "".join(found.tokens)
    assert any(len(found.ids) == LIMIT for (found,) in results)
    assert greedy.traces == 2 and greedy.generate([]) == []


def test_a_cache_that_grows_changes_nothing(trained, sampler, monkeypatch):
    grown = Generator(trained[0], trained[1], sampler.search)
    monkeypatch.setattr("transformer.inference.generator.FIRST_CAPACITY", 4)
    for sample, each in enumerate(grown.generate([""], samples=2)[0]):
        check(each, sampled_by_hand(trained, "", sample))
    assert {capacity for _, capacity in grown._continuer.steps} == {4, 8, 16, 17}


def test_a_network_as_llamas_goes_on_in_the_same_way(tmp_path):
    """Rotary positions, heads that share keys, gates, and no biases."""
    options = {"norm": "rms", "activation": "silu", "gated": True, "use_bias": False, "num_kv_heads": 1}
    trained = untrained(tmp_path, positions="rotary", **options)
    for prompt, (found,) in zip(PROMPTS, Generator.load(trained[2]).generate(PROMPTS), strict=True):
        check(found, by_hand(trained, prompt, lambda logits, _: logits.argmax()))


def chance(seed, sample, number):
    """The upper 24 of the 64 bits that NumPy's Philox gives for a token, as a number below 1."""
    return float(np.random.Philox(key=[seed, sample]).random_raw(number + 1)[-1] >> np.uint64(40)) / 2**24


def sampled_by_hand(trained, prompt, sample):
    def choose(logits, number):
        order = np.argsort(-logits, kind="stable")[:12]
        shares = softmax(logits[order] / 0.8)
        shares = np.where(np.cumsum(shares) - shares < 0.95, shares, 0)
        shares = shares / shares.sum()
        return order[np.argmax(np.cumsum(shares) > chance(7, sample, number))]

    return by_hand(trained, prompt, choose)


def test_samples_are_those_of_the_seed_whoever_else_is_there(trained, sampler):
    together = sampler.generate(PROMPTS, samples=3)
    for prompt, found in zip(PROMPTS, together, strict=True):
        for sample, each in enumerate(found):
            check(each, sampled_by_hand(trained, prompt, sample))
        assert len({each.text for each in found}) > 1
    alone = sampler.generate(PROMPTS[3:], samples=2)[0]
    assert [each.ids for each in alone] == [each.ids for each in together[3][:2]]


def test_compiled_code_samples_the_same(trained, sampler):
    compiled = Generator(trained[0], trained[1], sampler.search, compile_after=0)
    plain = sampler.generate(PROMPTS[:1], samples=2)[0]
    for ours, theirs in zip(compiled.generate(PROMPTS[:1], samples=2)[0], plain, strict=True):
        assert ours.ids == theirs.ids
        np.testing.assert_allclose(ours.token_log_probabilities, theirs.token_log_probabilities, rtol=1e-3, atol=1e-4)


def test_another_seed_samples_other_texts(sampler):
    other = sampler.with_search(seed=8)
    assert [each.text for each in other.generate(PROMPTS[:1], 2)[0]] != [
        each.text for each in sampler.generate(PROMPTS[:1], 2)[0]
    ]


def test_rules_look_at_the_prompt_too(trained, greedy):
    strict = greedy.with_search(no_repeat_ngram=2, repetition_penalty=1.5, min_length=6)

    def change(logits, ids):
        for token in set(ids):
            logits[token] = logits[token] / 1.5 if logits[token] > 0 else logits[token] * 1.5
        return logits

    def choose_after(prompt):
        ids = trained[0].prompt(prompt).tolist()

        def choose(logits, number):
            seen = window(ids)
            for one, other in zip(seen, seen[1:], strict=False):
                if one == seen[-1]:
                    logits[other] = -np.inf
            if number < 6:
                logits[END_ID] = -np.inf
            ids.append(int(logits.argmax()))
            return ids[-1]

        return choose

    for prompt in ("banana", "one two one"):
        (found,) = strict.generate([prompt])[0]
        check(found, by_hand(trained, prompt, choose_after(prompt), change))


def test_a_beam_ends_where_the_context_is_full(trained, greedy):
    beam = greedy.with_search(beam_size=2, length_penalty=0.0)
    prompt = "seven seas"
    ids = trained[0].prompt(prompt).tolist()
    beams = [(0.0, [])]
    for _ in range(CONTEXT + 1 - len(ids)):
        options = [(total, new) for total, new in beams if new[-1:] == [END_ID]]
        for total, new in beams:
            if new[-1:] != [END_ID]:
                logs = np.log(softmax(trained[3]([[*ids, *new]])[0, -1].numpy().astype(np.float64)))
                options += [(total + logs[t], [*new, t]) for t in range(END_ID, len(logs))]
        beams = sorted(options, reverse=True)[:2]
    found = beam.generate([prompt, "one"], samples=2)[0]
    for each, (total, new) in zip(found, beams, strict=True):
        assert list(each.ids) == new and each.log_probability == pytest.approx(total, rel=1e-3)
        assert each.reason == ("end" if new[-1] == END_ID else "context")


@pytest.mark.parametrize("samples", [1, 2])
def test_pieces_that_are_streamed_are_the_text(sampler, samples):
    pieces = {}
    results = sampler.generate(
        PROMPTS, samples, stream=lambda prompt, sample, piece: pieces.setdefault((prompt, sample), []).append(piece)
    )
    plain = sampler.generate(PROMPTS, samples)
    for prompt, found in enumerate(results):
        for sample, each in enumerate(found):
            told = pieces.get((prompt, sample), [])
            assert "".join(told) == each.text == plain[prompt][sample].text and all(told)
    assert max(map(len, pieces.values())) > 1


def test_a_stop_string_ends_the_text(greedy):
    (whole,) = greedy.generate(["one"])[0]
    stop = whole.text[9:11]
    (found,) = greedy.generate(["one"], stop=[stop, "never"])[0]
    place = whole.text.index(stop)
    assert (found.text, found.reason) == (whole.text[:place], "stop")
    assert found.ids == whole.ids[: place + 2] and len(found.token_log_probabilities) == place + 2
    assert greedy.generate(["one"], stop=["never"])[0] == [whole]


def growing(text, stops=(), limit=100):
    """Return a text of bytes, a function that adds some more, and the pieces that it tells."""
    pieces = []
    grown = GrowingText(0, 0, Bytes().encode(["p"])[0].tolist(), Bytes().decode, limit, stops, pieces.append)
    content = Bytes().encode([text])[0]

    def add(count):
        new = grown.new
        grown.add(content[new : new + count], np.full(len(content[new : new + count]), -1.0))

    return grown, add, pieces


def test_no_piece_ends_within_a_character():
    text = "aé€😀z"
    grown, add, pieces = growing(text)
    for _ in text.encode():
        add(1)
    assert pieces == list(text) and grown.finish().text == text
    grown, add, pieces = growing("a😀")
    add(3)  # and the rest never comes
    assert pieces == ["a"]
    assert grown.finish().text == "a\ufffd" == "".join(pieces)


def test_what_may_be_a_stop_string_is_held_back():
    grown, add, pieces = growing("aab-abab!aba", ["abab!", "zz"])
    told = []
    for _ in range(9):
        add(1)
        told.append("".join(pieces))
    assert told == ["", "a", "a", *["aab-"] * 6]
    found = grown.finish()
    assert (found.text, found.reason, len(found.ids)) == ("aab-", "stop", 9)
    grown, add, pieces = growing("one two three", ["two", "e t"])  # the first that comes counts
    add(13)
    assert (grown.finish().text, pieces) == ("on", ["on"])


def test_prompts_that_readers_should_know_something_of(greedy):
    assert greedy.warnings("seven seas") == []
    assert greedy.warnings("Öl é") == ["the vocabulary lacks 2 characters of the prompt"]
    # 41 tokens with the start token: a context of 16 begins at the 33rd, a multiple of 8.
    assert greedy.warnings(PROMPTS[2]) == [
        "the prompt has 41 tokens, and the model reads 16 at once; the last 9 are read"
    ]
    assert greedy.generate(["Öl \ud800"])[0][0].text  # read all the same


def test_what_is_asked_for_and_cannot_be(trained, greedy, sampler, tmp_path):
    for generator, samples, rule in ((greedy, 2, "from 1 to 1"), (sampler, 0, "at least 1")):
        with pytest.raises(ValueError, match=f"samples must be {rule}.*, got {samples}"):
            generator.generate(["one"], samples)
    for stop in ("ab", ["a", ""]):
        with pytest.raises(ValueError, match="stop must be a list of strings that are not empty"):
            greedy.generate(["one"], stop=stop)
    with pytest.raises(UserError, match=r"\[search\] min_p must be from 0 to 1, got 2.0"):
        greedy.with_search(min_p=2.0)
    run = save_run(tmp_path / "translator", spread_parts()).path
    with pytest.raises(UserError, match=r"is a run of the task 'translation'; use .*transformer translate$"):
        Generator.load(run)


def test_scores_are_those_of_the_scorer(trained, greedy):
    texts = ["one two three four five", "six"]
    assert greedy.score(texts) == TextScorer(*trained[:2]).score(texts)
    assert greedy.score(texts, end=True, stride=4) == TextScorer(*trained[:2], stride=4).score(texts, end=True)
