"""Hardware of this machine: the processor, its cores, numpy's BLAS, devices. Reports and logs carry it with times."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from . import targets
from .compiler.codegen.target import TARGETS
from .grammar.source import UserError

# Flags of /proc/cpuinfo for vectors, the widest first.
VECTORS = ("avx512f", "avx2", "avx", "sve", "asimd", "neon")


@dataclass(frozen=True)
class DeviceInfo:
    """Something that runs programs. targets: those that can be used on it here, each with how it runs.

    missing: those that it could run, each with what is not installed.
    """

    name: str
    what: str
    targets: Mapping[str, str]
    missing: Mapping[str, str] = field(default_factory=dict)


def devices() -> list[DeviceInfo]:
    """The devices that netc knows, each with the targets that it can use on this machine, and what the others lack."""
    found = []
    for name in targets.devices():
        what, missing = _gpu() if name == "cuda" else (f"{processor()}, {cores()} cores, {blas()}", "")
        ways = {row: way.what for row in TARGETS.values() for way in row.ways if way.device == name and not missing}
        usable = {row.name: how for row, how in ways.items() if not row.lacks()}
        lacking = {row.name: f"not here: {remedy}" for row in ways if (remedy := row.lacks())}
        found.append(DeviceInfo(name, what or missing, usable, lacking))
    return found


def _gpu() -> tuple[str, str]:
    """The GPU's name and memory, or what is missing so that it cannot be used."""
    from .runtime.triton.run.opening import driver_present, open_cuda

    if not driver_present():  # told without importing torch, which takes seconds
        return "", "there is no driver for a GPU on this machine"
    try:
        return open_cuda().what, ""
    except UserError as error:
        return "", str(error)


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The processor's name as its maker gave it, or the kind of machine."""
    try:
        for line in Path("/proc/cpuinfo").read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:  # no Linux
        return platform.processor() or platform.machine()
    return platform.machine()


def microarchitecture() -> str:
    """What measurements on this processor hold for: its kind, its name, its family and model, its widest vectors.

    The name alone says too little where a machine is virtual.
    """
    try:
        lines = Path("/proc/cpuinfo").read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    of = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in reversed(lines))}
    numbers = [of[key] for key in ("cpu family", "model", "CPU implementer", "CPU part") if key in of]
    flags = (of.get("flags") or of.get("Features") or "").split()
    vectors = next((name for name in VECTORS if name in flags), "")
    return " ".join([platform.machine(), processor(), *numbers, *([vectors] if vectors else [])])


def blas() -> str:
    """numpy's linear algebra library and its version."""
    import numpy
    import threadpoolctl

    numpy.dot(numpy.ones((2, 2)), numpy.ones((2, 2)))
    for library in threadpoolctl.threadpool_info():
        if library.get("user_api") == "blas":
            return f"{library.get('internal_api')} {library.get('version')}"
    return f"numpy {numpy.__version__}"
