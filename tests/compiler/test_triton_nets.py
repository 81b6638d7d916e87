"""The kernels of whole training steps at their usual batch, compiled: registers, spills, and copies in the background.

A kernel that spills, or of which few fit on a multiprocessor, is slow; and so is a matrix kernel that waits for memory:
with more than two turns of its loop it must load the next blocks while it multiplies.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from netc.driver import compilation
from netc.numbers import numbers
from netc.runtime.triton.compile.ahead import Binary, Job, job_of
from netc.runtime.triton.compile.architectures import KNOWN, limits
from netc.runtime.triton.compile.compiling import compile_jobs
from netc.runtime.triton.compile.options import SPARE
from support.triton_folders import kernel_cache, needs_triton

EXAMPLES = Path(__file__).parents[2] / "examples"
BATCH = {"lenet": 64, "cifar10_quick": 100, "cifar10_full": 100, "caffenet": 256}
CASES = [(net, arch, precision) for net in BATCH for arch in KNOWN for precision in ("f32", "tf32", "bf16")]
CASES = [case for case in CASES if case[:1] != ("cifar10_quick",) or case[1:] == ("cuda:90", "f32")]


@dataclass(frozen=True)
class Kernel:
    """A compiled kernel, and how many turns its loop over K takes (0: it has none)."""

    kind: str
    binary: Binary
    turns: int


def turns_of(text: str, constants: dict[str, int]) -> int:
    """How many times the loops of a kernel run, by its text: `range(0, 800, DEPTH)`, or a part of such a range."""
    found = 1
    loops = re.findall(r"^ +for \w+ in range\((.*)\):$", text, re.MULTILINE)
    for loop in loops:
        first, last, *step = (part.strip() for part in re.split(r",(?![^(]*\))", loop))
        part = re.search(r"\w+ \+ (\d+)|\w+ \* \d+ \+ (\d+)", last)
        length = int(part[1] or part[2]) if part else int(last) - int(first)
        found *= math.ceil(length / constants.get(step[0], 0) if step and step[0] in constants else length)
    return found if loops else 0


def kernels(net: str, arch: str, precision: str, kinds: tuple[str, ...] = ()) -> dict[str, Kernel]:
    """The kernels of a net's training step (of some kinds only), compiled."""
    chosen = numbers("f32" if precision == "tf32" else precision, tf32=precision == "tf32", target="triton")
    made = compilation(
        EXAMPLES / f"{net}.net", mode="train", dims={"N": BATCH[net]}, target="triton", device="cpu", numbers=chosen
    )
    program = made.on(arch=limits(arch).name).program
    jobs: dict[str, Job] = {
        function.name: job_of(function, program.source, arch)
        for function in program.functions
        if not kinds or function.kind in kinds
    }
    binaries = compile_jobs(jobs.values())
    return {
        function.name: Kernel(
            function.kind,
            binaries[jobs[function.name]],
            turns_of(jobs[function.name].text, dict(function.constants)),
        )
        for function in program.functions
        if function.name in jobs
    }


def check(found: dict[str, Kernel], arch: str, *, short_runs: bool = False) -> None:
    """All that is wrong, in one message.

    short_runs: in 16 bits the one channel of an image is a run of 2 bytes; a copy takes 4 or more.
    """
    wrong = []
    for name, kernel in found.items():
        used = kernel.binary.resources
        if used.spills or used.registers > SPARE or used.shared > KNOWN[arch].shared:
            wrong.append(f"{name}: {used.registers} registers, {used.spills} spills, {used.shared} bytes shared")
        waits = kernel.kind in ("dot", "conv") and kernel.turns > 2 and not used.copies
        if arch.startswith("cuda") and waits and not (short_runs and name.startswith("conv1_")):
            wrong.append(f"{name}: {kernel.turns} turns without a copy in the background")
    assert not wrong, "\n".join(wrong)
    matrix = [kernel for kernel in found.values() if kernel.kind in ("dot", "conv")]
    assert any(kernel.turns > 2 for kernel in matrix)


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_triton()
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))


def test_turns_are_counted() -> None:
    text = "def f():\n    for k in range(0, 800, DEPTH):\n        for tap in range(0, 3):\n            pass\n"
    assert turns_of(text, {"DEPTH": 32}) == 75
    part = "def f():\n    for k in range(part * 80, tl.minimum(part * 80 + 80, 1250), DEPTH):\n        pass\n"
    assert turns_of(part, {"DEPTH": 16}) == 5
    rows = "def f():\n    for start in range(part, part + 352, DEPTH):\n        pass\n"
    assert turns_of(rows, {"DEPTH": 32}) == 11
    assert turns_of("def f():\n    pass\n", {}) == 0


def test_products_of_lenet() -> None:
    check(kernels("lenet", "cuda:90", "f32", ("dot", "conv")), "cuda:90")


@pytest.mark.slow
@pytest.mark.parametrize(("net", "arch", "precision"), CASES)
def test_all_kernels_of_a_training_step(net: str, arch: str, precision: str) -> None:
    check(kernels(net, arch, precision), arch, short_runs=net == "lenet" and precision == "bf16")
