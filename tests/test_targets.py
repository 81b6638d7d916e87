"""Targets and devices: what the flags mean together, and what is said where something is missing."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import netc
from netc import UserError
from netc.api.tuning import frozen_or_tuned
from netc.compiler.codegen.target import TARGETS, Way
from netc.compiler.program import Program
from netc.machine import devices
from netc.passes.pipeline import LOWER
from netc.request import Request
from netc.runtime.executable import ArrayEngine
from netc.runtime.state import State
from netc.runtime.triton.compile import version
from netc.runtime.triton.run import device, opening
from netc.targets import Choice, check_device, check_target, choose

LENET = Path(__file__).parents[1] / "examples" / "lenet.net"


@pytest.fixture(params=[False, True])
def gpu(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether the machine has a driver for a GPU."""
    monkeypatch.setattr(opening, "driver_present", lambda: request.param)
    return bool(request.param)


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("auto", "auto"), ("numpy", "cpu")),
        (("auto", "cpu"), ("numpy", "cpu")),
        (("numpy", "auto"), ("numpy", "cpu")),
        (("auto", "cuda"), ("triton", "cuda")),
        (("triton", "cpu"), ("triton", "cpu")),
        (("triton", "cuda"), ("triton", "cuda")),
    ],
)
def test_what_is_chosen(asked: tuple[str, str], found: tuple[str, str], gpu: bool) -> None:
    """Whether there is a GPU changes nothing that was not asked for."""
    assert choose(*asked) == Choice(*found)


def test_triton_alone_takes_the_gpu_or_else_the_interpreter(gpu: bool) -> None:
    assert choose("triton").device == ("cuda" if gpu else "cpu")


def test_the_interpreter_is_announced() -> None:
    told: list[str] = []
    for target in TARGETS.values():
        for way in target.ways:
            choose(target.name, way.device, notify=told.append)
    assert told == ["triton on cpu is Triton's interpreter: slow, for checking kernels"]


@pytest.mark.parametrize(
    ("target", "device", "told"),
    [
        ("numpy", "cuda", "the target numpy does not run on cuda; use --device cpu, or --target triton"),
        ("c", "cuda", "the target c does not run on cuda; use --device cpu, or --target triton"),
        ("tritn", "auto", "did you mean `triton`"),
        ("cuda", "auto", "`cuda` is a device, not a target: use --device cuda"),
        ("auto", "tpu", "there is no device `tpu`; there are cpu, cuda and auto"),
        ("auto", "cuda:1", "use --device cuda"),
        ("auto", "gpu", "use --device cuda"),
    ],
)
def test_what_is_refused(target: str, device: str, told: str) -> None:
    with pytest.raises(UserError) as error:
        choose(target, device)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_auto_is_a_target_and_a_device() -> None:
    assert check_target("auto") == check_device("auto") == "auto"


def test_devices_say_what_is_missing(monkeypatch: pytest.MonkeyPatch, gpu: bool) -> None:
    def none() -> Any:
        raise UserError("PyTorch finds no GPU")

    monkeypatch.setattr(opening, "open_cuda", none)
    cpu, cuda = devices()
    assert "numpy" in cpu.targets
    assert cuda.what == ("PyTorch finds no GPU" if gpu else "there is no driver for a GPU on this machine")
    assert not cuda.targets


def test_devices_say_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(version, "triton_version", lambda: "")
    cpu = devices()[0]
    assert next(iter(cpu.targets)) == "numpy"
    assert "triton" not in cpu.targets
    assert cpu.missing == {"triton": "not here: pip install 'triton>=3.4'"}


def test_devices_name_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(opening, "driver_present", lambda: True)
    monkeypatch.setattr(opening, "open_cuda", lambda: SimpleNamespace(what="NVIDIA H100, 80 GB"))
    monkeypatch.setattr(version, "triton_version", lambda: "3.4.0")
    assert [(d.name, d.what, list(d.targets)) for d in devices()][1] == ("cuda", "NVIDIA H100, 80 GB", ["triton"])


