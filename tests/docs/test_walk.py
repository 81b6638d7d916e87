"""The walk of docs/architecture.md is what happens: its functions are called when LeNet is compiled, in that order."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| [\w ]* ?\| `([\w/.]+\.py)`: `([\w.]+)` \|", re.MULTILINE)
# Prints each function of netc that a compilation calls, once, when it is first called.
CALLED = """
import sys
from pathlib import Path
from netc.driver import compilation

root, target, arch = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
seen = {}

def look(frame, event, argument):
    if event == "call":
        seen.setdefault((frame.f_code.co_filename, frame.f_code.co_qualname))

sys.setprofile(look)
compilation(root / "examples" / "lenet.net", mode="test", dims={"N": 4}, target=target, arch=arch).program
sys.setprofile(None)
for file, name in seen:
    path = Path(file).resolve()
    if path.is_relative_to(root):
        print(path.relative_to(root), name)
"""


def walk() -> dict[str, list[tuple[str, str]]]:
    """The stations of each table: before the targets, and of each target."""
    section = PAGE.split("## A convolution's way")[1].split("\n## ")[0]
    before, rest = section.split("For numpy:")
    numpy, triton = rest.split("For Triton:")
    return {name: ROW.findall(text) for name, text in (("", before), ("numpy", numpy), ("triton", triton))}


def test_every_row_is_read() -> None:
    rows = [line for line in PAGE.split("## A convolution's way")[1].split("\n## ")[0].splitlines() if ".py`" in line]
    assert sum(map(len, walk().values())) == len(rows) > 30


@pytest.mark.parametrize(("target", "arch"), [("numpy", ""), ("triton", "cuda:90")])
def test_the_walk_is_what_is_called(target: str, arch: str) -> None:
    command = [sys.executable, "-c", CALLED, str(ROOT), target, arch]
    told = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    called = [tuple(line.split()) for line in told.splitlines() if "<locals>" not in line]
    stations = walk()[""] + walk()[target]
    assert [station for station in stations if station not in called] == []
    assert sorted(stations, key=called.index) == stations
