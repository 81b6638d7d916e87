"""Misuse of the API, systematically: every public function and method is given values of every kind for every argument.

What is raised is the API's own, of one line; what a mistake in a text gives may have several.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.api.compiled import Compiled, Step
from netc.api.features import Features
from netc.report.explained import Explained
from netc.report.overview import Summary
from netc.report.profiling import Report
from netc.report.shown import Shown
from netc.runtime.history import Curve, History
from netc.runtime.state import State
from netc.verification import Verdict

TEXT = """
net t {
    input x: f32[N, 2]
    y = x |> linear(1) as fc
    loss l = mean(y * y)
    output p = y + 0
}
data rows = npz("rows.npz", arrays: [x], batch: 2)
train t {
    from: rows
    solver: sgd(lr: 0.1)
    steps: 1
}
"""
X = np.ones((2, 2), np.float32)


class Unprintable:
    def __repr__(self) -> str:
        raise RuntimeError("no")


def wrong() -> list[Any]:
    """Values of many kinds; each is right for few arguments."""
    numbers: list[Any] = [5, -1, 0, 10**30, 1.5, float("nan"), 2j, np.float32(1.5), np.int64(-3), True, np.zeros(3)]
    texts: list[Any] = ["nonsense", "", "a\0b", "\x1b[2J", b"bytes", Path("nonsense"), Path("a\0b"), "two\nlines"]
    many: list[Any] = [[], (), {}, set(), [None], ["a", 5], {1: 2}, {"a": None}, {"a": [[1], [2, 3]]}, range(3)]
    return [*numbers, *texts, *many, None, object(), [object()], {"a": object()}, Unprintable(), int, (x for x in "ab")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a net, its data, and weights."""
    place = tmp_path_factory.mktemp("kinds")
    (place / "t.net").write_text(TEXT)
    np.savez(place / "rows.npz", x=np.ones((4, 2), np.float32))
    netc.compile(place / "t.net", dims={"N": 2}).save(place / "t.safetensors")
    return place


@pytest.fixture(autouse=True)
def _inside(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)


FILE: dict[str, Any] = {"path": "t.net"}
SIZED: dict[str, Any] = {**FILE, "dims": {"N": 2}}
WEIGHTS: dict[str, Any] = {**FILE, "weights": "t.safetensors"}
# Calls that are right, and quick: each argument in turn is replaced by another value.
FUNCTIONS: dict[str, dict[str, Any]] = {
    "check": FILE,
    "compile": SIZED,
    "explain": {"what": "t.net", "dims": {"N": 2}},
    "export": {**WEIGHTS, "folder": "out", "dims": {"N": 2}},
    "host_layer": {"forward": abs},
    "profile": {**SIZED, "seconds": 0.0},
    "run": {**WEIGHTS, "inputs": X},
    "show": SIZED,
    "summary": SIZED,
    "test": {**WEIGHTS, "data": X},
    "train": {**FILE, "quiet": True},
    "verify": {**FILE, "mode": "test", "budget": 0.0},
}
# Functions of the caller: what they raise, given what they are told, is theirs.
CALLED = ("notify", "told", "callbacks", "forward", "backward", "shapes")


def test_every_function_of_the_package_is_tried() -> None:
    functions = {name for name in netc.__all__ if inspect.isfunction(getattr(netc, name))}
    assert functions == FUNCTIONS.keys()


def tried(call: Callable[..., Any], right: dict[str, Any], name: str, value: Any) -> bool:
    """Whether an argument of a call is refused, as it must be where it is not taken."""
    try:
        call(**{**right, name: value})
    except netc.SourceErrors:
        return True
    except netc.UserError as error:
        said = str(error)
    else:
        return False
    assert said.isprintable(), (name, value)
    assert len(said) < 1000
    return True


