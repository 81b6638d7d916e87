"""The examples in docstrings run, and pages that are made from the registries are up to date."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

from netc.catalogue import page
from netc.grammar.format import format_file
from netc.grammar.parse import parse
from netc.grammar.source import Source

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", ["netc.api", "netc.checking"])
def test_docstrings(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    result = doctest.testmod(import_module(module))
    assert result.attempted >= 2
    assert result.failed == 0


def test_the_catalogue_is_that_of_the_registries() -> None:
    assert (ROOT / "docs" / "layers.md").read_text() == page(), "python -m netc.catalogue > docs/layers.md"


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/language.md", "docs/tutorial.md"])
def test_nets_in_pages_are_canonical(name: str) -> None:
    blocks = re.findall(r"^```\n(.*?)^```$", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    nets = [block for block in blocks if re.search(r"^(net|op|data|train) ", block, re.MULTILINE)]
    assert nets
    for text in nets:
        source = Source(name, text)
        parse(source)
        assert format_file(source) == text
