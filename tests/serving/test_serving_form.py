"""The form of the server's page and its API page in a real browser: numbers, limits, failures in words, examples."""

import json
import shlex
import threading
import unicodedata

import pytest
from browser import (
    PHONE_WIDTH,
    answers_changed,
    chromium,
    entry,
    health_changed,
    hypothesis,
    open_page,
    put,
    status,
    texts,
    until_status,
    wait,
)
from live_server import serving, until
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow  # a browser is started, and one page after the other loaded and drawn
GONE = "The server does not answer. Your text stays here: press Translate when the server runs again."
STRANGER = (
    "What answered is not this server. Is the server running? Your text stays here: press the button to try again."
)


@pytest.fixture(scope="module")
def seen():
    """Requests as the server got them: kind and sentences."""
    return []


def answers(requests):
    """Return an answer to anything, of one token."""
    each = [[entry(s, ["▁" + s], [hypothesis("yes", ["▁yes"], [[0, 1, 0]] * 2)]) for s in list_] for list_ in requests]
    return [json.dumps({"translations": entries}).encode() for entries in each]


@pytest.fixture(scope="module")
def address(seen):
    def answer(kind, requests, deadline):
        seen.extend((kind, list(sentences)) for sentences in requests)
        return answers(requests)

    with serving(answer, max_sentences=64, max_characters=1000, max_beam=8, max_body=300_000) as live:
        yield f"http://127.0.0.1:{live.port}/"


@pytest.fixture(scope="module")
def driver():
    with chromium() as made:
        yield made


@pytest.fixture
def page(driver, address):
    """The page, loaded anew; at the end, the browser must have nothing to complain of."""
    driver.get_log("browser")
    open_page(driver, address)
    yield driver
    assert driver.get_log("browser") == []


def number(page, field, text=None):
    """Type into a number field, as a user does who selects what is in it; returns what is then in both."""
    if text is not None:
        page.find_element(By.ID, field).send_keys(Keys.CONTROL, "a", Keys.NULL, text)
    return [page.find_element(By.ID, name).get_attribute("value") for name in ("n-best", "beam-size")]


# Numbers


def test_a_beam_that_is_typed_leaves_the_hypotheses(page, seen):
    put(page, "olá")
    until_status(page, "Translated")
    assert number(page, "n-best", "3") == ["3", "2"]
    assert number(page, "beam-size", "20") == ["3", "20"]
    assert status(page) == "Beam must be a whole number from 1 to 8, not 20"
    asked = len(seen)
    page.find_element(By.ID, "translate").click()
    assert status(page) == "Beam must be a whole number from 1 to 8, not 20" and len(seen) == asked
    fields = [page.find_element(By.ID, name).get_attribute("aria-invalid") for name in ("text", "n-best", "beam-size")]
    assert fields == ["false", "false", "true"]
    assert number(page, "beam-size", "4") == ["3", "4"]
    until_status(page, "Translated in")
    assert (seen[-1][0].n_best, seen[-1][0].beam_size) == (3, 4)


@pytest.mark.parametrize("field, name", [("n-best", "Hypotheses"), ("beam-size", "Beam")])
def test_a_number_out_of_range_is_told_in_words(page, field, name):
    for typed in ("0", "-1", "2.5", "9", "1e9"):
        number(page, field, typed)
        assert status(page) == f"{name} must be a whole number from 1 to 8, not {typed}"
    number(page, field, Keys.DELETE)
    assert status(page) == f"{name} must be a whole number from 1 to 8"
    number(page, field, "8")
    assert status(page) == ""


def test_more_hypotheses_than_the_beam_holds_are_told_and_kept(page, seen):
    put(page, "olá")
    number(page, "beam-size", "1")
    assert number(page, "n-best", "8") == ["8", "1"]
    told = until_status(page, "Translated in .*only")
    assert told.endswith("; only 1 of 8 hypotheses: a beam of 1 holds no more")
    assert (seen[-1][0].n_best, seen[-1][0].beam_size) == (1, 1)


# Texts


TOO_MUCH = {
    "x" * 1199: "Line 1 is too long: 1,199 of 1,000 characters",
    "olá\n\n" + "x" * 1001: "Line 3 is too long: 1,001 of 1,000 characters",
    "x" * 1001 + "\n" + "y" * 2000: "Line 1 is too long: 1,001 of 1,000 characters; and 1 more line",
    "\n".join(["x" * 1001] * 3): "Line 1 is too long: 1,001 of 1,000 characters; and 2 more lines",
    "😀" * 1001: "Line 1 is too long: 1,001 of 1,000 characters",
    "olá\n" * 65: "Too many lines: 65 of 64",
}


