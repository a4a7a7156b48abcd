"""The server of vectors: the same as the library says, a reason for each bad request, and its page."""

import json

import numpy as np
import pytest
from live_server import JSON, serving
from reference import randomised
from tiny_run import contrastive, masked_model, write_run

from transformer.inference.embedder import Embedder
from transformer.serving.config import ServeConfig
from transformer.serving.embedding_schemas import embedding_offer
from transformer.serving.embedding_service import EmbeddingService
from transformer.serving.services import open_service
from transformer.tasks import task_class

TEXTS = ["sun sea one", "", "river river sun two"]


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Return an embedder with random weights, and a server of it."""
    folder = tmp_path_factory.mktemp("embed")
    config = contrastive(folder)
    kind = task_class("contrastive")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    network = randomised(task.network("float32"))
    embedder = Embedder.load(write_run(folder / "run", config, task.vocabularies, network))
    service = EmbeddingService(embedder)
    service.warm_up()
    limits = {"max_sentences": 4, "max_characters": 60, "max_waiting": 8}
    offer = embedding_offer(ServeConfig(**limits), "contrastive", embedder.size, {"run": ["run"]})
    with serving(service.answer, offer=offer, **limits) as live:
        yield embedder, live


def post(live, body):
    status, _, answer = live.request("POST", "/embed", body if isinstance(body, str) else json.dumps(body), JSON)
    return status, answer


def test_it_says_what_the_library_says(served):
    embedder, live = served
    status, answer = post(live, {"texts": TEXTS})
    found = embedder.embed_and_warn(TEXTS)
    assert status == 200 and [entry["text"] for entry in answer["embeddings"]] == TEXTS
    np.testing.assert_allclose([entry["vector"] for entry in answer["embeddings"]], found.vectors, atol=1e-6)
    assert [entry["warnings"] for entry in answer["embeddings"]] == [[], ["empty, so that its vector is 0"], []]
    status, answer = post(live, {"texts": TEXTS[0], "size": 4})
    assert status == 200 and len(answer["embeddings"][0]["vector"]) == 4


@pytest.mark.parametrize(
    ("body", "status", "told"),
    [
        ("{", 400, "the body is not JSON"),
        ({}, 422, "texts: Field required"),
        ({"texts": ["a"] * 5}, 422, "at most 4 are allowed"),
        ({"texts": ["a" * 61]}, 422, "has 61 characters, at most 60 are allowed"),
        ({"texts": ["a"], "size": 0}, 422, "greater than or equal to 1"),
        ({"texts": ["a"], "size": 17}, 422, "less than or equal to 16"),
        ({"texts": ["a"], "sise": 1}, 422, "unknown field 'sise'; the fields are texts, size"),
    ],
)
def test_bad_requests_are_refused_with_a_reason(served, body, status, told):
    found, answer = post(served[1], body)
    assert found == status and told in answer["error"]


def test_health_pages_and_the_document_are_those_of_vectors(served):
    _, live = served
    status, _, health = live.request("GET", "/health")
    assert status == 200 and (health["task"], health["size"]) == ("contrastive", 16)
    status, headers, page = live.request("GET", "/")
    assert status == 200 and "<title>Compare</title>" in page and headers["content-type"].startswith("text/html")
    for path in ("/embed.js", "/predict.css", "/page.css", "/docs"):
        assert live.request("GET", path)[0] == 200, path
    _, _, document = live.request("GET", "/openapi.json")
    assert set(document["paths"]) == {"/embed", "/health"}


@pytest.mark.slow  # a browser is started
def test_the_page_shows_the_likest_text_first(served):
    pytest.importorskip("selenium")
    from browser import chromium, texts, wait
    from selenium.webdriver.common.by import By

    embedder, live = served
    others = ["moon <b>sea</b>", "sun sea one", "river two"]
    with chromium() as driver:
        driver.get(f"http://127.0.0.1:{live.port}/")
        wait(driver, lambda: "16 numbers" in driver.find_element(By.ID, "about").text)
        driver.find_element(By.ID, "query").send_keys("sun sea")
        driver.find_element(By.ID, "texts").send_keys("\n".join(others))
        driver.find_element(By.ID, "compare").click()
        wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, ".card"))
        cosines = embedder.embed(others) @ embedder.embed(["sun sea"])[0]
        expected = [others[i] for i in np.argsort(-cosines)]
        assert texts(driver.find_elements(By.CSS_SELECTOR, "dt")) == expected
        assert not driver.find_elements(By.CSS_SELECTOR, ".card b")
        assert not [line for line in driver.get_log("browser") if line["level"] == "SEVERE"]


def test_a_masked_language_model_is_served_as_either(tmp_path):
    config = masked_model(tmp_path)
    kind = task_class("masked-lm")
    corpus = kind.read(config)
    task = kind(config, kind.learn(corpus, config), corpus.describe())
    run = str(write_run(tmp_path / "run", config, task.vocabularies, task.network("float32")))
    assert open_service([run], "best", {}, ServeConfig())[1].path == "/predict"
    assert open_service([run], "best", {}, ServeConfig(), embed=True)[1].path == "/embed"
