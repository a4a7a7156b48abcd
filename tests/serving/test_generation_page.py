"""The page of a language model in Chromium: texts as they come, what cannot be asked, and stopping."""

import json
import threading

import pytest
from browser import chromium, put, status, texts, until_status, wait
from live_server import serving
from selenium.webdriver.common.by import By

from transformer.config.settings import SearchConfig
from transformer.serving.batcher import TimedOut
from transformer.serving.config import ServeConfig
from transformer.serving.generation_schemas import generation_offer

PROMPT = "One <b>\nand"
ABOUT = {"run": ["tiny"], "context": 16}


def sample(text, reason="length"):
    tokens = list(text)
    return {
        "text": text,
        "reason": reason,
        "log_probability": -len(tokens) * 0.693147,
        "tokens": tokens,
        "token_log_probabilities": [-0.693147] * len(tokens),
    }


class Model:
    """Writes "two" and a line end to each sample, waits until it is released, and writes "three"."""

    def __init__(self):
        self.released, self.kinds, self.prompts = threading.Event(), [], []

    def __call__(self, kind, requests, deadline):
        self.kinds.append(kind)
        self.prompts.append(requests[0][0])
        for number in range(kind.samples):
            requests[0][0].tell(number, "two\n")
        while not self.released.wait(0.02):
            if not self.prompts[-1].wanted:
                raise TimedOut
        for number in range(kind.samples):
            requests[0][0].tell(number, "three")
        samples = [sample("two\nthree") for _ in range(kind.samples)]
        answer = {"texts": [{"prompt": self.prompts[-1].text, "samples": samples, "warnings": ["too long"]}]}
        return [json.dumps(answer).encode()]


@pytest.fixture(scope="module")
def driver():
    with chromium() as made:
        yield made


@pytest.fixture
def model():
    return Model()


@pytest.fixture
def page(driver, model):
    offer = generation_offer(ServeConfig(), SearchConfig(beam_size=1), ABOUT)
    with serving(model, offer=offer) as live:
        try:
            driver.get(f"http://127.0.0.1:{live.port}/")
            wait(driver, lambda: driver.find_element(By.ID, "run").text == "tiny")
            yield driver
        finally:
            model.released.set()
    assert driver.get_log("browser") == []


def fill(page, field, value):
    found = page.find_element(By.ID, field)
    found.clear()
    found.send_keys(value)


def test_texts_are_written_as_they_come(page, model):
    put(page, PROMPT)
    fill(page, "samples", "2")
    fill(page, "max-tokens", "7")
    page.find_element(By.ID, "generate").click()
    wait(page, lambda: texts(page.find_elements(By.CLASS_NAME, "written")) == ["two", "two"])
    model.released.set()
    until_status(page, r"Written in \d+\.\d s")
    assert texts(page.find_elements(By.CSS_SELECTOR, ".flow.text")) == [f"{PROMPT}two\nthree"] * 2
    assert texts(page.find_elements(By.CLASS_NAME, "prompt")) == [PROMPT] * 2
    note = "Cut at the longest length: raise Tokens for more. 0.50 mean probability of a token"
    assert texts(page.find_elements(By.CLASS_NAME, "caption")) == [note] * 2
    assert texts(page.find_elements(By.CSS_SELECTOR, ".warnings li")) == ["too long"] * 2
    (kind,) = model.kinds
    assert (kind.samples, kind.search.max_length, kind.search.temperature, kind.search.top_p) == (2, 7, 0.8, 0.95)


def test_stop_ends_the_work(page, model):
    put(page, PROMPT)
    page.find_element(By.ID, "generate").click()
    wait(page, lambda: texts(page.find_elements(By.CLASS_NAME, "written")) == ["two"])
    page.find_element(By.ID, "stop").click()
    until_status(page, "Stopped")
    wait(page, lambda: not model.prompts[0].wanted)
    assert texts(page.find_elements(By.CLASS_NAME, "written")) == ["two"]


def test_what_cannot_be_asked_for_is_told_before(page, model):
    for field, value, told in [
        ("max-tokens", "513", "Tokens must be a whole number from 1 to 512"),
        ("max-tokens", "1.5", "Tokens must be a whole number from 1 to 512"),
        ("temperature", "11", "Temperature must be a number from 0 to 10"),
        ("samples", "9", "Samples must be a whole number from 1 to 8"),
    ]:
        usual = page.find_element(By.ID, field).get_attribute("value")
        fill(page, field, value)
        assert status(page) == told
        fill(page, field, usual)
        assert status(page) == ""
    fill(page, "temperature", "0")
    fill(page, "samples", "2")
    assert status(page) == "Several samples need a temperature above 0"
    put(page, "a" * 1001)
    page.find_element(By.ID, "generate").click()
    assert status(page).startswith("The prompt is too long: 1,001 of 1,000 characters") and not model.kinds
