"""The texts of errors in files that parse but make no sense: `broken/NAME.net`, and what is expected in `NAME.txt`."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest

from netc.compiler.build import load
from netc.grammar.source import Source, SourceErrors

FOLDER = Path(__file__).parent / "broken"
FILES = sorted(FOLDER.glob("*.net"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_error_text(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    begin = time.process_time()
    with pytest.raises(SourceErrors) as caught:
        load(Source(path.name, path.read_text(encoding="utf-8")))
    assert time.process_time() - begin < 20
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_every_file_has_its_text() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}
    assert len(FILES) >= 45
