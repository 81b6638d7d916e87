"""Triton's driver of an H100 that is not there: its JIT compiles in earnest, and nothing is started."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

launched: list[tuple[tuple[int, ...], list[Any]]] = []


class Starter:
    """What Triton makes for a compiled kernel to start it."""

    def __init__(self, source: Any, metadata: Any) -> None:
        self.constants = {path[0] for path in source.constants}

    def __call__(self, x: int, y: int, z: int, stream: int, *rest: Any) -> None:
        bound = rest[5:]  # after the function, two kinds of metadata, two hooks
        launched.append(((x, y, z), [one for i, one in enumerate(bound) if i not in self.constants]))


class Driver:
    """Triton's driver of an H100."""

    def __init__(self) -> None:
        self.utils = self
        self.launcher_cls = Starter

    def load_binary(self, *_: Any) -> tuple[int, ...]:
        return 1, 2, 32, 0, 1024

    def unload_module(self, module: int) -> None:
        pass

    def get_device_properties(self, device: int) -> dict[str, int]:
        return {"max_shared_mem": 232448, "max_num_regs": 65536, "multiprocessor_count": 132, "warpSize": 32}

    def get_current_device(self) -> int:
        return 0

    def get_current_stream(self, device: int) -> int:
        return 0

    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@contextmanager
def jit_driver() -> Iterator[None]:
    """The driver in place of Triton's own, for a file of tests: unloading what it loaded takes a second or two."""
    from triton.runtime import driver

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(driver, "_active", Driver())
        yield
        launched.clear()
        gc.collect()  # kernels ask the driver to unload them
