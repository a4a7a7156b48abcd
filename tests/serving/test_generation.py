"""A language model over HTTP: the generator's texts, also as they come; limits; and clients that leave."""

import http.client
import json
import threading

import pytest
from live_server import JSON, serving, until
from reference import randomised
from tiny_run import language_model

from transformer.config.settings import SearchConfig
from transformer.data.tokenizers.exact import Characters
from transformer.data.tokenizers.vocabularies import TextVocabulary
from transformer.inference.generator import Generator
from transformer.serving.batcher import TimedOut
from transformer.serving.config import ServeConfig
from transformer.serving.generation_schemas import Kind, Prompt, generation_offer, search_of
from transformer.serving.generation_service import GenerationService
from transformer.system.errors import UserError
from transformer.tasks.language_model import LanguageModel

ABOUT = {"run": ["tiny"], "context": 16}
SAMPLED = {"temperature": 0.8, "top_k": 5, "seed": 7, "max_tokens": 20}


@pytest.fixture(scope="module")
def generator(tmp_path_factory):
    model = {"positions": "learned", "norm_first": True, "max_positions": 16}
    config = language_model(tmp_path_factory.mktemp("serving"), model=model)
    task = LanguageModel(config, TextVocabulary(Characters.of("abcdefghijklmnopqrstuvwxyz \n")), {})
    return Generator(task, randomised(task.network("float32")), SearchConfig(beam_size=1), compile_after=2**31)


@pytest.fixture(scope="module")
def live(generator):
    offer = generation_offer(ServeConfig(max_tokens=40), generator.search, ABOUT)
    answer = GenerationService(generator, ServeConfig()).answer
    with serving(answer, offer=offer, max_tokens=40, timeout=600.0) as live:
        yield live


def post(live, **body):
    status, headers, answer = live.request("POST", "/generate", json.dumps(body), JSON)
    return status, headers, answer


def test_answers_are_the_generators(live, generator):
    status, _, answer = post(live, prompts=["one", ""], **SAMPLED, samples=2)
    assert status == 200
    sampler = generator.with_search(temperature=0.8, top_k=5, seed=7, max_length=20)
    for prompt, entry, texts in zip(["one", ""], answer["texts"], sampler.generate(["one", ""], 2), strict=True):
        assert (entry["prompt"], entry["warnings"]) == (prompt, [])
        assert [sample["text"] for sample in entry["samples"]] == [text.text for text in texts]
        for sample, text in zip(entry["samples"], texts, strict=True):
            assert (sample["reason"], tuple(sample["tokens"])) == (text.reason, text.tokens)
            assert sum(sample["token_log_probabilities"]) == pytest.approx(sample["log_probability"], abs=1e-4)


def test_without_settings_the_likeliest_tokens_follow(live, generator):
    _, _, answer = post(live, prompts="one", max_tokens=9)
    assert answer["texts"][0]["samples"][0]["text"] == generator.with_search(max_length=9).generate(["one"])[0][0].text


def test_a_prompt_that_is_too_long_for_the_context_is_warned_of(live):
    _, _, answer = post(live, prompts="a prompt of many characters", max_tokens=1)
    assert answer["texts"][0]["warnings"] == [
        "the prompt has 28 tokens, and the model reads 16 at once; the last 12 are read"
    ]


def test_a_stream_is_the_answer_in_pieces(live):
    plain = post(live, prompts=["one", "two"], **SAMPLED)[2]
    status, headers, text = post(live, prompts=["one", "two"], **SAMPLED, stream=True)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    *pieces, last = map(json.loads, text.splitlines())
    assert last == plain
    for number, entry in enumerate(plain["texts"]):
        told = [piece["text"] for piece in pieces if (piece["prompt"], piece["sample"]) == (number, 0)]
        assert len(told) > 1 and "".join(told) == entry["samples"][0]["text"]


def test_the_health_report_tells_what_requests_get_that_name_nothing(live):
    _, _, health = live.request("GET", "/health")
    assert (health["task"], health["run"], health["context"]) == ("language-model", ["tiny"], 16)
    assert health["defaults"]["max_tokens"] == health["limits"]["max_tokens"] == 40


