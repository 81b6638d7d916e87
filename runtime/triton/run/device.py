"""A GPU as a device, through torch: memory, streams and graphs are torch's, the kernels run by Triton's JIT.

Kernels are compiled and loaded with their program. A step is launched kernel by kernel once, and then recorded as a
CUDA graph and replayed: one call for any number of kernels, and nothing in it waits for the host. Feeds are copied into
fixed memory before it, outputs out of it afterwards. torch calls AMD's GPUs `cuda` too.
"""

from __future__ import annotations

import gc
import importlib.util
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ....compiler.program import UserError
from ...addresses import Call
from ..compile.version import triton_version, unusable_triton
from ..compile.warming import compile_together
from .launch import Launcher, functions_of

Array = npt.NDArray[Any]
PINNED = 1 << 20  # bytes up to which what is read often has page-locked memory of its own
# What the drivers put into the file system: NVIDIA's, its small boards', AMD's, that of Linux in Windows.
DRIVERS = ("/dev/nvidiactl", "/dev/nvmap", "/dev/kfd", "/dev/dxg")
CYCLES = 300_000  # of the GPU's clock, a launch: longer than the host needs for it


class NoGpu(UserError):
    """There is no GPU to use: why, and what helps."""

    def __init__(self, why: str, remedy: str = "", *, instead: str = "use --device cpu") -> None:
        super().__init__(f"{why}: {remedy}{', or ' if remedy else ''}{instead}")
        self.why, self.remedy = why, remedy

    def instead(self, words: str) -> NoGpu:
        """The same where something else than the CPU is of use."""
        return NoGpu(self.why, self.remedy, instead=words)


class Cuda:
    """The process's current GPU. UserError where there is none that torch and Triton can use."""

    def __init__(self) -> None:
        self.torch = usable_torch()
        self.where = self.torch.device("cuda", self.torch.cuda.current_device())
        self._landing: dict[tuple[int, int, int], Any] = {}

    @property
    def what(self) -> str:
        """The GPU's name and memory."""
        found = self.torch.cuda.get_device_properties(self.where)
        return f"{found.name}, {found.total_memory / 1e9:.0f} GB"

    @property
    def told(self) -> str:
        """What decides the bits of a result besides the program."""
        return f"{self.gpu}, torch {self.torch.__version__}, triton {triton_version()}"

    @property
    def gpu(self) -> str:
        """The GPU's name."""
        return str(self.torch.cuda.get_device_name(self.where))

    @property
    def arch(self) -> str:
        """What it is called as an architecture to compile for: `cuda:90`, `hip:gfx942`."""
        if self.torch.version.hip:
            return f"hip:{self.torch.cuda.get_device_properties(self.where).gcnArchName.split(':')[0]}"
        major, minor = self.torch.cuda.get_device_capability(self.where)
        return f"cuda:{10 * major + minor}"

    def allocate(self, name: str, size: int, *, fed: bool = False) -> CudaMemory:
        """Memory of so many bytes, zero. fed: it is written before every step."""
        return CudaMemory(self, name, size, fed)

    def tensor(self, size: int, *, pinned: bool = False, on: Any = None) -> Any:
        """Bytes: on the GPU, or in memory of the host that it may read by itself; UserError if there is too little."""
        torch = self.torch
        if pinned:
            try:
                return torch.zeros(max(size, 1), dtype=torch.uint8, pin_memory=self.where.type == "cuda")
            except (RuntimeError, MemoryError) as error:
                if isinstance(error, RuntimeError) and "out of memory" not in str(error).partition("\n")[0]:
                    raise  # of a kernel before it, which the driver tells at its next call
                raise UserError(
                    f"this machine has no {size / 1e9:.1f} GB left of page-locked memory, from which the GPU is fed; "
                    "smaller dimensions need less"
                ) from None
        return torch.zeros(max(size, 1), dtype=torch.uint8, device=on or self.where)

    def copy(self, source: CudaMemory, to: CudaMemory) -> None:
        """Copy one memory to another of the same size."""
        to.tensor.copy_(source.tensor)

    def read(self, parts: Sequence[tuple[CudaMemory, int, int]]) -> list[Array]:
        """Bytes of memories, (memory, start, size) each; they are good until the same part is read again."""
        found = []
        for memory, start, size in parts:
            key = (id(memory), start, size)
            if size <= PINNED and key not in self._landing:
                self._landing[key] = self.tensor(size, pinned=True)
            landing = self._landing[key] if size <= PINNED else self.tensor(size, on="cpu")
            landing[:size].copy_(memory.tensor[start : start + size], non_blocking=True)
            found.append(landing)
        self.wait()
        return [landing.numpy()[:size] for landing, (_, _, size) in zip(found, parts, strict=True)]

    def forget(self, memory: int) -> None:
        """Give back what was kept for reading a memory, by its id."""
        for key in [key for key in self._landing if key[0] == memory]:
            del self._landing[key]

    def load(
        self, source: str, memories: Mapping[str, CudaMemory], prepare: Sequence[Call], step: Sequence[Call]
    ) -> CudaProgram:
        """A program whose calls run at these memories."""
        functions = functions_of(source)
        starts = {name: memory.tensor.data_ptr() for name, memory in memories.items()}
        before, then = ([Launcher(call, functions, starts) for call in calls] for calls in (prepare, step))
        compile_together([*before, *then])
        return CudaProgram(self, before, then)

    def check(self) -> None:
        """Wait, so that what went wrong is raised here."""
        self.wait()

    def wait(self) -> None:
        """Wait for everything that was asked for."""
        self.torch.cuda.current_stream(self.where).synchronize()


