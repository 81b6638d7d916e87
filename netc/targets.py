"""Target selection: what --target and --device mean together, and what is said of others.

A target is what text is written, a device what runs it; `compiler/codegen/target.py` has the table of both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .compiler.codegen.target import TARGETS, Target, Way, that
from .grammar.source import UserError, suggest

if TYPE_CHECKING:
    from .runtime.triton.run.device import Cuda

AUTO = "auto"


def devices() -> tuple[str, ...]:
    """The names of all devices that run a target."""
    return tuple(dict.fromkeys(way.device for target in TARGETS.values() for way in target.ways))


@dataclass(frozen=True)
class Choice:
    """A target and a device that go together."""

    target: str
    device: str

    @property
    def row(self) -> Target:
        return TARGETS[self.target]

    @property
    def way(self) -> Way:
        return self.row.way(self.device)

    @property
    def measurable(self) -> bool:
        """Whether `netc tune` measures there: not where programs run for checking only."""
        return self.row.schedules and not self.way.slow

    @property
    def note(self) -> str:
        """What a user should know before waiting for it; nothing where all is as usual."""
        return f"{self.target} on {self.device} is {self.way.what}" if self.way.slow else ""

    @property
    def arch(self) -> str:
        """What kernels are written for to run here: the GPU's architecture (UserError where none can be used)."""
        cuda = self.open()
        return cuda.arch if cuda is not None else self.way.arch

    def open(self) -> Cuda | None:
        """The GPU, if this runs on one; UserError that says what is missing."""
        if self.device != "cuda":
            return None
        from .runtime.triton.run.opening import open_cuda

        return open_cuda()


def check_target(target: str) -> str:
    """The target's name, or `auto`; UserError in a line for one that this version has not."""
    if target == AUTO or target in TARGETS:
        return target
    if target in devices():
        raise UserError(f"`{target}` is a device, not a target: use --device {target}")
    near = suggest(target, TARGETS)
    raise UserError(f"there is no target `{target}`; {near or 'there are ' + ', '.join(TARGETS)}")


def check_device(device: str) -> str:
    """The device's name, or `auto`; UserError for any other."""
    if device == AUTO or device in devices():
        return device
    if device.split(":")[0] in ("cuda", "gpu", "hip", "rocm"):
        raise UserError(f"there is no device `{device}`; use --device cuda (CUDA_VISIBLE_DEVICES says which GPU)")
    raise UserError(f"there is no device `{device}`; there are {', '.join(devices())} and {AUTO}")


def check_threads(target: str, threads: int | None) -> None:
    """UserError for a number of threads where no kernel has a use for it."""
    if threads and not TARGETS[target].threads:
        those = that(lambda row: row.threads)
        raise UserError(f"threads share the work of {those}'s kernels: they are not for the target {target}")


def compiled_for(choice: Choice) -> Choice | None:
    """The target on the same device whose programs a compiler makes; None where that is the one, or there is none."""
    rows = [row for row in TARGETS.values() if row.builds and row.name != choice.target]
    return next((Choice(row.name, way.device) for row in rows for way in row.ways if way.device == choice.device), None)


def choose(target: str = AUTO, device: str = AUTO, *, notify: Callable[[str], None] | None = None) -> Choice:
    """What runs a program: the first way in the table that has what was asked for.

    A device alone says the target, a target alone the device; for triton that is the GPU if there is one, else the
    interpreter. notify: told of what would surprise. UserError for what does not go together.
    """
    check_target(target)
    check_device(device)
    every = [Choice(row.name, way.device) for row in TARGETS.values() for way in row.ways]
    found = [one for one in every if target in (AUTO, one.target) and device in (AUTO, one.device)]
    if not found:
        fit = " or ".join(one.device for one in every if one.target == target)
        other = " or ".join(one.target for one in every if one.device == device)
        raise UserError(f"the target {target} does not run on {device}; use --device {fit}, or --target {other}")
    if device == AUTO and found[0].device == "cuda":
        from .runtime.triton.run.opening import driver_present

        found = found if driver_present() else found[1:]
    if notify is not None and found[0].note:
        notify(found[0].note)
    return found[0]
