"""The targets, the devices that run them, and what each needs: the one table for flags, `netc devices`, and errors.

A target is what text is written, a device what runs it. `choose` answers --target and --device together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .grammar.source import UserError, suggest

if TYPE_CHECKING:
    from .runtime.triton.run.device import Cuda

AUTO = "auto"


@dataclass(frozen=True)
class Way:
    """A target on a device. what: how it runs there. slow: for checking, not for use; arch: kernels are then written
    for that instead of a GPU (in few large blocks).
    """

    target: str
    device: str
    what: str
    slow: bool = False
    arch: str | None = None


# The first way of a device is what `--device` alone means; the first of a target, what `--target` alone means.
WAYS = (
    Way("numpy", "cpu", "numpy, with BLAS for products"),
    Way("triton", "cuda", "Triton kernels in a CUDA graph"),
    Way("triton", "cpu", "Triton's interpreter: slow, for checking kernels", slow=True, arch="interpreter"),
)
TARGETS = tuple(dict.fromkeys(way.target for way in WAYS))
DEVICES = tuple(dict.fromkeys(way.device for way in WAYS))
LATER_TARGETS = ("c",)


@dataclass(frozen=True)
class Choice:
    """A target and a device that go together."""

    target: str
    device: str

    @property
    def way(self) -> Way:
        return next(way for way in WAYS if (way.target, way.device) == (self.target, self.device))

    @property
    def note(self) -> str:
        """What a user should know before waiting for it; nothing where all is as usual."""
        return f"{self.target} on {self.device} is {self.way.what}" if self.way.slow else ""

    @property
    def arch(self) -> str | None:
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
    if target in LATER_TARGETS:
        raise UserError(f"the target `{target}` is not in this version of netc; there are {', '.join(TARGETS)}")
    if target in DEVICES:
        raise UserError(f"`{target}` is a device, not a target: use --device {target}")
    near = suggest(target, TARGETS)
    raise UserError(f"there is no target `{target}`; {near or 'there are ' + ', '.join(TARGETS)}")


def check_device(device: str) -> str:
    """The device's name, or `auto`; UserError for any other."""
    if device == AUTO or device in DEVICES:
        return device
    if device.split(":")[0] in ("cuda", "gpu", "hip", "rocm"):
        raise UserError(f"there is no device `{device}`; use --device cuda (CUDA_VISIBLE_DEVICES says which GPU)")
    raise UserError(f"there is no device `{device}`; there are {', '.join(DEVICES)} and {AUTO}")


def check_threads(target: str, threads: int | None) -> None:
    """UserError for a number of threads where no kernel has a use for it."""
    if threads and target != "numpy":
        raise UserError(f"threads share the work of numpy's kernels: they are not for the target {target}")


def choose(target: str = AUTO, device: str = AUTO, *, notify: Callable[[str], None] | None = None) -> Choice:
    """What runs a program: the first way in the table that has what was asked for.

    A device alone says the target, a target alone the device; for triton that is the GPU if there is one, else the
    interpreter. notify: told of what would surprise. UserError for what does not go together.
    """
    check_target(target)
    check_device(device)
    found = [w for w in WAYS if target in (AUTO, w.target) and device in (AUTO, w.device)]
    if not found:
        fit = " or ".join(way.device for way in WAYS if way.target == target)
        other = " or ".join(way.target for way in WAYS if way.device == device)
        raise UserError(f"the target {target} does not run on {device}; use --device {fit}, or --target {other}")
    if device == AUTO and found[0].device == "cuda":
        from .runtime.triton.run.opening import driver_present

        found = found if driver_present() else found[1:]
    choice = Choice(found[0].target, found[0].device)
    if notify is not None and choice.note:
        notify(choice.note)
    return choice