@pytest.mark.parametrize("function", FUNCTIONS)
def test_functions_refuse_what_is_of_another_kind(function: str) -> None:
    call, right = getattr(netc, function), FUNCTIONS[function]
    call(**right)
    for name in inspect.signature(call).parameters:
        refused = [
            tried(call, right, name, value)
            for value in wrong()
            if not (value is int and name in CALLED and function != "host_layer")
        ]
        assert sum(refused) > len(refused) / 2, name


def objects() -> Iterator[tuple[type, Any]]:
    """What functions return."""
    exe, step = netc.compile("t.net", dims={"N": 2}), netc.compile("t.net", mode="train", dims={"N": 2})
    exe(X)
    history = netc.train("t.net", quiet=True, test_data=X)
    yield Compiled, exe
    yield Step, step
    yield State, exe.state
    yield History, history
    yield Curve, history.tests["test"]
    yield Features, netc.run("t.net", X, weights="t.safetensors")
    yield Shown, netc.show("t.net", dims={"N": 2})
    yield Explained, netc.explain("relu")
    yield Verdict, netc.verify("t.net", mode="test")
    yield Summary, exe.summary
    yield Report, netc.profile("t.net", dims={"N": 2}, seconds=0.0)
    yield netc.Problem, netc.check("net a {\n    x = y\n}\n")[0]


# What the runtime and the compiler ask of these objects, and no page tells of.
INTERNAL = {
    Compiled: {"take", "use", "alone", "run_alone", "interleave", "memory"},
    State: {
        "touch",
        "writing",
        "held",
        "written",
        "newer",
        "refresh",
        "extend",
        "finite",
        "restore",
        "logical",
        "adopt",
        "drop_gradients",
    },
    History: {"add", "cut", "recent"},
    Curve: {"add", "cut", "tail"},
    Verdict: {"show"},
    Report: {"kernel_table"},
}
INTERNAL[Step] = INTERNAL[Compiled]
# Of a mapping: a default is anything, and for a key that is not there results raise what dictionaries do.
MAPPING = {"get", "pop", "setdefault", "update", "popitem", "clear", "keys", "values", "items"}
RIGHT: dict[str, dict[str, Any]] = {
    "run": {"feeds": {"x": X}},
    "__call__": {"x": X},
    "timed": {"feeds": {"x": X}},
    "twice": {"feeds": {"x": X}},
    "seconds": {"feeds": {"x": X}},
    "value": {"name": "fc"},
    "run_layers": {"feeds": {}, "start": "fc", "end": "fc"},
    "save": {"path": "out.safetensors"},
    "load": {"path": "t.safetensors"},
    "fill": {"seed": 1},
    "__getitem__": {"name": "fc.weight"},
    "__setitem__": {"name": "fc.weight", "value": np.zeros((1, 2))},
}


def methods(kind: type) -> Iterator[str]:
    """The names of public methods of a kind of object."""
    mapping = MAPPING if issubclass(kind, State | Features | Curve) else set()
    mapping = mapping | {"__getitem__"} if kind in (Features, Curve) else mapping
    for name in dir(kind):
        public = not name.startswith("_") or name in ("__call__", "__getitem__", "__setitem__")
        if public and inspect.isfunction(getattr(kind, name)) and name not in INTERNAL.get(kind, set()) | mapping:
            yield name


def test_methods_refuse_what_is_of_another_kind() -> None:
    counted = 0
    for kind, one in objects():
        for method in methods(kind):
            call = getattr(one, method)
            for name, parameter in inspect.signature(call).parameters.items():
                several = parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
                right = {"other": one} if method == "take" else RIGHT.get(method, {})
                for value in wrong():
                    if several:
                        tried(lambda given, call=call: call(given), {}, "given", value)
                    elif parameter.kind == parameter.POSITIONAL_ONLY:
                        continue
                    else:
                        tried(call, right, name, value)
                    counted += 1
    assert counted > 1000


def test_a_state_is_shared_with_a_state_alone() -> None:
    exe = netc.compile("t.net", dims={"N": 2})
    for value in wrong():
        with pytest.raises(netc.UserError):
            exe.state = value
    assert exe(X)["p"].shape == (2, 1)
