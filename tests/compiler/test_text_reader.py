"""Mistakes in the text of a graph have a place; nothing in it runs, hangs or takes more memory than its length."""

from __future__ import annotations

import re
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from netc.compiler.graph import Graph
from netc.compiler.text import print_graph
from netc.compiler.text_reader import MAX_WORDS, read_graph
from netc.grammar.source import SourceError

GOLDEN = Path(__file__).parents[1] / "passes" / "golden"
GRAPH = re.compile(r"(?ms)^(?:kernel \w+ \{\n.*?^\}\n)*graph \{\n.*?^\}\n")
PIECES = ["", "(", ")", "%1", "-", "'", "9" * 20, "\n", "None", "f0", "#", "=", ",", "\0", "é"]
X = "%0: f32[2] = input(name='x', shape=(2,), dtype='f32')"
BODY = "kernel f0 {\n  %0: f32[2] = input(name='in0', shape=(2,), dtype='f32')\n  return out0 = %0\n}\n"


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (f"graph {{\n  {X}", "2:55", "ends before a graph does"),
        ("graph {\n  nonsense\n}", "2:3", "a line is a node"),
        ("graph {\n  %0: f32[2] = tahn()\n}", "2:16", "no op"),
        ("graph {\n  %0: f32[3] = input(name='x', shape=(2,), dtype='f32')\n}", "2:7", "the text says"),
        ("graph {\n  %0: f32[2] = neg(%7)\n}", "2:20", "not there yet"),
        (f"graph {{\n  {X}\n  {X}\n}}", "3:3", "there already"),
        (f"graph {{\n  {X}\n  %1: f32[2] = input(name='x', shape=(2,), dtype='f32')\n"
         "  %2: f32[2] = add(%0, %1)\n  return y = %2\n}", "6:1", "two nodes for input x"),
        ("graph {\n  %0: f32[2] = input(name=__import__('os'), shape=(2,), dtype='f32')\n}", "2:27", "__import__"),
        ("graph {\n  %0: f32[2] = input(name=open, shape=(2,), dtype='f32')\n}", "2:27", "no value"),
        ("graph {\n  %0: f32[2] = input(name='x', shape=2, dtype='f32')\n}", "2:16", "cannot take these"),
        ("graph {\n  %0: f32[2] = input(name='x', shape=(2,), dtype='f32') extra\n}", "2:57", "nothing follows"),
        (f"graph {{\n  {X}\n  %1: (f32[2]) = host(%0, function='os', results=(TensorType((2,), 'f32'),))\n}}",
         "3:18", "which Python function"),
        (f"{BODY}graph {{\n  {X}\n  %1: (f32[2]) = kernel(%0, kind='map', body=f0, schedule=Blocks(rows='1'))\n}}",
         "7:59", "no Blocks: rows='1'"),
        (f"{BODY}graph {{\n  {X}\n  %1: (f32[2]) = kernel(%0, kind='map', body=f1, schedule=None)\n}}",
         "7:46", "no kernel above"),
        (f"graph {{\n  {X}\n}}\ngraph {{\n}}", "4:1", "ends with its graph"),
        ("what", "1:1", "a block begins"),
        ("", "1:1", "ends before a graph does"),
        ("graph {\n  %0: f32[2] = input(name='x, shape=(2,), dtype='f32')\n}", "2:50", "`,` is missing"),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place(text: str, place: str, message: str) -> None:
    with pytest.raises(SourceError, match=message) as caught:
        read_graph(text, "a.txt")
    assert str(caught.value.span) == f"a.txt:{place}"
    assert "^" in caught.value.render()


@pytest.mark.parametrize(
    "value",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "(1, " * 30_000 + ")" * 30_000,
        "1, " * (2 * MAX_WORDS),
        "9" * 100_000,
        "dense('f32', (1000000000000,), '00')",
        "Dim(-1, 'N')",
        "f(" * 50_000,
        " = neg(" * 50_000,
        "'" * 99_999,
        '"\\' * 50_000,
    ],
    ids=lambda value: value[:8],
)
def test_what_is_made_to_hurt_is_refused_at_once(value: str) -> None:
    began = time.perf_counter()
    with pytest.raises(SourceError):
        read_graph(f"graph {{\n  %0: f32[2] = const(value=({value}), shape=(2,), dtype='f32')\n}}")
    assert time.perf_counter() - began < 2.0


def graphs() -> list[str]:
    """The graphs of all expected texts, kernels included."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(GOLDEN.glob("*.txt"))]
    return [
        found[0]
        for text in texts
        for found in re.finditer(r"(?ms)^(?:kernel \w+ \{\n.*?^\}\n)*graph \{\n.*?^\}\n", text)
    ]


@pytest.mark.parametrize("text", graphs()[::7])
def test_graphs_read_back(text: str) -> None:
    assert print_graph(read_graph(text), comments=False) == text


@given(st.sampled_from(graphs()), st.data())
@settings(max_examples=150, deadline=None)
def test_a_damaged_text_is_a_graph_or_a_mistake(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text)))
    piece = data.draw(
        st.sampled_from(["", "(", ")", "%1", "-", "'", "9" * 20, "\n", "None", "f0", "#", "=", ",", "\0", "é"])
    )
    damaged = text[:at] + piece + text[at + data.draw(st.integers(0, 5)) :]
    with suppress(SourceError):
        assert isinstance(read_graph(damaged), Graph)
