"""The roofline model of one core: what share of the machine's rate each kernel of a step reaches.

    python benchmarks/roofline.py [--target c] [--only googlenet-test-8] [--save results/c-roofline-cpu.json]

The machine's two rates are measured in a process of its own: a product of two matrices of 1,024 x 1,024 by numpy's
BLAS, and a copy of 128 MB. A kernel can take no less than its operations by the one rate or its bytes by the other,
whichever is longer; that bound over the least time of many runs is the share it reaches. Operations are those that the
layer defines, so a convolution by Winograd's algorithm, which does fewer, can reach more than all. Bytes that a cache
holds come quicker than from memory, so a small kernel can as well.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from peers import CASES, netc_executable

RATES = """
import time, numpy as np
def least(call, times):
    best = float("inf")
    for _ in range(times):
        start = time.perf_counter(); call(); best = min(best, time.perf_counter() - start)
    return best
a, b = (np.random.default_rng(k).random((1024, 1024), np.float32) for k in (0, 1))
c = np.empty_like(a)
x = np.ones(32 << 20, np.float32); y = np.empty_like(x)
y[:] = 0
print(2 * 1024**3 / least(lambda: np.matmul(a, b, out=c), 60), 2 * x.nbytes / least(lambda: np.copyto(y, x), 30))
"""
# A kernel with so many operations a byte or more is one of arithmetic, which a rate of products is right for.
DENSE = 4.0
USUAL = ("lenet-train-64", "cifar10_full-train-64", "caffenet-test-8", "googlenet-test-8", "resnet18-test-8")


def rates() -> tuple[float, float]:
    """Operations and bytes a second of one core."""
    one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    done = subprocess.run([sys.executable, "-c", RATES], env=one, capture_output=True, text=True, check=True)
    operations, memory = map(float, done.stdout.split())
    return operations, memory


def shares(name: str, target: str, seconds: float, operations: float, memory: float) -> dict[str, Any]:
    """The kernels of one step beside their bounds."""
    case = CASES[name]
    step, feeds = netc_executable(case.net, case.mode, 1, case.batch, target=target)
    step.run(feeds)
    runs, end = [], time.perf_counter() + seconds
    while len(runs) < 5 or time.perf_counter() < end:
        runs.append(step.timed(feeds))
    least = np.min([[took for _, took in run] for run in runs], axis=0)
    rows = []
    for (launch, _), took in zip(runs[0], least, strict=True):
        bound = max(launch.flops / operations, launch.bytes / memory)
        dense = launch.flops >= DENSE * launch.bytes
        rows.append(
            {
                "kernel": launch.function,
                "layers": list(launch.layers),
                "bound": "operations" if dense else "memory",
                "ms": 1e3 * float(took),
                "gflops": launch.flops / float(took) / 1e9,
                "gb_per_s": launch.bytes / float(took) / 1e9,
                "share": bound / float(took),
            }
        )
    found: dict[str, Any] = {"case": name, "target": target, "runs": len(runs), "kernels": rows}
    for kind in ("operations", "memory"):
        own = [row for row in rows if row["bound"] == kind]
        took = sum(row["ms"] for row in own)
        found[kind] = {"ms": took, "share": sum(row["ms"] * row["share"] for row in own) / took if own else None}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="c")
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--only", choices=[*CASES], action="append")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    operations, memory = rates()
    print(f"one core: {operations / 1e9:.0f} GFLOP/s in a product, {memory / 1e9:.1f} GB/s in a copy")
    rows: list[dict[str, Any]] = []
    for name in given.only or USUAL:
        row = shares(name, given.target, given.seconds, operations, memory)
        rows.append({**row, "flops_per_s": operations, "bytes_per_s": memory})
        for kind in ("operations", "memory"):
            if row[kind]["share"] is not None:
                print(
                    f"{name:22s} {kind:10s} {row[kind]['ms']:8.2f} ms at {100 * row[kind]['share']:.0f} %", flush=True
                )
        for one in sorted(row["kernels"], key=lambda one: -one["ms"])[:12]:
            rate = f"{one['gflops']:7.1f} GFLOP/s {one['gb_per_s']:6.1f} GB/s"
            print(f"    {one['kernel']:40s} {one['ms']:8.3f} ms {rate} {100 * one['share']:4.0f} %", flush=True)
    if given.save:
        from setting import save

        save(given.save, rows)


if __name__ == "__main__":
    main()
