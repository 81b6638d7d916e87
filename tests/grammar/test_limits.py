"""Deep, large and odd inputs: errors, never a crash or a hang."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from netc.grammar import tree
from netc.grammar.parse import MAX_ERRORS, MAX_SIZE, parse, read_source
from netc.grammar.source import Source, SourceError, SourceErrors, UserError


def codes(text: str) -> list[str]:
    with pytest.raises(SourceErrors) as caught:
        parse(Source("a.net", text))
    return [error.code for error in caught.value.errors]


@pytest.mark.parametrize(
    "text",
    [
        "const a = " + "(" * 50_000,
        "const a = " + "[" * 101 + "]" * 101,
        "const a = " + "-" * 5_000 + "1",
        "const a = 1" + " + 1" * 5_000,
        "const a = 1" + " ** 1" * 5_000,
        "const a = " + "f(" * 200 + ")" * 200,
        "net n { " + "if a { " * 3_000 + "x = y" + " }" * 3_000 + " }",
    ],
    ids=["parentheses", "lists", "signs", "sum", "powers", "calls", "bodies"],
)
def test_too_deep(text: str) -> None:
    assert codes(text) == ["E501"]


@pytest.mark.parametrize(
    "value",
    ["(" * tree.MAX_DEPTH + "1" + ")" * tree.MAX_DEPTH, "[" * 98 + "]" * 98, "1" + " + 1" * 97],
    ids=["parentheses", "lists", "sum"],
)
def test_as_deep_as_allowed(value: str) -> None:
    """What reads trees by recursion can read these too."""
    file = parse(Source("a", f"const a = {value}"))
    assert hash(file) == hash(parse(Source("a", f"const a = {value}")))


def test_long_chains_are_flat() -> None:
    file = parse(Source("a", "net n { x = x" + " |> relu" * 3_000 + " }"))
    assert len(tree.children(tree.children(tree.children(tree.children(file)[0])[1])[1])) == 3_001


def test_too_large() -> None:
    assert codes("#" * (MAX_SIZE + 1)) == ["E502"]
    parse(Source("a", "#" * MAX_SIZE))


def test_many_errors_end() -> None:
    assert len(codes("x\n" * 5_000)) == MAX_ERRORS


@pytest.mark.parametrize(
    "text",
    ["# # # #\n" * 20_000, "\n" * 100_000, "const a = (" + " #\n" * 30_000, '"' * 50_000, "}" * 50_000, "{" * 50_000],
)
def test_time_grows_with_size(text: str) -> None:
    begin = time.process_time()
    try:
        parse(Source("a", text))
    except SourceErrors as caught:
        caught.render()
    assert time.process_time() - begin < 10


def test_read_source(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    path.write_bytes("\ufeffconst ä".encode())
    assert read_source(path).text == "const ä"
    assert read_source(str(path)).path == str(path)


def test_read_source_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(b"\xef\xbb\xbfconst \xc3\xa4\n  \xff\n")
    with pytest.raises(SourceError) as caught:
        read_source(path)
    assert caught.value.code == "E102"
    assert str(caught.value.span) == f"{path}:2:3"
    assert "0xff" in caught.value.message


@pytest.mark.parametrize(
    ("data", "said"),
    [(b"net\0", "null byte at offset 3"), (b"\xff\xfen\0", "UTF-16"), (b"#" * (4 * MAX_SIZE + 1), "larger than")],
)
def test_read_source_no_text(tmp_path: Path, data: bytes, said: str) -> None:
    path = tmp_path / "a.net"
    path.write_bytes(data)
    with pytest.raises(UserError, match=said):
        read_source(path)


def test_read_source_no_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="No such file"):
        read_source(tmp_path / "a.net")
    with pytest.raises(UserError, match="directory"):
        read_source(tmp_path)
    with pytest.raises(UserError, match="is not a file name"):
        read_source("a\0b")
