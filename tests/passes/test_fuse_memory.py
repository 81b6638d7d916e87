"""Fusion saves memory on every example, in both modes: what inside values need in tiles is less than what they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.driver import compilation
from support.example_nets import LARGE
from support.lowered import lower

NETS = sorted((Path(__file__).parents[2] / "examples").glob("*.net"))
# The batches at which `benchmarks/fusion.py` runs the nets of ImageNet's size; the others run at their data's.
SMALLER = {"caffenet": 8, "googlenet": 4, "resnet18": 4}


CASES = [
    pytest.param(file, mode, marks=[pytest.mark.slow] if mode == "train" and file.stem in LARGE else [])
    for file in NETS
    for mode in ("train", "test")
]


@pytest.mark.parametrize(("file", "mode"), CASES, ids=lambda value: value if isinstance(value, str) else value.stem)
def test_fused_needs_less_memory(file: Path, mode: str) -> None:
    dims = {"N": SMALLER[file.stem]} if file.stem in SMALLER else {}
    graph = compilation(file, mode=mode, dims=dims, update=None).simplified
    for threads in (1, 2):
        fused, unfused = (lower(graph, fused=fused, threads=threads).arena_bytes for fused in (True, False))
        assert fused < unfused