@pytest.mark.parametrize(
    "body, told",
    [
        ({}, "prompts: Field required"),
        ({"prompts": []}, "prompts: List should have at least 1 item"),
        ({"prompts": ["a"] * 65}, "prompts: has 65 prompts, at most 64 are allowed"),
        ({"prompts": "a" * 1001}, "prompts.0: has 1,001 characters, at most 1,000 are allowed"),
        ({"prompts": "a", "max_tokens": 41}, "max_tokens: Input should be less than or equal to 40"),
        ({"prompts": "a", "samples": 2}, "samples must be at most beam_size=1 without a temperature, got 2"),
        ({"prompts": ["a"] * 10, "samples": 8, "temperature": 1}, "asks for 80 texts, at most 64 are allowed"),
        ({"prompts": "a", "temperature": 11}, "temperature: Input should be less than or equal to 10"),
        ({"prompts": "a", "temperature": 1e-9}, "temperature must be 0 or from 0.001 to 10"),
        ({"prompts": "a", "top_p": 0}, "top_p: Input should be greater than or equal to"),
        ({"prompts": "a", "no_repeat_ngram": 17}, "no_repeat_ngram: Input should be less than or equal to 16"),
        ({"prompts": "a", "stop": ["a"] * 9}, "stop: has 9 strings, at most 8 are allowed"),
        ({"prompts": "a", "stop": ""}, "stop must not hold an empty string; leave it out to stop nowhere"),
        ({"prompts": "a", "length_penalty": 1}, "unknown field 'length_penalty'; the fields are prompts, max_tokens"),
        ({"prompts": "a", "stream": 1}, "stream: Input should be a valid boolean"),
    ],
)
def test_what_cannot_be_asked_for(live, body, told):
    status, _, answer = post(live, **body)
    assert status == 422 and told in answer["error"]


def test_requests_that_nothing_is_sampled_for_are_answered_together():
    offer = generation_offer(ServeConfig(), SearchConfig(beam_size=1), ABOUT)
    kinds = [offer.asked(offer.request(prompts=["a"], seed=seed, top_k=seed), None)[0] for seed in (1, 2)]
    assert kinds[0] == kinds[1]
    sampled = [offer.request(prompts=["a"], temperature=0.5, seed=seed) for seed in (1, 2)]
    assert search_of(sampled[0], SearchConfig()) != search_of(sampled[1], SearchConfig())


def test_few_sets_of_graphs_are_kept_whatever_clients_ask_for(generator):
    service = GenerationService(generator, ServeConfig())
    before = generator.traces
    for number in range(1, 41):
        search = SearchConfig(beam_size=1, temperature=number / 10, top_p=1 - number / 100, max_length=1)
        service.answer(Kind(search, 1, ()), [[Prompt("a")]])
    assert len(generator._continuers) <= 16 and generator.traces == before
    with_top_p = generator.with_search(temperature=1.0, top_p=0.5)
    assert with_top_p.traces - generator._searchers.searcher(with_top_p.search).traces <= 2


def test_texts_that_nobody_waits_for_any_more_are_given_up(generator):
    service = GenerationService(generator, ServeConfig())
    prompts = [Prompt("a", lambda *piece: None), Prompt("b")]
    kind = Kind(SearchConfig(beam_size=1, max_length=40), 1, ())
    prompts[0].wanted = False
    assert len(service.answer(kind, [prompts[:1], prompts[1:]])) == 2  # one is still wanted
    prompts[1].wanted = False
    with pytest.raises(TimedOut):
        service.answer(kind, [prompts[:1], prompts[1:]])
    with pytest.raises(TimedOut):
        service.answer(kind, [[Prompt("a")]], deadline=0.0)


def test_a_client_that_leaves_its_stream_ends_the_work():
    left, prompts = threading.Event(), []

    def answer(kind, requests, deadline):
        prompts.extend(requests[0])
        prompts[0].tell(0, "a piece")
        assert left.wait(30)
        until(lambda: not prompts[0].wanted)
        raise TimedOut

    offer = generation_offer(ServeConfig(), SearchConfig(beam_size=1), ABOUT)
    with serving(answer, offer=offer) as live:
        connection = http.client.HTTPConnection("127.0.0.1", live.port, timeout=30)
        connection.request("POST", "/generate", json.dumps({"prompts": "a", "stream": True}), JSON)
        reply = connection.getresponse()
        assert json.loads(reply.readline()) == {"prompt": 0, "sample": 0, "text": "a piece"}
        reply.close()
        connection.close()
        left.set()
        until(lambda: prompts and not prompts[0].wanted)


def test_a_failure_on_the_way_is_the_last_line():
    def answer(kind, requests, deadline):
        requests[0][0].tell(0, "a piece")
        raise ZeroDivisionError

    offer = generation_offer(ServeConfig(), SearchConfig(beam_size=1), ABOUT)
    with serving(answer, offer=offer) as live:
        status, _, text = post(live, prompts="a", stream=True)
        assert status == 200
        assert [json.loads(line) for line in text.splitlines()] == [
            {"prompt": 0, "sample": 0, "text": "a piece"},
            {"error": "the model failed; the server's log says why"},
        ]


def test_a_beam_beyond_the_limit_is_told_at_the_start(generator):
    with pytest.raises(UserError, match="beam_size of 4, above the limit of 2"):
        GenerationService(generator.with_search(beam_size=4), ServeConfig(max_beam=2))