def test_a_text_beyond_the_limits_is_told_before_it_is_sent(page, seen):
    asked = len(seen)
    for text, told in TOO_MUCH.items():
        put(page, text)
        assert status(page) == told and "wrong" in page.find_element(By.ID, "status").get_attribute("class")
        page.find_element(By.ID, "translate").click()
        assert status(page) == told and len(seen) == asked
    put(page, "olá")
    assert status(page) == ""
    until_status(page, "Translated in")


@pytest.mark.parametrize("text", ["  " + "😀" * 1000 + "  ", "\n\n" + "olá\n\n" * 64])
def test_a_text_at_the_limits_is_translated(page, seen, text):
    put(page, text)
    until_status(page, "Translated in")
    assert seen[-1][1] == [line.strip() for line in text.split("\n") if line.strip()]


def test_a_request_of_too_many_bytes_is_told(page):
    put(page, "\n".join(["\x01" * 1000] * 64))  # 6 bytes each in JSON, as \\u0001
    until_status(page, r"The text is too large: 384,\d\d\d of 300,000 bytes")


@pytest.mark.parametrize(
    "text, beam, told",
    [
        ("olá\n\n" + "x" * 1001, "2", "Line 3 is too long: 1,001 of 1,000 characters"),
        ("olá\n" * 65, "2", "Too many lines: 65 of 64"),
        ("olá", "20", "Beam must be a whole number from 1 to 8, not 20"),
        ("\n".join(["😀\x01" * 500] * 64), "2", r"The text is too large: 3\d\d,\d\d\d of 300,000 bytes"),
    ],
)
def test_what_only_the_server_knows_is_told_in_the_same_words(driver, address, text, beam, told):
    with health_changed(driver, limits={}):
        open_page(driver, address)
    number(driver, "beam-size", beam)
    put(driver, text)
    until_status(driver, told + "$")
    assert len(driver.get_log("browser")) == 1  # of the refusal


@pytest.mark.parametrize("limits", [None, {"max_beam": None, "max_characters": "many", "max_sentences": 0}])
def test_limits_that_are_no_numbers_are_none(driver, address, limits):
    with health_changed(driver, limits=limits):
        open_page(driver, address)
    number(driver, "beam-size", "0")
    assert status(driver) == "Beam must be a whole number of at least 1, not 0"
    number(driver, "beam-size", "2")
    put(driver, "olá")
    until_status(driver, "Translated in")


def test_characters_that_cannot_be_sent_do_no_harm(page, seen):
    put(page, "u\0m c\ud800o\n\0\n \u2028 \n\u202eolá\x07\x1b[31m")
    until_status(page, "Translated in")
    assert seen[-1][1] == ["um c\ufffdo", "\u202eolá\x07\x1b[31m"]


def test_an_empty_text_clears_the_page(page):
    put(page, "olá")
    until_status(page, "Translated in")
    put(page, " \n\0\n")
    wait(page, lambda: not page.find_elements(By.CLASS_NAME, "card"))
    assert status(page) == ""


# Failures


def test_a_busy_server_is_told(driver):
    begun, release = threading.Event(), threading.Event()

    def answer(kind, requests, deadline):
        begun.set()
        release.wait(30)
        return answers(requests)

    with serving(answer, max_sentences=1, max_waiting=1) as live:
        try:
            open_page(driver, f"http://127.0.0.1:{live.port}/")
            results = [live.begin({"sentences": "a"})]
            assert begun.wait(30)  # so that nothing waits
            results.append(live.begin({"sentences": "b"}))
            until(lambda: live.batcher.waiting == 1)
            put(driver, "olá")
            assert (
                until_status(driver, "The server") == "The server is busy: too much is waiting. Try again in 1 second."
            )
        finally:
            release.set()
        assert [result()[0] for result in results] == [200, 200]
        driver.find_element(By.ID, "translate").click()
        until_status(driver, "Translated in")
    driver.get_log("browser")


def test_a_server_that_is_gone_is_told_and_the_text_stays(driver):
    with serving(lambda kind, requests, deadline: answers(requests)) as live:
        open_page(driver, f"http://127.0.0.1:{live.port}/")
        put(driver, "olá")
        until_status(driver, "Translated in")
    driver.find_element(By.ID, "translate").click()
    assert until_status(driver, "The server") == GONE
    assert driver.find_element(By.ID, "text").get_attribute("value") == "olá"
    assert "stale" in driver.find_element(By.ID, "results").get_attribute("class")
    driver.get_log("browser")


