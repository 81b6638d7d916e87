"""The documentation as a site: it builds strictly, is searchable, and has a page for each example."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from netc.catalogue import catalogue
from netc.report.elsewhere import table
from support.browser import chromium

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("the extra netc[docs] is not installed")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "-d", str(folder)]
    quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(command, cwd=ROOT, env=quiet, capture_output=True, text=True, check=False, timeout=300)
    assert built.returncode == 0, built.stdout + built.stderr
    return folder


def test_each_page_and_example_is_there(site: Path) -> None:
    pages = [path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")]
    assert len(pages) > 60
    assert not [page for page in pages if not (site / page).exists()]
    for which in catalogue().values():
        text = (site / f"gallery/{which.name}.html").read_text(encoding="utf-8")
        assert f"netc new {which.name}" in text


def test_nets_have_colours_and_fences_no_words_of_tests(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert '<span class="k">input</span>' in text
    assert "```" not in text
    assert "console run" not in (site / "tutorial.html").read_text(encoding="utf-8")


def test_the_site_asks_nothing_of_a_network(site: Path) -> None:
    """Search works from a disk, and no page loads a script or a font from elsewhere."""
    found = (site / "search/search_index.js").read_text(encoding="utf-8")
    index = json.loads(found[found.index("{") : found.rindex("}") + 1])
    assert {entry["location"].partition("#")[0] for entry in index["docs"]} >= {"language.html", "gallery/lenet.html"}
    for page in site.rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert 'src="http' not in text
        assert 'rel="stylesheet" href="http' not in text


def test_a_site_on_a_disk_can_be_searched(site: Path) -> None:
    with chromium() as browser:
        from selenium.webdriver.common.by import By
        from selenium.webdriver.support.ui import WebDriverWait

        browser.get((site / "gallery/lenet.html").as_uri())
        wait = WebDriverWait(browser, 30)
        box = wait.until(lambda b: next(iter(b.find_elements(By.CSS_SELECTOR, ".md-search__input")), None))
        wait.until(lambda _: box.is_displayed())
        box.click()
        box.send_keys("timeline of memory")
        found = wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".md-search-result__item h1"))
        assert "Memory" in [entry.text for entry in found]
        assert browser.get_log("browser") == []


def test_names_elsewhere_are_those_of_the_hints() -> None:
    assert (DOCS / "pytorch.md").read_text(encoding="utf-8").endswith(table())
