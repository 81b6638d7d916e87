"""Target: the language that kernels are written in, with the devices that run it. One table, `TARGETS`: a row a target.

Whatever depends on the target asks its row. A row names functions as "module:function"; they are imported when they are
called, so the table costs nothing where a command starts. The stages of a target are `LOWER` of `passes/pipeline.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from ...grammar.source import UserError


@dataclass(frozen=True)
class Way:
    """How the programs of a target run on a device.

    what: in words. slow: for checking, not for use. arch: kernels are written for that there, not for a GPU; empty
    where they are written for the device itself.
    """

    device: str
    what: str
    slow: bool = False
    arch: str = ""


@dataclass(frozen=True)
class Target:
    """A row of the table.

    emitter: `(graph, plan, program) -> Program`, the program with its text and tables, of one that has neither. engine:
    `(program, state, device) -> Engine`, as `runtime/executable.py` has it. ways: the first is what the target alone
    means; the next, where that device is absent. remedy: `() -> str`, what to do where this Python lacks something,
    else nothing. folder: a module that writes folders which run without netc (`export`), and knows its files in them
    (`own`).

    What it takes: threads that share a kernel's work; products of f32 by TF32; convolutions by Winograd's filtering, or
    direct ones; schedules, what `netc tune` measures: blocks, or algorithms; steps that learn, in folders; builds of
    folders, which are source, by a compiler; archs, the architectures for which kernels are compiled ahead of time;
    arch, the one they are shown for where none is here.
    """

    name: str
    emitter: str
    engine: str
    ways: tuple[Way, ...]
    remedy: str = ""
    folder: str = ""
    threads: bool = False
    tf32: bool = False
    winograd: bool = False
    schedules: bool = False
    steps: bool = False
    builds: bool = False
    archs: tuple[str, ...] = ()
    arch: str = ""

    def way(self, device: str) -> Way:
        """How it runs on a device; UserError where it does not."""
        for way in self.ways:
            if way.device == device:
                return way
        raise UserError(f"target {self.name} does not run on device {device}")

    def lacks(self) -> str:
        """What to do so that this Python can use it; nothing where it can."""
        return str(imported(self.remedy)()) if self.remedy else ""


# The first way of a device, in this order, is what the device alone means.
TARGETS: dict[str, Target] = {
    target.name: target
    for target in (
        Target(
            "numpy",
            emitter="netc.compiler.codegen.numpy:emit_numpy",
            engine="netc.runtime.executable:ArrayEngine",
            ways=(Way("cpu", "numpy, with BLAS for products"),),
            folder="netc.deployment.deploy",
            threads=True,
        ),
        Target(
            "c",
            emitter="netc.compiler.codegen.c:emit_c",
            engine="netc.runtime.c.engine:CEngine",
            ways=(Way("cpu", "C, by the machine's compiler", arch="cpu"),),
            remedy="netc.runtime.c.compiling:remedy",
            folder="netc.deployment.native",
            threads=True,
            winograd=True,
            schedules=True,
            steps=True,
            builds=True,
        ),
        Target(
            "triton",
            emitter="netc.compiler.codegen.triton:emit_triton",
            engine="netc.runtime.triton.run.opening:open_engine",
            ways=(
                Way("cuda", "Triton kernels in a CUDA graph"),
                Way("cpu", "Triton's interpreter: slow, for checking kernels", slow=True, arch="interpreter"),
            ),
            remedy="netc.runtime.triton.compile.version:remedy",
            folder="netc.deployment.ahead",
            tf32=True,
            schedules=True,
            steps=True,
            archs=("cuda:80", "cuda:90", "cuda:100", "hip:gfx942"),
            arch="cuda:90",
        ),
    )
}


def imported(place: str) -> Callable[..., Any]:
    """The function "module:function"."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def that(has: Callable[[Target], object]) -> str:
    """The names of the targets that have something, for messages."""
    return " or ".join(name for name, target in TARGETS.items() if has(target))
