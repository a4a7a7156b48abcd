"""The server's pages in a real browser: what is typed, pointed at and moved to by keys; hostile texts stay texts."""

import json
import re
import shutil

import numpy as np
import pytest
from live_server import serving
from selenium import webdriver
from selenium.webdriver import ActionChains
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

HOSTILE = "<img src=x onerror=\"document.title='broken'\">&lt;b&gt;"


def hypothesis(text, tokens, attention, score=-0.5):
    return {"text": text, "tokens": tokens, "attention": attention, "score": score, "finished": attention is not None}


# Rows: the tokens and the end; columns: the start, the source tokens, the end.
DOG = [[0, 0.8, 0.2, 0], [0.1, 0.25, 0.6, 0.05], [0.4, 0, 0.2, 0.4]]
ANSWERS = {
    "um cão": {
        "source_tokens": ["▁um", "▁cão"],
        "hypotheses": [
            hypothesis("a dog", ["▁a", "▁dog"], DOG),
            hypothesis("one dog", ["▁one", "▁dog"], [[0, 0.9, 0.1, 0], *DOG[1:]], -0.75),
        ],
        "warnings": [],
    },
    "Um. Cão.": {
        "source_tokens": ["▁Um", ".", "[end]", "[start]", "▁C", "ão", "."],
        "hypotheses": [hypothesis("One. Dog.", ["▁One", ".", "[end]", "▁Dog", "."], np.eye(6, 9).tolist())],
        "warnings": [],
    },
    HOSTILE: {
        "source_tokens": ["▁" + HOSTILE],
        "hypotheses": [hypothesis(HOSTILE, ["▁" + HOSTILE], [[0.5, 0.5, 0], [0, 1, 0]])] * 2,
        "warnings": [HOSTILE],
    },
    "sem mapa": {"source_tokens": [], "hypotheses": [hypothesis("no map", [], None)], "warnings": ["too long"]},
    "كلب صغير": {
        "source_tokens": ["▁كلب", "▁صغير"],
        "hypotheses": [hypothesis("سگ کوچک", ["▁سگ", "▁کوچک"], DOG)],
        "warnings": [],
    },
}
ANSWERS = {source: {"source": source, **answer} for source, answer in ANSWERS.items()}


@pytest.fixture(scope="module")
def seen():
    """Requests as the server got them: kind and sentences."""
    return []


@pytest.fixture(scope="module")
def address(seen):
    def answer(kind, requests, deadline):
        seen.extend((kind, list(sentences)) for sentences in requests)
        return [json.dumps({"translations": [ANSWERS[s] for s in sentences]}).encode() for sentences in requests]

    with serving(answer) as live:
        yield f"http://127.0.0.1:{live.port}/"


@pytest.fixture(scope="module")
def driver():
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    chromedriver = shutil.which("chromedriver")
    if not browser or not chromedriver:
        pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    made = webdriver.Chrome(options=options, service=Service(chromedriver))
    yield made
    made.quit()


@pytest.fixture
def page(driver, address):
    """The page, loaded anew; at the end, the browser must have nothing to complain of."""
    driver.get(address)
    wait(driver, lambda: driver.find_element(By.ID, "languages").text == "Portuguese to English")
    yield driver
    assert driver.get_log("browser") == []


def wait(driver, condition):
    return WebDriverWait(driver, 30).until(lambda _: condition())


def type_text(page, *lines):
    page.find_element(By.ID, "text").send_keys("\n".join(lines))
    wait(page, lambda: len(page.find_elements(By.CLASS_NAME, "card")) == len(lines))


def tokens(page, side):
    return page.find_elements(By.CSS_SELECTOR, f".flow.{side} .token")


def weights(page, side):
    return [
        float(page.execute_script("return arguments[0].style.getPropertyValue('--weight')", token))
        for token in tokens(page, side)
    ]


def caption(page):
    return re.sub("[\u2068\u2069]", "", page.find_element(By.CLASS_NAME, "caption").text)  # marks of direction


def texts(elements):
    return [element.text for element in elements]


def test_what_is_typed_is_translated(page, seen):
    type_text(page, "um cão", "sem mapa")
    first, second = page.find_elements(By.CLASS_NAME, "card")
    assert first.find_element(By.CSS_SELECTOR, ".flow.source").text == "start um cão end"
    assert first.find_element(By.CSS_SELECTOR, ".flow.target").text == "a dog end"
    assert second.find_element(By.CSS_SELECTOR, ".flow.target").text == "no map"
    assert texts(second.find_elements(By.CSS_SELECTOR, ".warnings li")) == ["too long"]
    assert not second.find_elements(By.TAG_NAME, "details")
    kind, sentences = seen[-1]
    assert (kind.beam_size, kind.n_best, kind.attention, sentences) == (2, 2, True, ["um cão", "sem mapa"])
    assert page.find_element(By.CSS_SELECTOR, ".flow.source").get_attribute("lang") == "pt"


def test_pointing_at_a_token_shows_where_it_looks(page):
    type_text(page, "um cão")
    ActionChains(page).move_to_element(tokens(page, "target")[1]).perform()
    assert weights(page, "source") == DOG[1]
    assert caption(page) == "“dog” looks at “cão” 60 %, “um” 25 %, “start” 10 %, “end” 5 %"
    shades = [token.value_of_css_property("background-color") for token in tokens(page, "source")]
    assert len(set(shades)) == 4  # four weights, four shades
    ActionChains(page).move_to_element(tokens(page, "source")[1]).perform()
    assert weights(page, "target") == [0.8, 0.25, 0] and set(weights(page, "source")) == {0}
    assert caption(page) == "“um” is looked at by “a” 80 %, “dog” 25 %"


