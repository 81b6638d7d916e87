"""Which Triton this Python has, told without importing it, and whether netc can use it. Imports nothing of netc's."""

from __future__ import annotations

import re
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

OLDEST = (3, 4)  # before it, Triton has no `knobs`, and kernels' warps and stages would be others than those asked for
REMEDY = f"pip install 'triton>={OLDEST[0]}.{OLDEST[1]}'"
# Under these names it is published: its own, those that came with builds of PyTorch, and that for Windows.
PUBLISHED = ("triton", "pytorch-triton", "pytorch-triton-rocm", "pytorch-triton-xpu", "triton-windows")


def triton_version() -> str:
    """The version of the Triton that would be imported; empty where there is none."""
    spec = find_spec("triton")
    if spec is None:
        return ""
    for name in PUBLISHED:
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    text = Path(spec.origin).read_text(errors="replace") if spec.origin else ""
    found = re.search(r"""^__version__\s*=\s*["']([^"']+)""", text, re.MULTILINE)
    return found[1] if found else "unknown"


def unusable_triton() -> str:
    """Why this Python's Triton cannot compile or interpret kernels, in a sentence; empty where it can."""
    found = triton_version()
    if not found:
        return "Triton is not installed"
    numbers = re.match(r"(\d+)\.(\d+)", found)
    if numbers and tuple(map(int, numbers.groups())) < OLDEST:
        return f"Triton {found} is too old, {OLDEST[0]}.{OLDEST[1]} or newer is needed"
    return ""


def remedy() -> str:
    """What to do where kernels can be neither compiled nor interpreted; nothing where they can."""
    return REMEDY if unusable_triton() else ""