class CudaMemory:
    """Bytes on the GPU at a fixed address."""

    def __init__(self, owner: Cuda, name: str, size: int, fed: bool) -> None:
        self._owner = owner
        try:
            self.tensor = owner.tensor(size)
        except owner.torch.cuda.OutOfMemoryError:
            free, _ = owner.torch.cuda.mem_get_info(owner.where)
            raise UserError(
                f"{name} needs {size / 1e9:.1f} GB on the GPU, which has {free / 1e9:.1f} GB left; "
                "smaller dimensions need less"
            ) from None
        self._staging = owner.tensor(size, pinned=True) if fed else None
        self._copied: Any = None

    def __del__(self) -> None:
        self._owner.forget(id(self))

    def write(self, data: Array) -> None:
        """Fill it with an array of as many bytes; if it is fed, the host goes on meanwhile."""
        raw = data.reshape(-1).view(np.uint8)
        if self._staging is None:
            staging = self._owner.tensor(raw.size, on="cpu")
            staging.numpy()[: raw.size] = raw
            self.tensor[: raw.size].copy_(staging[: raw.size])
            return
        if self._copied is not None:
            self._copied.synchronize()  # the copy before may still read the staging memory
        self._staging.numpy()[: raw.size] = raw
        self.tensor.copy_(self._staging, non_blocking=True)
        self._copied = self._owner.torch.cuda.Event()
        self._copied.record()

    def fill(self, value: int) -> None:
        """Set every byte."""
        self.tensor.fill_(value)


