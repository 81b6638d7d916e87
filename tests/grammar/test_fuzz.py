"""No text makes anything but a tree or SourceErrors with places inside the text."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from netc.grammar.parse import MAX_ERRORS, parse
from netc.grammar.source import Source, SourceError, SourceErrors
from support.net_texts import net_texts

VOCABULARY = """
    as block const else false for if import in net none op return true input param loss metric output data train every
    x y relu conv N f32 and or not while elif layer 1 2.5 .5 1. 0x1 1e5 "a" 'a' " ( ) [ ] { }
    |> | @ + - * / ** < > == = : , . .. ; ! && -> # $ é
"""
WORDS = [*VOCABULARY.split(), "\t", "\r", "\n", "\n", "\n    ", "\0", "\N{NO-BREAK SPACE}", "\a"]

quick = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def errors_of(text: str) -> tuple[SourceError, ...]:
    try:
        parse(Source("a.net", text))
    except SourceErrors as caught:
        return caught.errors
    return ()


def check(text: str) -> None:
    errors = errors_of(text)
    assert len(errors) <= MAX_ERRORS + 10
    places = [(error.code, error.span.start) for error in errors]
    assert len(set(places)) == len(places), "an error is reported once"
    for error in errors:
        assert 0 <= error.span.start <= error.span.end <= len(text)
        assert error.message in error.render()


@settings(quick, max_examples=300)
@given(st.lists(st.sampled_from(WORDS), max_size=60))
def test_soup(words: list[str]) -> None:
    check(" ".join(words))


@settings(quick, max_examples=150)
@given(st.lists(st.sampled_from(WORDS), max_size=40))
def test_soup_in_a_net(words: list[str]) -> None:
    check("net n {\n" + "".join(words) + "\n}\ntrain n {\n" + " ".join(words) + "\n}\n")


@settings(quick, max_examples=150)
@given(st.text())
def test_any_text(text: str) -> None:
    check(text)


@settings(quick, max_examples=200)
@given(st.data())
def test_mutated(data: st.DataObject) -> None:
    text = data.draw(net_texts())
    for _ in range(data.draw(st.integers(1, 3))):
        start = data.draw(st.integers(0, len(text)))
        end = min(len(text), start + data.draw(st.integers(0, 4)))
        text = text[:start] + data.draw(st.sampled_from([*WORDS, ""])) + text[end:]
    check(text)
