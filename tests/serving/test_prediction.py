"""The server of predictions: the same as the library says, a reason for each bad request, and its page."""

import json

import pytest
from live_server import JSON, serving
from reference import randomised
from tiny_run import fine_tuning, masked_model, write_run

from transformer.inference.predictor import Predictor, described
from transformer.serving.config import ServeConfig
from transformer.serving.prediction_schemas import prediction_offer
from transformer.serving.prediction_service import PredictionService
from transformer.tasks import task_class

TEXTS = ["sun sea one", "moon", "river river sun two"]
MASKED = ["sun [MASK] one", "[MASK]", "river [MASK] sun [MASK]"]


@pytest.fixture(scope="module", params=["classification", "tagging", "question-answering", "masked-lm"])
def served(request, tmp_path_factory):
    """Return a predictor with random weights, and a server of it."""
    folder = tmp_path_factory.mktemp(request.param)
    config = masked_model(folder) if request.param == "masked-lm" else fine_tuning(folder, request.param)
    kind = task_class(request.param)
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    network = randomised(task.network("float32"))
    predictor = Predictor.load(write_run(folder / "run", config, task.vocabularies, network))
    service = PredictionService(predictor)
    service.warm_up()
    limits = {"max_sentences": 4, "max_characters": 60, "max_waiting": 8}
    offer = prediction_offer(ServeConfig(**limits), predictor, {"run": ["run"]})
    with serving(service.answer, offer=offer, **limits) as live:
        yield predictor, live


def post(live, body):
    status, _, answer = live.request("POST", "/predict", body if isinstance(body, str) else json.dumps(body), JSON)
    return status, answer


def texts_for(predictor):
    return MASKED if predictor.task.name == "masked-lm" else TEXTS


def test_it_says_what_the_library_says(served):
    predictor, live = served
    context = "sun sea moon river" if predictor.inputs == 2 else None
    asked = texts_for(predictor)
    inputs = [predictor.input_of(text, context, 1) for text in asked]
    found = predictor.predict([one if len(one) > 1 else one[0] for one in inputs])
    expected = [described(one, result) for one, result in zip(inputs, found, strict=True)]
    body = {"texts": asked} | ({"context": context} if context else {})
    status, answer = post(live, body)
    assert status == 200 and answer["predictions"] == json.loads(json.dumps(expected), parse_float=float)
    status, answer = post(live, {**body, "texts": asked[0]})
    assert status == 200 and len(answer["predictions"]) == 1


