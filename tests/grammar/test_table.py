"""The kept tables of the parser, and that the grammar has no conflicts."""

from __future__ import annotations

import logging
from pathlib import Path

import lark
import pytest

from netc.grammar import table
from netc.grammar.actions import Actions
from netc.grammar.lexing import Newlines

TEXT = "const a = 1\nnet n { x = a |> f(3) }\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def made(count: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    """Counts how often tables are made from the grammar."""
    original = lark.Lark.__init__

    def init(self: lark.Lark, *args: object, **options: object) -> None:
        count.append(1)
        original(self, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(lark.Lark, "__init__", init)


def test_grammar_has_no_conflicts(caplog: pytest.LogCaptureFixture) -> None:
    lark.logger.setLevel(logging.DEBUG)
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        grammar = table.GRAMMAR.read_text(encoding="utf-8")
        lark.Lark(grammar, parser="lalr", lexer="contextual", postlex=Newlines(), keep_all_tokens=True, debug=True)
    assert "onflict" not in caplog.text


def test_conflicts_would_be_seen(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger=lark.logger.name):
        lark.Lark('start: e\ne: e "+" e | "x"', parser="lalr", debug=True)
    assert "onflict" in caplog.text


def test_tables_are_kept(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = table.load_parser(Actions()).parse(TEXT)
    (kept,) = cache.iterdir()
    count: list[int] = []
    made(count, monkeypatch)
    assert table.load_parser(Actions()).parse(TEXT) == first
    assert count == []
    assert [path.name for path in cache.iterdir()] == [kept.name]


@pytest.mark.parametrize("spoil", ["", "text", "cut", "pickle", "digest"])
def test_spoilt_tables_are_made_anew(cache: Path, monkeypatch: pytest.MonkeyPatch, spoil: str) -> None:
    first = table.load_parser(Actions()).parse(TEXT)
    (kept,) = cache.iterdir()
    whole = kept.read_bytes()
    kept.write_bytes(
        {
            "": b"",
            "text": b"no table",
            "cut": whole[: len(whole) // 2],
            "pickle": b"cos\nsystem\n(S'exit 1'\ntR.",
            "digest": whole.replace(b"[0,1]", b"[0,2]", 1) + b" ",
        }[spoil]
    )
    count: list[int] = []
    made(count, monkeypatch)
    assert table.load_parser(Actions()).parse(TEXT) == first
    assert count == [1]
    assert table.load_parser(Actions()).parse(TEXT) == first
    assert count == [1], "the new table is kept"


def test_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "file" / "cache"))
    assert table.load_parser(Actions()).parse(TEXT)


def test_half_written_files_vanish(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr("os.replace", fail)
    assert table.load_parser(Actions()).parse(TEXT)
    assert list(cache.iterdir()) == []


def test_without_a_chosen_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NETC_CACHE", raising=False)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda name: tmp_path / name)
    table.load_parser(Actions())
    assert len(list((tmp_path / "netc").iterdir())) == 1

    def no_home(_: str) -> Path:
        raise RuntimeError("no home folder")

    monkeypatch.setattr("platformdirs.user_cache_path", no_home)
    assert table.load_parser(Actions()).parse(TEXT)
