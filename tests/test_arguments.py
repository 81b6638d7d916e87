"""Misuse of the Python API: what is no argument of its kind is a UserError of a line, and what numpy gives is one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc

LENET = str(Path(__file__).parents[1] / "examples" / "lenet.net")
SMALL = str(Path(__file__).parents[1] / "examples" / "user_op.net")
WRONG: dict[str, tuple[Any, ...]] = {
    "dims": (5, "N=2", [("N", 2)], {1: 2}, {"N": "2"}, {"N": 2.0}, {"N": None}, {"N": True}, {"N": [2]}, {"N": -1}),
    "settings": (5, [1], {1: 3}, {"classes": object()}, {"classes": {1: 2}}, {"classes": 2 + 3j}),
    "threads": (1.5, "2", -1, True, [1], 10**30),
    "seed": (1.5, "2", -1, True, [1], 2**64),
    "outputs": (5, [5], ["prob", None], [["prob"]]),
    "gradients": (5, [5], [None]),
    "net": (5, ["lenet"]),
    "mode": (5, None, ["train"], "trian"),
    "target": (5, None),
    "device": (5, None),
    "precision": (5, None, ["f32"]),
    "scale_growth": (1.5, "2", 0, None),
    "max_memory": (1.5, -1, [1], True),
    "schedules": (5, "a\0b"),
    "fused": ("no", 3),
    "update": ("no", 3),
    "allow_python": ("x",),
    "path": (5, None, b"x", "a\0b", ["x"]),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_of_another_kind_is_refused(name: str) -> None:
    for value in WRONG[name]:
        call = {"path": LENET, "dims": {"N": 2}} | {name: value}
        with pytest.raises(netc.UserError) as found:
            netc.compile(**call)
        assert str(found.value).isprintable()
        assert len(str(found.value)) < 250


def train(**more: Any) -> Any:
    return netc.train(SMALL, **{"steps": 1, "quiet": True, **more})


CALLS: dict[str, Callable[[], Any]] = {
    "steps": lambda: train(steps=1.5),
    "steps as text": lambda: train(steps="2"),
    "batch": lambda: train(batch=4.0),
    "resume without a folder": lambda: train(resume=True),
    "no such folder of data": lambda: train(data="/nonexistent"),
    "data": lambda: train(data=5),
    "folder": lambda: train(folder="a\0b"),
    "weights": lambda: netc.test(SMALL, 5),  # type: ignore[arg-type]
    "weights with NUL": lambda: netc.test(SMALL, "a\0b"),
    "export": lambda: netc.export(SMALL, 5),  # type: ignore[arg-type]
    "archs": lambda: netc.export(SMALL, "x", archs=5),  # type: ignore[arg-type]
    "check": lambda: netc.check(5),  # type: ignore[arg-type]
    "check dims": lambda: netc.check(SMALL, dims=5),  # type: ignore[arg-type]
    "check net": lambda: netc.check(SMALL, net=5),  # type: ignore[arg-type]
}


@pytest.mark.parametrize("call", CALLS)
def test_no_misuse_passes_in_silence(call: str) -> None:
    with pytest.raises(netc.UserError):
        CALLS[call]()


def test_numbers_of_numpy_are_numbers() -> None:
    two: Any = np.int64(2)
    exe = netc.compile(
        LENET,
        dims={"N": two},
        settings={"classes": np.int32(3)},
        seed=two,
        threads=np.int8(1),  # type: ignore[arg-type]
        outputs=["prob"],
    )
    assert exe(image=np.zeros((2, 1, 28, 28), "f"))["prob"].shape == (2, 3)
    assert netc.check(LENET, dims={"N": two}) == []
    with pytest.raises(netc.UserError, match="image is given as lists of several lengths, the program takes f32"):
        exe(image=[[1], [2, 3]])
    for wrong in (5, "a\0b"):
        with pytest.raises(netc.UserError):
            exe.load(wrong)  # type: ignore[arg-type]
        with pytest.raises(netc.UserError):
            exe.save(wrong)  # type: ignore[arg-type]
