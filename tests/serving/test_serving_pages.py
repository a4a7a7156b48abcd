"""The server's pages in a real browser: what is typed, pointed at and moved to by keys; hostile texts stay texts."""

import json
import re

import numpy as np
import pytest
from browser import chromium, entry, hypothesis, open_page, put, texts, wait
from live_server import serving
from selenium.webdriver import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

pytestmark = pytest.mark.slow  # a browser is started, and one page after the other loaded and drawn
HOSTILE = "<img src=x onerror=\"document.title='broken'\">&lt;b&gt;"
LONG = "▁" + 40 * "Donaudampfschiff"

# Rows: the tokens and the end; columns: the start, the source tokens, the end.
DOG = [[0, 0.8, 0.2, 0], [0.1, 0.25, 0.6, 0.05], [0.4, 0, 0.2, 0.4]]
# Two words of two pieces each, a comma and a full stop, whose weights are easy to add and to halve.
PIECES = [
    [0, 0.6, 0.2, 0, 0.2, 0, 0, 0],
    [0.2, 0.2, 0.2, 0, 0.4, 0, 0, 0],
    [0, 0, 0, 0.8, 0, 0, 0, 0.2],
    [0, 0, 0, 0, 0.5, 0.5, 0, 0],
    [0, 0, 0, 0, 0, 0, 1, 0],
    [0, 0, 0, 0, 0, 0, 0, 1],
]
BYTES = np.zeros((10, 13))
BYTES[:3, 1:6] = 0.2  # of the first word to the first word
BYTES[3:, 6:11] = 0.2
ANSWERS = [
    entry(
        "um cão",
        ["▁um", "▁cão"],
        [
            hypothesis("a dog", ["▁a", "▁dog"], DOG),
            hypothesis("one dog", ["▁one", "▁dog"], [[0, 0.9, 0.1, 0], *DOG[1:]], -0.75),
        ],
    ),
    entry(
        "Um. Cão.",
        ["▁Um", ".", "[end]", "[start]", "▁C", "ão", "."],
        [hypothesis("One. Dog.", ["▁One", ".", "[end]", "▁Dog", "."], np.eye(6, 9).tolist())],
    ),
    entry(
        "Olá, mundo.",
        ["▁O", "lá", ",", "▁mun", "do", "."],
        [hypothesis("Hello, you.", ["▁Hel", "lo", ",", "▁you", "."], PIECES)],
    ),
    entry(HOSTILE, ["▁" + HOSTILE], [hypothesis(HOSTILE, ["▁" + HOSTILE], [[0.5, 0.5, 0], [0, 1, 0]])] * 2, [HOSTILE]),
    entry(
        "αβ 😀!",
        [*"▁ <0xCE> <0xB1> <0xCE> <0xB2> ▁ <0xF0> <0x9F> <0x98> <0x80> !".split()],
        [hypothesis("?", [*"▁ <0xCE> a ▁ <0x80> <0xE2> <0x82> <0xF0> b".split()], BYTES.tolist())],
    ),
    entry("sem mapa", [], [hypothesis("no map", [], None)], ["too long"]),
    entry("nada", ["▁nada"], [hypothesis("", [], [[0, 1, 0]])]),
    entry("كلب صغير", ["▁كلب", "▁صغير"], [hypothesis("سگ کوچک", ["▁سگ", "▁کوچک"], DOG)]),
    entry(
        "今天天气。好！",
        ["▁今", "天", "天气", "。", "[end]", "[start]", "▁", "好", "！"],
        [hypothesis("a", ["▁a"], np.eye(2, 11).tolist())],
    ),
    entry(LONG[1:], [LONG], [hypothesis(LONG[1:], [LONG], [[0, 1, 0], [0, 1, 0]])], [LONG]),
    entry("muito", ["▁m"] * 40, [hypothesis("many", ["▁n"] * 40, np.eye(41, 42).tolist())]),
]
ANSWERS = {found["source"]: found for found in ANSWERS}


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
    with chromium() as made:
        yield made