def test_the_map_holds_every_weight(page):
    type_text(page, "um cão")
    (table,) = page.find_elements(By.CSS_SELECTOR, "details table")
    assert texts(table.find_elements(By.CSS_SELECTOR, "thead th"))[1:] == ["start", "um", "cão", "end"]
    assert texts(table.find_elements(By.CSS_SELECTOR, "tbody th")) == ["a", "dog", "end"]
    rows = [texts(row.find_elements(By.TAG_NAME, "td")) for row in table.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert rows == [["", "80", "20", ""], ["10", "25", "60", "5"], ["40", "", "20", "40"]]
    cell = table.find_elements(By.CSS_SELECTOR, "tbody tr")[0].find_elements(By.TAG_NAME, "td")[1]
    ActionChains(page).scroll_to_element(cell).move_to_element(cell).perform()
    assert weights(page, "source") == DOG[0]
    assert table.find_element(By.CSS_SELECTOR, "tbody tr.active th").text == "a"
    assert table.find_element(By.CSS_SELECTOR, "thead th.active").text == "um"


def test_two_sentences_show_where_one_ends(page):
    type_text(page, "Um. Cão.")
    assert texts(tokens(page, "source")) == ["start", "Um", ".", "end", "start", "C", "ão", ".", "end"]
    assert texts(tokens(page, "target")) == ["One", ".", "end", "Dog", ".", "end"]
    # Nothing stands above the tokens: they read as the text does.
    assert texts(page.find_elements(By.CSS_SELECTOR, ".card .flow.target")) == ["One. end Dog. end"]


def test_another_hypothesis_can_be_chosen(page):
    type_text(page, "um cão")
    labels = page.find_elements(By.CSS_SELECTOR, "fieldset label")
    assert [label.text.split("\n") for label in labels] == [["a dog", "-0.500"], ["one dog", "-0.750"]]
    labels[1].click()
    assert page.find_element(By.CSS_SELECTOR, ".flow.target").text == "one dog end"
    ActionChains(page).move_to_element(tokens(page, "target")[0]).perform()
    assert weights(page, "source") == [0, 0.9, 0.1, 0]


def test_everything_can_be_reached_with_keys(page):
    text = page.find_element(By.ID, "text")
    text.send_keys("um cão", Keys.CONTROL, Keys.ENTER)
    wait(page, lambda: page.find_elements(By.CLASS_NAME, "card"))

    def press(key):
        ActionChains(page).send_keys(key).perform()
        return page.switch_to.active_element

    reached = [press(Keys.TAB) for _ in range(8)]
    assert [element.get_attribute("id") for element in reached[:2]] == ["n-best", "beam-size"]
    assert texts(reached[2:6]) == ["Translate", "start", "a", "Copy"]
    assert reached[6].get_attribute("type") == "radio" and reached[7].tag_name == "summary"
    page.execute_script("arguments[0].focus()", tokens(page, "target")[0])
    assert weights(page, "source") == DOG[0]
    assert press(Keys.ARROW_RIGHT).text == "dog" and weights(page, "source") == DOG[1]
    assert press(Keys.ARROW_RIGHT).text == press(Keys.ARROW_RIGHT).text == "end"
    assert press(Keys.ARROW_LEFT).text == "dog" and press(Keys.HOME).text == "a"


def test_text_from_right_to_left(page):
    type_text(page, "كلب صغير")
    for side in ("source", "target"):
        line = page.find_element(By.CSS_SELECTOR, f".flow.{side}")
        assert line.value_of_css_property("direction") == "rtl"
        first, second = tokens(page, side)[-3:-1]
        assert first.rect["x"] > second.rect["x"]
    assert page.find_element(By.TAG_NAME, "table").value_of_css_property("direction") == "rtl"
    page.execute_script("arguments[0].focus()", tokens(page, "target")[0])
    ActionChains(page).send_keys(Keys.ARROW_LEFT).perform()
    assert page.switch_to.active_element.text == "کوچک"


def test_hostile_texts_stay_texts(page):
    type_text(page, HOSTILE)
    card = page.find_element(By.CLASS_NAME, "card")
    assert card.find_element(By.CSS_SELECTOR, ".flow.target").text == HOSTILE + " end"
    assert card.find_element(By.CSS_SELECTOR, ".warnings li").text == HOSTILE
    ActionChains(page).move_to_element(tokens(page, "target")[0]).perform()
    assert HOSTILE in caption(page)
    assert not page.find_elements(By.CSS_SELECTOR, "img, b") and page.title == "Translate Portuguese to English"


def luminance(colour):
    """Return the relative luminance of an rgb() colour, after WCAG 2."""
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme, dark", [("light", False), ("dark", True)])
def test_texts_can_be_read_in_light_and_dark(page, scheme, dark):
    media = {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    type_text(page, "um cão")
    ground = luminance(page.find_element(By.CLASS_NAME, "card").value_of_css_property("background-color"))
    assert (ground < 0.1) == dark
    heat = page.execute_script("return getComputedStyle(document.documentElement).getPropertyValue('--heat')").strip()
    heat = luminance(" ".join(str(int(heat[place : place + 2], 16)) for place in (1, 3, 5)))
    for selector, grounds in ((".flow.target", (ground, heat)), (".caption", (ground,)), (".score", (ground,))):
        ink = luminance(page.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color"))
        for one in grounds:
            lighter, darker = max(ink, one), min(ink, one)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector  # what WCAG 2 asks of text
