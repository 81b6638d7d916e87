"""The texts of errors in Caffe's files: `broken_caffe/NAME.prototxt`, and what is expected in `NAME.txt`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from netc.compiler.build import load
from netc.grammar.source import Source, SourceErrors

FOLDER = Path(__file__).parent / "broken_caffe"
FILES = sorted(FOLDER.glob("*.prototxt"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_error_text(path: Path, golden: Callable[[Path, str], None], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(FOLDER)
    with pytest.raises(SourceErrors) as caught:
        load(Source(path.name, path.read_text(encoding="utf-8")))
    golden(path.with_suffix(".txt"), f"{caught.value}\n")


def test_every_file_has_its_text() -> None:
    assert {path.stem for path in FOLDER.glob("*.txt")} == {path.stem for path in FILES}
    assert len(FILES) >= 10