# What --device cuda lacks, each in a line with what to do.


def torch_of(cuda: str | None, available: bool) -> Any:
    return SimpleNamespace(
        __version__="2.13.0",
        version=SimpleNamespace(cuda=cuda, hip=None),
        cuda=SimpleNamespace(is_available=lambda: available),
    )


@pytest.mark.parametrize(
    ("lacking", "torch", "environment", "told"),
    [
        ({"torch", "triton"}, None, {}, "needs PyTorch and Triton, which this Python does not have"),
        ({"triton"}, None, {}, "needs Triton, which"),
        (set(), None, {}, "there is no driver for a GPU"),
        (set(), torch_of(None, False), {}, "2.13.0 is for CPUs only"),
        (set(), torch_of("13.0", False), {}, "PyTorch finds no GPU on this machine"),
        (set(), torch_of("13.0", True), {"TRITON_INTERPRET": "1"}, "TRITON_INTERPRET is set"),
    ],
)
def test_what_a_gpu_needs(
    lacking: set[str], torch: Any, environment: dict[str, str], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "_lacks", lambda module: module in lacking)
    monkeypatch.setattr(device, "driver_present", lambda: told != "there is no driver for a GPU")
    monkeypatch.setitem(sys.modules, "torch", torch)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError) as error:
        device.usable_torch()
    assert told in str(error.value)
    assert "--device cpu" in str(error.value)
    assert "\n" not in str(error.value)


def test_a_usable_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    torch = torch_of("13.0", True)
    monkeypatch.setattr(device, "_lacks", lambda module: False)
    monkeypatch.setattr(device, "driver_present", lambda: True)
    monkeypatch.setitem(sys.modules, "torch", torch)
    assert device.usable_torch() is torch


def test_a_row_is_a_target(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A target of somebody else's (its text is numpy's, its engine says who it is) is a row here and one of stages."""
    row = replace(
        TARGETS["numpy"],
        name="mine",
        engine=f"{__name__}:engine",
        ways=(Way("cpu", "as numpy, in a test"), Way("abacus", "by hand", slow=True)),
        threads=False,
        folder="",
    )
    monkeypatch.setitem(TARGETS, "mine", row)
    monkeypatch.setitem(LOWER, "mine", LOWER["numpy"])
    notes: list[str] = []
    assert choose("mine") == Choice("mine", "cpu")
    assert choose(device="abacus", notify=notes.append) == Choice("mine", "abacus")
    assert notes == ["mine on abacus is by hand"]
    with pytest.raises(UserError, match="did you mean `mine`"):
        choose("mines")
    with pytest.raises(UserError, match="they are not for the target mine"):
        netc.compile(LENET, target="mine", threads=2)
    exe = netc.compile(LENET, target="mine", dims={"N": 1}, outputs=["prob"])
    assert exe.program.source
    assert exe.where == "mine on cpu"
    assert exe(image=np.zeros((1, 1, 28, 28), np.float32))["prob"].shape == (1, 10)
    assert {d.name: list(d.targets) for d in devices()}["abacus"] == ["mine"]
    with pytest.raises(
        UserError, match="a net becomes no folder by the target mine: use --target numpy or c or triton"
    ):
        netc.export(LENET, tmp_path, target="mine")
    with pytest.raises(UserError, match="there is nothing to measure for mine on cpu: use --device cuda or --target c"):
        frozen_or_tuned(LENET, Request(target="mine"), tmp_path / "found.json", seconds=1.0, tell=print)


def engine(program: Program, state: State, device: str) -> ArrayEngine:
    made = ArrayEngine(program, state)
    made.where = f"{program.target} on {device}"
    return made


def test_choosing_imports_nothing_heavy() -> None:
    code = (
        "import sys; from netc.targets import choose; from netc.machine import devices; choose('triton'); "
        "print(*sorted({'torch', 'triton'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