def test_a_page_that_was_loaded_without_its_server_learns_of_it_later(driver, address):
    refuse = "name === 'health' && !asked++ ? Promise.reject(new TypeError()) : response"
    with answers_changed(driver, f"let asked = 0; const change = (name, response) => {refuse}"):
        driver.get(address)
        until_status(driver, "The server does not answer")
        put(driver, "olá")
        until_status(driver, "Translated in")
    assert driver.find_element(By.ID, "languages").text == "Portuguese to English"


@pytest.mark.parametrize(
    "status_, body", [(502, "<h1>Bad gateway</h1>"), (200, "<h1>Log in</h1>"), (200, "null"), (404, '{"error": 1}')]
)
def test_what_answers_in_the_servers_place_is_told(driver, address, body, status_):
    place = f"new Response({json.dumps(body)}, {{ status: {status_} }})"
    with answers_changed(driver, f"const change = (name, response) => name === 'translate' ? {place} : response"):
        open_page(driver, address)
        put(driver, "olá")
        assert until_status(driver, "What") == STRANGER


@pytest.mark.parametrize(
    "status_, error, told",
    [
        (503, "the server is stopping", "The server is stopping. Start it again, then press the button."),
        (503, "no answer within 60 s", "The server is busy: no answer within 60 s. Try again in 5 seconds."),
        (500, "the model failed; the log says why", "The server says: the model failed; the log says why"),
    ],
)
def test_a_failure_is_told_in_words(driver, address, status_, error, told):
    place = f"new Response({json.dumps(json.dumps({'error': error}))}, {{ status: {status_} }})"
    with answers_changed(driver, f"const change = (name, response) => name === 'translate' ? {place} : response"):
        open_page(driver, address)
        put(driver, "olá")
        assert until_status(driver, "The") == told


# Examples


def examples(page):
    return texts(page.find_elements(By.CSS_SELECTOR, "#examples button"))


def test_an_empty_page_offers_examples(page, seen):
    section = page.find_element(By.ID, "examples")
    assert texts(section.find_elements(By.TAG_NAME, "p")) == ["Type a text in Portuguese, or try an example:"]
    first, *others = section.find_elements(By.TAG_NAME, "button")
    assert len(others) >= 1 and first.text == "Onde fica a estação?" and first.get_attribute("lang") == "pt"
    first.send_keys(Keys.ENTER)
    until_status(page, "Translated in")
    assert page.find_element(By.ID, "text").get_attribute("value") == seen[-1][1][0] == "Onde fica a estação?"
    assert not section.is_displayed() and page.switch_to.active_element.get_attribute("id") == "text"
    page.find_element(By.ID, "text").send_keys(Keys.CONTROL, "a", Keys.NULL, Keys.DELETE)
    assert section.is_displayed()


@pytest.mark.parametrize(
    "code, name, example",
    [
        ("en", "English", "Where is the station?"),
        ("zh", "Chinese", "车站在哪里？"),
        ("zh_Hans", "Simplified Chinese", "车站在哪里？"),
        ("zh-TW", "Chinese (Taiwan)", "車站在哪裡？"),
        ("deu", "German", "Wo ist der Bahnhof?"),
        ("pt-BR", "Brazilian Portuguese", "Onde fica a estação?"),
        ("iw", "Hebrew", "איפה התחנה?"),
        ("da", "Danish", "mandag, tirsdag og onsdag"),  # the weekdays, as the browser knows them
        ("sw", "Swahili", "Jumatatu, Jumanne na Jumatano"),
    ],
)
def test_examples_are_in_the_models_language(driver, address, code, name, example):
    with health_changed(driver, source_language=code):
        open_page(driver, address)
    assert examples(driver)[0] == example
    assert driver.find_element(By.CSS_SELECTOR, "#examples p").text == f"Type a text in {name}, or try an example:"
    assert driver.find_element(By.ID, "languages").text == f"{name} to English"