def test_requests_are_answered_together_as_alone(served):
    predictor, _ = served
    service = PredictionService(predictor)
    first, second, _ = texts_for(predictor)
    requests = [[(first, "one two sea")[: predictor.inputs]], [(second, "moon sun")[: predictor.inputs]] * 3]
    assert service.answer(None, requests) == [service.answer(None, [request])[0] for request in requests]


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("{", 400, "the body is not JSON"),
        ({}, 422, "texts: Field required"),
        ({"texts": []}, 422, "texts: List should have at least 1 item"),
        ({"texts": ["a"] * 5}, 422, "at most 4 are allowed"),
        ({"texts": ["a" * 61]}, 422, "has 61 characters, at most 60 are allowed"),
        ({"texts": ["a"], "context": "b" * 601}, 422, "has 601 characters, at most 600 are allowed"),
        ({"texts": ["a\0"]}, 422, "must not hold the character NUL"),
        ({"texts": ["a"], "beam_size": 1}, 422, "unknown field 'beam_size'; the fields are texts, context"),
        ({"texts": [1]}, 422, "Input should be a valid string"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(served, body, status, told):
    _, live = served
    found, answer = post(live, body)
    assert found == status and told in answer["error"]


def test_one_text_too_few_or_too_many_is_told(served):
    predictor, live = served
    if predictor.inputs == 2:
        assert post(live, {"texts": ["where is sea"]}) == (
            422,
            {
                "error": "text 1: this run reads two texts together, and no TAB divides them; write one, or give the "
                "second text as the context"
            },
        )
        assert post(live, {"texts": ["where is sea\tthe sea"]})[0] == 200
    else:
        status, answer = post(live, {"texts": ["[MASK]"], "context": "b"})
        assert status == 422 and answer["error"] == "this run reads one text at a time; leave the context out"


def test_tokens_at_masks_are_as_many_as_are_asked_for_within_limits(served):
    predictor, live = served
    if predictor.task.name != "masked-lm":
        assert post(live, {"texts": ["a"], "top_k": 1})[1]["error"].startswith("unknown field 'top_k'")
        return
    body = {"texts": MASKED[0], "top_k": 2}
    ((found,), (expected,)) = post(live, body)[1]["predictions"][0]["masks"], predictor.predict([MASKED[0]], 2)[0].masks
    assert [one["text"] for one in found["candidates"]] == [one.text for one in expected.candidates]
    for refused, told in (
        ({**body, "texts": "sun"}, "text 1: there is no [MASK] in 'sun'; write it where the model is to find a token"),
        ({**body, "top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ({**body, "top_k": 101}, "top_k: Input should be less than or equal to "),
        ({"texts": "[MASK]" * 10, "top_k": "2"}, "top_k: Input should be a valid integer"),
    ):
        status, answer = post(live, refused)
        assert status == 422 and told in answer["error"]


def test_health_pages_and_the_document_are_those_of_predictions(served):
    predictor, live = served
    status, _, health = live.request("GET", "/health")
    assert status == 200 and health["task"] == predictor.task.name and health["inputs"] == predictor.inputs
    assert health["labels"] == list(predictor.labels)
    status, headers, page = live.request("GET", "/")
    assert status == 200 and "<title>Predict</title>" in page and headers["content-type"].startswith("text/html")
    for path in ("/predict.js", "/predict.css", "/page.css", "/docs"):
        assert live.request("GET", path)[0] == 200, path
    _, _, document = live.request("GET", "/openapi.json")
    assert set(document["paths"]) == {"/predict", "/health"}
    assert live.request("POST", "/translate", "{}", JSON)[0] == 404


@pytest.mark.slow  # a browser is started
def test_the_page_marks_entities_answers_and_masks_and_shows_labels(served):
    pytest.importorskip("selenium")
    from browser import chromium, put, texts, wait
    from selenium.webdriver.common.by import By

    predictor, live = served
    hostile = "sea <b>sun</b> 😀 sun" + " [MASK]" * (predictor.task.name == "masked-lm")
    with chromium() as driver:
        driver.get(f"http://127.0.0.1:{live.port}/")
        wait(driver, lambda: predictor.task.name in driver.find_element(By.ID, "about").text)
        put(driver, hostile if predictor.inputs == 1 else "where is sea")
        if predictor.inputs == 2:
            driver.find_element(By.ID, "context").send_keys("sun <i>sea</i> moon")
        driver.find_element(By.ID, "predict").click()
        wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".card"))
        marks = [mark.text for mark in driver.find_elements(By.CSS_SELECTOR, "mark")]
        if predictor.task.name == "tagging":
            (found,) = predictor.predict([hostile])
            assert [f"{e.text}{e.kind}" for e in found.entities] == [mark.replace(" ", "") for mark in marks]
        elif predictor.inputs == 2:
            (found,) = predictor.predict([("where is sea", "sun <i>sea</i> moon")])
            assert marks == [found.text]
        elif predictor.task.name == "masked-lm":
            (found,) = predictor.predict([hostile])
            best = [candidate.text for candidate in found.masks[0].candidates]
            assert [mark.replace(" ", "") for mark in marks] == [f"[MASK]{best[0]}"]
            assert texts(driver.find_elements(By.CSS_SELECTOR, "dt")) == best
        else:
            (found,) = predictor.predict([hostile])
            assert texts(driver.find_elements(By.CSS_SELECTOR, "dt")) == list(found.probabilities)
            assert texts(driver.find_elements(By.CSS_SELECTOR, "dt.chosen")) == [found.label]
        assert not driver.find_elements(By.CSS_SELECTOR, ".card b, .card i")
        assert not [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]
