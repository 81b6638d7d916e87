"""Places and the texts of errors."""

from __future__ import annotations

import pytest

from netc.grammar.source import Source, SourceError, SourceErrors, Span, nearest, suggest


def at(source: Source, text: str) -> Span:
    start = source.text.index(text)
    return Span(source, start, start + len(text))


def test_places() -> None:
    source = Source("a.net", "one\ntwo\r\n\nfour")
    span = at(source, "two")
    assert (span.file, span.line, span.column, str(span), span.text) == ("a.net", 2, 1, "a.net:2:1", "two")
    assert [source.line(number) for number in (1, 2, 3, 4)] == ["one", "two", "", "four"]
    assert str(source.span(len(source.text))) == "a.net:4:5"
    assert at(source, "one").to(at(source, "four")).text == source.text
    assert span == Span(source, 4, 7)
    assert len({span, Span(source, 4, 7), Span(Source("a.net", source.text), 4, 7)}) == 2
    assert repr(span) == "<a.net:2:1>"
    assert "14 characters" in repr(source)


def test_error_text() -> None:
    source = Source("lenet.net", "\n" * 13 + "    logits = features |> linear(clases: 10)\n")
    error = SourceError(
        "E201",
        "linear: `clases` is not a setting",
        at(source, "clases"),
        suggest("clases", ["classes"]),
        ["a note", "b"],
    )
    assert error.render() == (
        "lenet.net:14:33: error[E201]: linear: `clases` is not a setting\n"
        " 14 |     logits = features |> linear(clases: 10)\n"
        "    |                                 ^^^^^^ did you mean `classes`?\n"
        "    = a note\n"
        "    = b"
    )
    assert str(error) == error.render()


def test_severity() -> None:
    span = Source("a", "x").span()
    assert SourceError("W601", "m", span).severity == "warning"
    assert SourceError("W601", "m", span).render().startswith("a:1:1: warning[W601]: m")
    assert SourceError("E101", "m", span).severity == "error"
    assert SourceError("W602", "m", span, severity="note").render().startswith("a:1:1: note[W602]: m")


@pytest.mark.parametrize(
    ("text", "mark", "shown"),
    [
        ("\tx = é!", "!", " 1 |     x = é!\n   |          ^"),
        ("a = 漢字 b", "b", " 1 | a = 漢字 b\n   |          ^"),
        ("a = 漢字 b", "漢字", " 1 | a = 漢字 b\n   |     ^^^^"),
        ("a e\u0301 b", "b", " 1 | a e\u0301 b\n   |     ^"),
        ("a \x1b[31m b", "b", " 1 | a \ufffd[31m b\n   |         ^"),
        ("first (\n) x", "first (\n)", " 1 | first (\n   | ^^^^^^^"),
        ("end", "", " 1 | end\n   | ^"),
    ],
)
def test_carets_stand_under_the_text(text: str, mark: str, shown: str) -> None:
    source = Source("a", text)
    assert SourceError("E101", "m", at(source, mark)).render() == f"a:1:{text.index(mark) + 1}: error[E101]: m\n{shown}"


@pytest.mark.parametrize("position", [0, 100, 400, 995])
def test_long_lines_are_cut_around_the_caret(position: int) -> None:
    text = "." * position + "HERE" + "." * (996 - position)
    source = Source("a", text)
    _, shown, caret = SourceError("E101", "m", at(source, "HERE")).render().split("\n")
    assert len(shown) < 180
    assert shown[caret.index("^") : caret.rindex("^") + 1] in ("HERE", "HER…")


def test_errors_are_sorted_by_place() -> None:
    one, two = Source("a", "x\ny"), Source("b", "x")
    errors = [SourceError("E101", str(span), span) for span in (two.span(), one.span(2), one.span(0))]
    caught = SourceErrors(errors)
    assert [error.message for error in caught.errors] == ["a:1:1", "a:2:1", "b:1:1"]
    assert str(caught).count("error[E101]") == 3


def test_suggestions() -> None:
    assert suggest("kernal", ["kernel", "stride"]) == "did you mean `kernel`?"
    assert suggest("zzz", ["kernel", "stride"]) == ""
    assert nearest("n", ["T", "N"]) == "N"
