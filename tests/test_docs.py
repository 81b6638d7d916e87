"""The examples in docstrings run, links lead somewhere, and the nets in pages are as `netc fmt` writes them."""

from __future__ import annotations

import doctest
import re
from importlib import import_module
from pathlib import Path

import pytest

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


def test_links_between_pages_lead_somewhere() -> None:
    for path in [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]:
        prose = re.sub(r"^```.*?^```$|`[^`\n]*`", "", path.read_text(), flags=re.MULTILINE | re.DOTALL)
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", prose):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


@pytest.mark.parametrize("name", ["README.md", "docs/tutorial.md"])
def test_nets_in_pages_are_canonical(name: str) -> None:
    nets = re.findall(r"^```net\n(.*?)^```$", (ROOT / name).read_text(), re.MULTILINE | re.DOTALL)
    assert nets
    for text in nets:
        source = Source(name, text)
        parse(source)
        assert format_file(source) == text