@pytest.mark.parametrize(
    "source, target, asks, names",
    [
        ("", "", "Type a text.", ""),
        ("", "en", "Type a text.", "to English"),
        (None, None, "Type a text.", ""),
        ("no code <b>", "", "Type a text in no code <b>.", "from no code <b>"),
        ("x-", "\0", "Type a text in x-.", "x- to \0"),
        ("a" * 300, "en", f"Type a text in {'a' * 300}.", f"{'a' * 300} to English"),
    ],
)
def test_a_language_that_is_none_has_no_examples(driver, address, source, target, asks, names):
    with health_changed(driver, source_language=source, target_language=target, run=["<b>\udcff", "x" * 999]):
        open_page(driver, address)
    assert driver.find_element(By.ID, "examples").text == asks and not examples(driver)
    assert driver.find_element(By.ID, "languages").text == names
    assert driver.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    put(driver, "olá")
    until_status(driver, "Translated in")
    assert driver.get_log("browser") == []


SCRIPTS = {
    "ar": "ARABIC",
    "fa": "ARABIC",
    "he": "HEBREW",
    "hi": "DEVANAGARI",
    "ja": "HIRAGANA",
    "ko": "HANGUL",
    "ru": "CYRILLIC",
    "uk": "CYRILLIC",
    "zh": "CJK",
    "zh-Hant": "CJK",
}


def test_examples_are_sentences_in_the_script_of_their_language(page):
    script = "const [done] = arguments; import('./languages.js').then(({ examplesIn }) => done(examplesIn(%s)))"
    for code in ("ar cs de en es fa fr he hi id it ja ko nl pl pt ru sv tr uk vi zh zh-Hant").split():
        found = page.execute_async_script(script % json.dumps(code))
        assert len(found) == 3, code
        for sentence in found:
            assert unicodedata.category(sentence[-1]) == "Po" and sentence == sentence.strip(), sentence
            letters = [unicodedata.name(c) for c in sentence if unicodedata.category(c)[0] == "L"]
            assert any(name.startswith(SCRIPTS.get(code, "LATIN")) for name in letters), sentence
            if code not in SCRIPTS:
                assert all(name.startswith(("LATIN", "FEMININE")) for name in letters), sentence


# The API's page


def test_the_api_is_documented_without_anything_from_elsewhere(driver, address):
    driver.get_log("browser")
    driver.get(address + "docs")
    wait(driver, lambda: "POST /translate" in texts(driver.find_elements(By.TAG_NAME, "h2")))
    text = driver.find_element(By.ID, "docs").text
    for told in ("n_best", "at least 1, at most 8", "GET /health", "TranslationAnswer", "the body is too large"):
        assert told in text
    assert driver.get_log("browser") == []
    loaded = driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    assert len(loaded) >= 3 and all(name.startswith(address) for name in loaded)


@pytest.mark.parametrize(
    "code, sentences",
    [
        ("pt", ["Onde fica a estação?", "Minha irmã está lendo um livro."]),
        ("it", ["Dov'è la stazione?", "Mia sorella legge un libro."]),  # with what ends a shell's quotes
        ("", ["A dog runs.", "Two people are talking."]),  # the document's own
    ],
)
def test_the_example_of_the_api_is_in_the_models_language(driver, address, code, sentences):
    with health_changed(driver, source_language=code):
        driver.get(address + "docs")
        wait(driver, lambda: driver.find_elements(By.TAG_NAME, "pre"))
    command = shlex.split(driver.find_element(By.TAG_NAME, "pre").text)
    assert command[:2] == ["curl", address + "translate"]
    assert json.loads(command[command.index("-d") + 1]) == {"sentences": sentences}
    assert "Content-Type: application/json" in command


def test_the_pages_fit_a_phone(address):
    with chromium(phone=True) as driver:
        for path in ("docs", ""):
            driver.get(address + path)
            wait(driver, lambda: driver.find_elements(By.CSS_SELECTOR, "pre, #examples button"))
            assert driver.execute_script("return document.documentElement.scrollWidth") == PHONE_WIDTH
        driver.get(address + "docs")
        wait(driver, lambda: driver.find_elements(By.TAG_NAME, "td"))
        right = (
            "return Math.max(...[...document.querySelectorAll('.docs *')].map((e) => e.getBoundingClientRect().right))"
        )
        assert driver.execute_script(right) <= PHONE_WIDTH
        # Each value stands beside its column's name, since the row of names is not shown.
        heads = "return [...document.querySelectorAll('.docs tr:nth-child(1) td')].slice(0, 5).map((cell) => "
        heads += "getComputedStyle(cell, '::before').content)"
        names = [json.loads(content) for content in driver.execute_script(heads)]
        assert names == ["field", "type", "limits", "default", "meaning"]
