"""The page as a person uses it: Chromium uploads a picture, draws a digit, looks at a layer, is told what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.browser import chromium
from support.page_of_digits import digits, predictor, served

pytest.importorskip("flask", reason="the extra netc[web] is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium() as opened:
        found = predictor(tmp_path_factory.mktemp("page"))
        with served(found) as address:
            opened.address = address
            yield opened
        found.close()


def _wait(browser: Any, condition: Any) -> Any:
    from selenium.webdriver.support.ui import WebDriverWait

    return WebDriverWait(browser, 30).until(condition)


def _open(browser: Any) -> None:
    browser.get(browser.address)
    _wait(browser, lambda b: b.execute_script("return document.body.dataset.ready") == "yes")


def _classes(browser: Any) -> list[str]:
    return [row.text.split("\n")[0] for row in browser.find_elements("css selector", "#classes li")]


def _upload(browser: Any, file: Path) -> None:
    browser.find_element("css selector", "[data-way=file]").click()
    browser.find_element("id", "chosen").send_keys(str(file))


def test_a_picture_is_uploaded_and_a_layer_looked_at(browser: Any, tmp_path: Path) -> None:
    _open(browser)
    assert browser.title == "digits"
    assert "gray pictures of 28 x 28" in browser.find_element("id", "about").text
    data, label = digits(1)[0]
    (tmp_path / "digit.png").write_bytes(data)
    _upload(browser, tmp_path / "digit.png")
    classes = _wait(browser, _classes)
    assert len(classes) == 5
    assert classes[0] == str(label)
    assert " ms" in browser.find_element("id", "time").text
    assert browser.find_element("id", "shown").is_displayed()
    browser.find_element("css selector", "#layer option[value=conv1]").click()
    pictures = _wait(browser, lambda b: b.find_elements("css selector", "#channels img"))
    assert len(pictures) == 8
    loaded = "return [...document.images].every(one => one.complete && one.naturalWidth > 0)"
    assert _wait(browser, lambda b: b.execute_script(loaded))
    assert browser.get_log("browser") == []


def test_what_is_no_picture_is_said(browser: Any, tmp_path: Path) -> None:
    _open(browser)
    (tmp_path / "notes.png").write_text("no picture")
    _upload(browser, tmp_path / "notes.png")
    error = browser.find_element("id", "error")
    _wait(browser, lambda b: error.is_displayed())
    assert "not an image that can be read" in error.text
    assert _classes(browser) == []


def test_a_digit_is_drawn(browser: Any) -> None:
    """A stroke from top to bottom, off the middle, is a one."""
    from selenium.webdriver import ActionChains

    _open(browser)
    pad = browser.find_element("id", "pad")
    assert pad.is_displayed()  # a net of gray pictures begins with drawing
    browser.find_element("id", "draw-send").click()
    assert browser.find_element("id", "error").text == "draw something first"
    move = ActionChains(browser).move_to_element_with_offset(pad, -60, -110).click_and_hold()
    for _ in range(11):
        move = move.move_by_offset(0, 20)
    move.release().perform()
    browser.find_element("id", "draw-send").click()
    assert _wait(browser, _classes)[0] == "1"


def test_the_page_fits_a_telephone(browser: Any) -> None:
    browser.set_window_size(400, 800)
    _open(browser)
    assert browser.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    browser.set_window_size(1280, 900)