@pytest.fixture
def page(driver, address):
    """The page, loaded anew; at the end, the browser must have nothing to complain of."""
    open_page(driver, address)
    yield driver
    assert driver.get_log("browser") == []


@pytest.fixture
def phone(address):
    with chromium(phone=True) as driver:
        open_page(driver, address)
        yield driver
        assert driver.get_log("browser") == []


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
    text = page.find_element(By.CLASS_NAME, "caption").text.replace("\u00a0", " ")
    return re.sub("[\u2068\u2069]", "", text)  # marks of direction


def test_what_is_typed_is_translated(page, seen):
    type_text(page, "um cão", "sem mapa")
    first, second = page.find_elements(By.CLASS_NAME, "card")
    assert first.find_element(By.CSS_SELECTOR, ".flow.source").text == "um cão"
    assert first.find_element(By.CSS_SELECTOR, ".flow.target").text == "a dog"
    assert second.find_element(By.CSS_SELECTOR, ".flow.target").text == "no map"
    assert texts(second.find_elements(By.CSS_SELECTOR, ".warnings li")) == ["too long"]
    assert not second.find_elements(By.TAG_NAME, "details")
    kind, sentences = seen[-1]
    assert (kind.beam_size, kind.n_best, kind.attention, sentences) == (2, 2, True, ["um cão", "sem mapa"])
    assert page.find_element(By.CSS_SELECTOR, ".flow.source").get_attribute("lang") == "pt"


def test_pointing_at_a_token_shows_where_it_looks(page):
    type_text(page, "um cão")
    ActionChains(page).move_to_element(tokens(page, "target")[1]).perform()
    assert weights(page, "source") == [0.25, 0.6]
    assert caption(page) == "“dog” looks at “cão” 60 %, “um” 25 %, the start 10 %, the end 5 %"
    shades = [token.value_of_css_property("background-color") for token in tokens(page, "source")]
    assert len(set(shades)) == 2  # two weights, two shades
    ActionChains(page).move_to_element(tokens(page, "source")[0]).perform()
    assert weights(page, "target") == [0.8, 0.25] and set(weights(page, "source")) == {0}
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
    assert weights(page, "source") == [0.8, 0.2]
    assert table.find_element(By.CSS_SELECTOR, "tbody tr.active th").text == "a"
    assert table.find_element(By.CSS_SELECTOR, "thead th.active").text == "um"
    last = table.find_elements(By.CSS_SELECTOR, "tbody tr")[2].find_elements(By.TAG_NAME, "td")[0]
    ActionChains(page).move_to_element(last).perform()
    assert caption(page) == "The end looks at the start 40 %, the end 40 %, “cão” 20 %"


def test_start_and_end_are_only_in_the_map(page):
    type_text(page, "Um. Cão.")
    assert texts(tokens(page, "source")) == ["Um", ".", "Cão", "."]
    assert texts(tokens(page, "target")) == ["One", ".", "Dog", "."]
    # Nothing stands above the tokens: they read as the text does.
    assert texts(page.find_elements(By.CSS_SELECTOR, ".card .flow")) == ["Um. Cão.", "One. Dog."]
    heads = texts(page.find_elements(By.CSS_SELECTOR, "thead th"))[1:]
    assert heads == ["start", "Um", ".", "end", "start", "C", "ão", ".", "end"]
    assert texts(page.find_elements(By.CSS_SELECTOR, "tbody th")) == ["One", ".", "end", "Dog", ".", "end"]


