"""The texts of errors in files with broken syntax: `broken/NAME.net` and what is expected, `broken/NAME.txt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netc.grammar.parse import parse
from netc.grammar.source import Source, SourceErrors

FOLDER = Path(__file__).parent / "broken"
FILES = sorted(FOLDER.glob("*.net"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_error_text(path: Path, golden: Callable[[Path, str], None]) -> None:
    source = Source(path.name, path.read_text(encoding="utf-8"))
    with pytest.raises(SourceErrors) as caught:
        parse(source)
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_every_file_has_its_text() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}
    assert len(FILES) >= 25
