"""From nothing to the first result: how long a process takes that compiles a net to C and runs it once.

    python benchmarks/starts.py [--rounds 5] [--save results/starts-cpu.json]

`empty`: with a cache that holds nothing, so the compiler of C runs; `warm`: the same again. Each is a process of its
own, from its start to its end; the median and the least of some rounds, and the median of the processor's time.
Modules have their bytecode, as where netc was installed: a start before, which is not counted, has written it.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from peers import ROOT, file_of
from setting import save

# net -> shape of an image, batch, seconds asked from an empty cache, and from a warm one
CASES = {"lenet": ((1, 28, 28), 64, 1.5, 0.5), "googlenet": ((3, 224, 224), 8, 4.0, 0.5)}
FIRST = """
import sys, numpy as np, netc
file, *shape = sys.argv[1:]
image = np.zeros([*map(int, shape)], np.float32)
net = netc.compile(file, outputs=["prob"], target="c", dims={"N": len(image)}, threads=2)
print(net(image=image)["prob"].shape)
"""


def seconds(net: str, shape: Sequence[int], cache: Path, bytecode: Path) -> tuple[float, float]:
    """By the clock, and of the processor, children included; bytecode of modules is read and kept in a folder."""
    # Where an environment forbids writing bytecode, each start of a checkout would compile all of netc's own modules.
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    before, begin = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(
        [sys.executable, "-c", FIRST, str(file_of(net)), *map(str, shape)],
        env={**inherited, "PYTHONPATH": path, "NETC_CACHE": str(cache), "PYTHONPYCACHEPREFIX": str(bytecode)},
        check=True,
        capture_output=True,
    )
    took, after = time.perf_counter() - begin, resource.getrusage(resource.RUSAGE_CHILDREN)
    return took, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def measured(net: str, rounds: int) -> list[dict[str, Any]]:
    """Both rows of a net, in turns."""
    shape, batch, *asked = CASES[net]
    times: dict[str, list[tuple[float, float]]] = {"empty": [], "warm": []}
    with tempfile.TemporaryDirectory() as kept:
        bytecode = Path(kept, "bytecode")
        seconds(net, (batch, *shape), Path(kept, "first"), bytecode)
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                for found in times.values():
                    found.append(seconds(net, (batch, *shape), Path(folder), bytecode))
    rows = []
    for (cache, found), most in zip(times.items(), asked, strict=True):
        row = {
            "net": net,
            "batch": batch,
            "cache": cache,
            "s": statistics.median(took for took, _ in found),
            "least_s": min(took for took, _ in found),
            "processor_s": statistics.median(took for _, took in found),
            "asked_s": most,
        }
        rows.append(row)
        print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=[*CASES], action="append")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    rows = [row for net in given.only or CASES for row in measured(net, given.rounds)]
    if given.save:
        save(given.save, rows)


if __name__ == "__main__":
    main()