def test_pieces_of_a_word_are_shown_together(page):
    type_text(page, "Olá, mundo.")
    assert texts(tokens(page, "source")) == ["Olá", ",", "mundo", "."]
    assert texts(tokens(page, "target")) == ["Hello", ",", "you", "."]
    ActionChains(page).move_to_element(tokens(page, "target")[0]).perform()
    # The mean over "Hel" and "lo" of the sum over "O" and "lá", and over "mun" and "do".
    assert weights(page, "source") == pytest.approx([(0.8 + 0.4) / 2, 0, (0.2 + 0.4) / 2, 0])
    assert caption(page) == "“Hello” looks at “Olá” 60 %, “mundo” 30 %, the start 10 %"
    assert texts(page.find_elements(By.CSS_SELECTOR, "tbody tr.active th")) == ["Hel", "lo"]
    ActionChains(page).move_to_element(tokens(page, "source")[2]).perform()
    assert weights(page, "target") == pytest.approx([0.3, 0, 1, 0])
    assert texts(page.find_elements(By.CSS_SELECTOR, "thead th.active")) == ["mun", "do"]
    cell = page.find_elements(By.CSS_SELECTOR, "tbody tr")[1].find_elements(By.TAG_NAME, "td")[2]
    ActionChains(page).scroll_to_element(cell).move_to_element(cell).perform()  # "lo" and "lá"
    active = page.find_elements(By.CSS_SELECTOR, ".token.active")
    assert texts(active) == ["Olá", "Hello"]


def test_words_are_found_where_no_spaces_are_written(page):
    type_text(page, "今天天气。好！")
    assert texts(tokens(page, "source")) == ["今天", "天气", "。", "好", "！"]
    assert page.find_element(By.CSS_SELECTOR, ".flow.source").text == "今天天气。好！"


def test_characters_in_bytes_are_shown_as_characters(page):
    type_text(page, "\u03b1\u03b2 \U0001f600!")
    assert page.find_element(By.CSS_SELECTOR, ".flow.source").text == "αβ 😀!"
    assert texts(tokens(page, "source")) == ["αβ", "😀", "!"]
    assert texts(tokens(page, "target")) == [
        *"\ufffda\ufffd\ufffd\ufffdb"
    ]  # characters cut off, or without a beginning
    ActionChains(page).move_to_element(tokens(page, "source")[0]).perform()
    assert caption(page) == "“αβ” is looked at by “\ufffd” 100 %, “a” 100 %"
    heads = texts(page.find_elements(By.CSS_SELECTOR, "thead th"))[1:]
    assert heads[:6] == ["start", "␣", "<0xCE>", "<0xB1>", "<0xCE>", "<0xB2>"]


def test_an_empty_translation_is_named(page):
    type_text(page, "nada")
    assert page.find_element(By.CSS_SELECTOR, ".flow.target").text == "(no words)"
    assert not tokens(page, "target")
    assert texts(page.find_elements(By.CSS_SELECTOR, "tbody th")) == ["end"]


def hidden_sides(page):
    classes = page.find_element(By.CLASS_NAME, "scroller").get_attribute("class").split()
    return {name for name in classes if name.startswith("more-")}


def test_a_map_shows_that_it_scrolls(page):
    type_text(page, "muito")
    inner = page.find_element(By.CLASS_NAME, "scroll")
    bar = "return arguments[0].offsetHeight - arguments[0].clientHeight"
    assert page.execute_script(bar, inner) >= 8  # pixels of a bar that is always there
    opacity = "return getComputedStyle(arguments[0].parentElement, arguments[1]).opacity"
    wait(page, lambda: hidden_sides(page) == {"more-after"})
    assert [page.execute_script(opacity, inner, side) for side in ("::before", "::after")] == ["0", "1"]
    page.execute_script("arguments[0].scrollLeft = 100", inner)
    wait(page, lambda: hidden_sides(page) == {"more-before", "more-after"})
    row = page.find_element(By.CSS_SELECTOR, "tbody th")
    assert abs(row.rect["x"] - inner.rect["x"]) < 2  # the names stay, and no cell shows beside them
    page.execute_script("arguments[0].scrollLeft = 100000", inner)
    wait(page, lambda: hidden_sides(page) == {"more-before"})
    assert page.execute_script("return document.documentElement.scrollWidth <= innerWidth")


def test_a_map_that_fits_has_no_shadows(page):
    type_text(page, "um cão")
    assert page.find_elements(By.TAG_NAME, "table") and not hidden_sides(page)


def test_what_to_do_with_a_mouse(page):
    type_text(page, "um cão")
    assert caption(page) == "Hover over a word, or move to one with Tab and arrow keys, to see where it looks."


