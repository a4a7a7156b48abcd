"""Chromium without a window, and what tests of the server's pages share."""

import contextlib
import json
import re
import shutil

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

# Without a screen, Chromium believes that nothing can point: here a mouse can.
MOUSE = "--blink-settings=primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"
PHONE_WIDTH = 360  # CSS pixels, of many phones


@contextlib.contextmanager
def chromium(phone=False):
    """Give a browser of 1000 pixels with a mouse, or a phone of 360; skips the test where none is installed."""
    names = ("chromium", "chromium-browser", "google-chrome", "chrome")
    browser = next(filter(None, map(shutil.which, names)), None)
    chromedriver = shutil.which("chromedriver")
    if not browser or not chromedriver:
        pytest.skip("needs Chromium and its driver; on Debian: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = browser
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1000,900", MOUSE):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(chromedriver))
    try:
        if phone:
            size = {"width": PHONE_WIDTH, "height": 740, "deviceScaleFactor": 1, "mobile": True}
            driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
            driver.execute_cdp_cmd("Emulation.setTouchEmulationEnabled", {"enabled": True})
        yield driver
    finally:
        driver.quit()


def wait(driver, condition):
    """Wait until a condition holds, which it does soon; the seconds only bound a failure."""
    return WebDriverWait(driver, 30).until(lambda _: condition())


def open_page(driver, address):
    """Load the page, which then knows its server."""
    driver.get(address)
    wait(driver, lambda: driver.find_element(By.ID, "examples").text)


def texts(elements):
    """Return what is to be read in elements."""
    return [element.text for element in elements]


def put(driver, text):
    """Put a text into the page at once, as pasting does; also what no key types."""
    script = "const [field, text] = arguments; field.value = JSON.parse(text); field.dispatchEvent(new Event('input', "
    script += "{ bubbles: true }))"
    driver.execute_script(script, driver.find_element(By.ID, "text"), json.dumps(text))


def status(driver):
    """Return what the page says."""
    return driver.find_element(By.ID, "status").text


def until_status(driver, pattern):
    """Wait until the page says what matches from the beginning on; returns it."""
    wait(driver, lambda: re.match(pattern, status(driver)))
    return status(driver)


@contextlib.contextmanager
def answers_changed(driver, script):
    """Change what the page gets: `change(name, response)` of the script returns what takes a response's place."""
    source = (
        "{ const real = window.fetch; " + script + "; window.fetch = async (name, ...rest) => "
        "change(name, await real(name, ...rest)); }"
    )
    made = driver.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": source})
    try:
        yield
    finally:
        driver.execute_cdp_cmd("Page.removeScriptToEvaluateOnNewDocument", made)


def health_changed(driver, **changes):
    """Change what the page learns of its server."""
    return answers_changed(
        driver,
        f"const changes = {json.dumps(changes)}; const change = async (name, response) => name !== 'health' ? response "
        ": new Response(JSON.stringify({ ...(await response.json()), ...changes }))",
    )


def hypothesis(text, tokens, attention, score=-0.5):
    """Return a hypothesis as the server writes it, so far as the page reads it."""
    return {"text": text, "tokens": tokens, "attention": attention, "score": score, "finished": attention is not None}


def entry(source, source_tokens, hypotheses, warnings=()):
    """Return the translation of a sentence as the server writes it."""
    return {"source": source, "source_tokens": source_tokens, "hypotheses": hypotheses, "warnings": list(warnings)}