class CudaProgram:
    """A program on the GPU. The first step launches its kernels; the following ones replay a recording of it."""

    def __init__(self, owner: Cuda, prepare: Sequence[Callable[[], None]], step: Sequence[Callable[[], None]]) -> None:
        self._owner = owner
        self._prepare = prepare
        self._step = self._calls = step
        self._graph: Any = None
        self._compiled = False
        self.replays = True  # whether steps are recorded

    def prepare(self) -> None:
        """Run what only depends on the state."""
        for call in self._prepare:
            call()

    def step(self) -> None:
        """Run a step; it may still run when this returns."""
        if self._graph is not None:
            self._graph.replay()
            return
        for call in self._calls:
            call()
        if self.replays and not self._compiled:
            self._record()
        self._compiled = True

    def interleave(self, calls: Mapping[int, Callable[[], None]]) -> bool:
        """Make these calls too, each behind the launch of its number; they are recorded with the launches."""
        self._calls = [one for k, call in enumerate(self._step) for one in (call, calls.get(k)) if one is not None]
        self._graph, self._compiled = None, False
        return True

    def _record(self) -> None:
        """Record the step, whose kernels are compiled. What is recorded does not run now."""
        torch = self._owner.torch
        graph = torch.cuda.CUDAGraph()
        self._owner.wait()
        stream = torch.cuda.current_stream(self._owner.where)
        collects = gc.isenabled()
        gc.disable()  # what is collected might ask the driver for what it refuses now: unloading, freeing
        try:
            # Only this thread: others may be filling memory for the next step.
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                for call in self._calls:
                    call()
        except Exception as error:  # whatever the driver says, the step can be launched kernel by kernel
            told = str(error).strip().partition("\n")[0]
            print(
                f"netc: the step cannot be recorded as a CUDA graph, kernels are launched singly: {told}",
                file=sys.stderr,
            )
            torch.cuda.set_stream(stream)  # torch stays on that of the recording if ending it fails
            return
        finally:
            if collects:
                gc.enable()
        self._graph = graph

    def timed(self) -> list[float]:
        """Run a step kernel by kernel; the seconds of each launch, by the GPU's clock."""
        torch = self._owner.torch
        marks = [torch.cuda.Event(enable_timing=True) for _ in range(len(self._step) + 1)]
        # The GPU waits while the host fills its queue, so that it does not wait for the host between two kernels.
        torch.cuda._sleep(CYCLES * len(marks))
        marks[0].record()
        for call, mark in zip(self._step, marks[1:], strict=True):
            call()
            mark.record()
        self._owner.wait()
        return [1e-3 * first.elapsed_time(last) for first, last in pairwise(marks)]

    def repeated(self, times: int) -> float:
        """Run so many steps; the seconds of one by the GPU's clock. The first of all, in which the host takes part, is
        left out of the time, or timed kernel by kernel if there is no other.
        """
        torch = self._owner.torch
        if not self._compiled:
            if times == 1:
                return sum(self.timed())
            self.step()
            times -= 1
        first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        first.record()
        for _ in range(times):
            self.step()
        last.record()
        last.synchronize()
        return float(1e-3 * first.elapsed_time(last) / times)


def driver_present() -> bool:
    """Whether this machine seems to have a GPU, told without loading anything."""
    return sys.platform == "win32" or any(Path(path).exists() for path in DRIVERS)


def usable_torch() -> Any:
    """torch, if it and Triton are there and find a GPU; UserError that says what is missing and what to do."""
    ask = "install PyTorch for your GPU (https://pytorch.org/get-started), which brings Triton"
    missing = [name for name, module in (("PyTorch", "torch"), ("Triton", "triton")) if _lacks(module)]
    if missing:
        raise NoGpu(f"the device cuda needs {' and '.join(missing)}, which this Python does not have", ask)
    if told := unusable_triton():
        raise NoGpu(told, ask.replace("install", "install a newer", 1))
    if os.environ.get("TRITON_INTERPRET", "0") not in ("", "0"):
        raise NoGpu("TRITON_INTERPRET is set, so that Triton would not use the GPU", "unset it")
    if not driver_present():
        raise NoGpu("there is no driver for a GPU on this machine")
    import torch

    if not (torch.version.cuda or torch.version.hip):
        raise NoGpu(f"the device cuda needs a PyTorch for GPUs, {torch.__version__} is for CPUs only", ask)
    if not torch.cuda.is_available():
        raise NoGpu("PyTorch finds no GPU on this machine (or no driver for it)")
    return torch


def _lacks(module: str) -> bool:
    return importlib.util.find_spec(module) is None
