"""Arguments against signatures: kinds of values, words, lists, defaults, and what is refused."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, Literal

import pytest

from netc.compiler import ops
from netc.compiler.build.calls import FrameReader
from netc.compiler.build.frame import Frame
from netc.compiler.build.module import Module
from netc.compiler.build.problems import Problems
from netc.compiler.graph import Node
from netc.compiler.layers.base import PerAxis
from netc.compiler.schema.schema import Argument, Bound, arguments_of, bind, signature_of
from netc.compiler.schema.settings import UNKNOWN, Mismatch, kind_of
from netc.compiler.schema.sources import Name
from netc.compiler.spec import Filler
from netc.grammar import tree
from netc.grammar.parse import parse
from netc.grammar.source import Source

X = ops.input_(name="x", shape=(2, 3), dtype="f32")


def arguments(text: str) -> tuple[list[Argument], FrameReader, Problems]:
    """The arguments written in a call, with `k = 3` bound."""
    source = Source("t", f"const k = 3\ndata d = f({text})\n")
    file = parse(source)
    problems = Problems()
    module = Module(source, file, folder=None)  # type: ignore[arg-type]
    frame = Frame(problems, module, "file")
    frame.bind(tree.Name(source.span(), "k"), 3)
    frame.bind(tree.Name(source.span(), "floor"), 7)
    frame.bind(tree.Name(source.span(), "x"), X)
    call = file.definitions[1]
    assert isinstance(call, tree.DataDef)
    assert isinstance(call.value, tree.Call)
    return arguments_of(call.value.args), FrameReader(frame), problems


def bound(function: Callable[..., Any], text: str, **options: Any) -> tuple[Bound, list[str]]:
    given, reader, problems = arguments(text)
    signature = inspect.signature(function, eval_str=True)
    found = bind("f", signature, given, reader.frame.module.source.span(), reader, **options)
    return found, [f"{error.code} {error.message}" for error in problems.errors]


def layer(
    x: Node,
    *more: Node,
    out: int,
    kernel: PerAxis = 1,
    ratio: float = 0.5,
    round: Literal["ceil", "floor"] = "ceil",
    at: tuple[int, ...] | None = None,
    flag: bool = True,
    global_: bool = False,
    name: str = "",
    fill: Filler | None = None,
    by: Node | None = None,
) -> None:
    """A layer with a setting of each kind."""


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("x, 4", {"out": 4}),
        ("x, 16 / 4, [k, 2.0], .5, floor", {"out": 4, "kernel": (3, 2), "ratio": 0.5, "round": "floor"}),
        ("x, out: k, kernel: 5, ratio: 1", {"out": 3, "kernel": 5, "ratio": 1.0}),
        ("x, 1, round: floor", {"out": 1, "round": "floor"}),
        ('x, 1, round: "floor"', {"out": 1, "round": "floor"}),
        ("x, 1, at: none", {"out": 1, "at": None}),
        ("x, 1, at: [1, 3]", {"out": 1, "at": (1, 3)}),
        ("x, 1, at: 3", {"out": 1, "at": (3,)}),
        ("x, 1, flag: false, global: true", {"out": 1, "flag": False, "global_": True}),
        ('x, 1, name: "a b"', {"out": 1, "name": "a b"}),
        ("x, 1, by: x", {"out": 1, "by": X}),
    ],
)
def test_values(text: str, values: dict[str, Any]) -> None:
    found, errors = bound(layer, text)
    assert errors == []
    assert found.ok
    assert found.values == {"x": X, **values}
    for name, value in values.items():
        assert type(found.values[name]) is type(value)


def test_tensors_come_first_and_fill_the_rest() -> None:
    found, errors = bound(layer, "x, x, x, 4")
    assert errors == []
    assert found.rest == [X, X]
    assert found.call(inspect.signature(layer)) == ([X, X, X], {"out": 4})


def test_fillers_are_read_off_the_text() -> None:
    found, errors = bound(layer, "x, 1, fill: gaussian(std: 1/100)")
    assert errors == []
    assert found.values["fill"] == Filler("gaussian", (("mean", 0.0), ("std", 0.01), ("sparse", -1)))
    assert bound(layer, "x, 1, fill: xavier")[0].values["fill"].name == "xavier"
    assert bound(layer, "x, 1, fill: none")[0].values["fill"] is None


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("x", "E204 f: `out` is missing"),
        ("4", "E207 f: `x` takes a tensor, not 4"),
        ("x, 7.5", "E207 f: `out` takes a whole number, not 7.5"),
        ("x, true", "E207 f: `out` takes a whole number, not true"),
        ('x, "a"', 'E207 f: `out` takes a whole number, not "a"'),
        ("x, 1, kernel: [1, 2.5]", "E207 f: `kernel` takes a whole number or a list of them, not [1, 2.5]"),
        ("x, 1, ratio: true", "E207 f: `ratio` takes a number, not true"),
        ("x, 1, round: roof", "E207 `roof` is none of the words taken here"),
        ('x, 1, round: "roof"', 'E207 f: `round` takes ceil or floor, not "roof"'),
        ("x, 1, flag: 1", "E207 f: `flag` takes true or false, not 1"),
        ("x, 1, name: 3", 'E207 f: `name` takes a text in "quotes", not 3'),
        ("x, 1, at: 0.5", "E207 f: `at` takes a list of whole numbers or none, not 0.5"),
        ("x, 1, fill: 3", "E207 f: `fill` takes a filler such as gaussian(std: 0.01) or none, not 3"),
        ("x, 1, by: 3", "E207 f: `by` takes a tensor or none, not 3"),
        ("x, 1, outt: 3", "E201 f: `outt` is not a setting"),
        ("x, 1, num_output: 3", "E201 f: `num_output` is not a setting"),
        ("x, 1, out: 3, out: 4", "E206 f: `out` is given twice"),
        ('x, 1, 2, 3, ceil, 1, true, true, "a", none, none, 9', "E205 f: 9 is one argument too many"),
        ("x, 1, fill: gausian", "E203 `gausian` is not a filler"),
        ("x, 9223372036854775807 * 1.0", "E207 f: `out` takes a whole number, and 9.223372037e+18 is too large"),
        ("x, 1, more: x", "E201 f: `more` is not a setting"),
    ],
)
def test_errors(text: str, error: str) -> None:
    found, errors = bound(layer, text)
    assert not found.ok
    assert errors[0] == error


def test_unknown_values_are_silent() -> None:
    found, errors = bound(layer, "y, z, kernel: w")
    assert not found.ok
    assert [error[:4] for error in errors] == ["E202", "E202", "E202"]


@pytest.mark.parametrize(("theirs", "ours"), [("units", "out"), ("out_channels", "out"), ("learning_rate", "lr")])
def test_hints_name_ours_for_other_frameworks(theirs: str, ours: str) -> None:
    given, reader, problems = arguments(f"x, {theirs}: 3")
    bind("f", inspect.signature(layer, eval_str=True), given, given[0].span, reader, others=["weight", "lr"])
    assert problems.errors[0].hint.startswith(f"did you mean `{ours}`?")


def test_hints_name_ours_for_caffes() -> None:
    given, reader, problems = arguments("x, num_output: 3, stret: 3")
    bind("f", inspect.signature(layer, eval_str=True), given, given[0].span, reader, others=["weight", "lr"])
    hints = [error.hint for error in problems.errors]
    takes = "f takes: out, kernel, ratio, round, at, flag, global, name, fill, by, weight, lr"
    assert hints == [f"did you mean `out`? {takes}", takes]


def test_sources_take_settings_by_name_only() -> None:
    def source(path: str = "", *, batch: int, columns: tuple[Name, ...] = ()) -> None:
        """Data."""

    found, errors = bound(source, '"here", batch: 3, columns: [a, "b"]', positional_settings=False)
    assert errors == []
    assert found.settings(inspect.signature(source)) == (("path", "here"), ("batch", 3), ("columns", ("a", "b")))
    assert bound(source, '"here", 3', positional_settings=False)[1][0].startswith("E205")


def test_optional_operands_take_what_fits() -> None:
    def largest(a: Node | float, b: Node | float | None = None, *, axis: int = 0) -> None:
        """Of two, or along an axis."""

    assert bound(largest, "x, 0")[0].values == {"a": X, "b": 0.0}
    assert bound(largest, "x, x, 2")[0].values == {"a": X, "b": X, "axis": 2}

    def masked(a: Node, by: Node | None = None, *, axis: int = 0) -> None:
        """With a mask or without."""

    assert bound(masked, "x, 2")[0].values == {"a": X, "axis": 2}


def test_kinds_say_what_they_take() -> None:
    assert kind_of(int | tuple[int, ...]).text == "a whole number or a list of them"
    assert kind_of(tuple[int, int]).text == "a list of 2 whole numbers"
    assert kind_of(float | None).text == "a number or none"
    with pytest.raises(Mismatch, match="not 3"):
        kind_of(tuple[int, int]).convert((1, 2, 3))
    assert kind_of(tuple[int, int]).convert((1.0, 2)) == (1, 2)
    assert repr(UNKNOWN) == "unknown"


def test_signatures_of_tables() -> None:
    assert list(signature_of(layer).parameters)[:2] == ["x", "more"]