def test_what_to_do_with_a_finger(phone):
    put(phone, "um cão\n" + LONG[1:])
    wait(phone, lambda: len(phone.find_elements(By.CLASS_NAME, "card")) == 2)
    assert caption(phone) == "Tap a word to see where it looks."
    tokens(phone, "target")[1].click()
    assert caption(phone) == "“dog” looks at “cão” 60 %, “um” 25 %, the start 10 %, the end 5 %"
    for summary in phone.find_elements(By.TAG_NAME, "summary"):
        summary.click()
    wait(phone, lambda: len(phone.find_elements(By.TAG_NAME, "table")) == 2)
    assert phone.execute_script("return document.documentElement.scrollWidth") == 360


def test_another_hypothesis_can_be_chosen(page):
    type_text(page, "um cão")
    labels = page.find_elements(By.CSS_SELECTOR, "fieldset label")
    assert [label.text.split("\n") for label in labels] == [["a dog", "-0.500"], ["one dog", "-0.750"]]
    labels[1].click()
    assert page.find_element(By.CSS_SELECTOR, ".flow.target").text == "one dog"
    ActionChains(page).move_to_element(tokens(page, "target")[0]).perform()
    assert weights(page, "source") == [0.9, 0.1]


def test_everything_can_be_reached_with_keys(page):
    text = page.find_element(By.ID, "text")
    text.send_keys("um cão", Keys.CONTROL, Keys.ENTER)
    wait(page, lambda: page.find_elements(By.CLASS_NAME, "card"))

    def press(key):
        ActionChains(page).send_keys(key).perform()
        return page.switch_to.active_element

    reached = [press(Keys.TAB) for _ in range(8)]
    assert [element.get_attribute("id") for element in reached[:2]] == ["n-best", "beam-size"]
    assert texts(reached[2:6]) == ["Translate", "um", "a", "Copy"]
    assert reached[6].get_attribute("type") == "radio" and reached[7].tag_name == "summary"
    page.execute_script("arguments[0].focus()", tokens(page, "target")[0])
    assert weights(page, "source") == [0.8, 0.2]
    assert press(Keys.ARROW_RIGHT).text == "dog" and weights(page, "source") == [0.25, 0.6]
    assert press(Keys.ARROW_RIGHT).text == "dog" and press(Keys.HOME).text == "a"
    assert press(Keys.END).text == "dog" and press(Keys.ARROW_LEFT).text == "a"


def test_text_from_right_to_left(page):
    type_text(page, "كلب صغير")
    for side in ("source", "target"):
        line = page.find_element(By.CSS_SELECTOR, f".flow.{side}")
        assert line.value_of_css_property("direction") == "rtl"
        first, second = tokens(page, side)
        assert first.rect["x"] > second.rect["x"]
    assert page.find_element(By.TAG_NAME, "table").value_of_css_property("direction") == "rtl"
    page.execute_script("arguments[0].focus()", tokens(page, "target")[0])
    ActionChains(page).send_keys(Keys.ARROW_LEFT).perform()
    assert page.switch_to.active_element.text == "کوچک"


def test_hostile_texts_stay_texts(page):
    type_text(page, HOSTILE)
    card = page.find_element(By.CLASS_NAME, "card")
    assert card.find_element(By.CSS_SELECTOR, ".flow.target").text == HOSTILE
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
    for selector, grounds in (
        (".flow.target", (ground, heat)),
        ("tbody th", (ground,)),
        ("th.edge", (ground,)),
        (".caption", (ground,)),
        (".score", (ground,)),
        ("#status", (ground,)),
        ("#status.wrong", (ground,)),
    ):
        if selector == "#status.wrong":
            page.find_element(By.ID, "beam-size").send_keys("9")
        ink = luminance(page.find_element(By.CSS_SELECTOR, selector).value_of_css_property("color"))
        for one in grounds:
            lighter, darker = max(ink, one), min(ink, one)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, selector  # what WCAG 2 asks of text
