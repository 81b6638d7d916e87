"""Every example, fused beside unfused in turns: time, working memory, kernels.

    python benchmarks/fusion.py [--seconds 6] [--only lenet] [--save results/fusion.json]

Each at the batch of its own data, but the nets of ImageNet's size, which take seconds a step, at a few images.
`unfused / fused` is the median over turns with its quartiles (`netc profile` measures it).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Literal

from setting import save

import netc

EXAMPLES = Path(__file__).parents[1] / "examples"
SMALLER = {"caffenet": 8, "googlenet": 4, "resnet18": 4}
MODES: tuple[Literal["train", "test"], ...] = ("train", "test")


def measure(path: Path, mode: Literal["train", "test"], seconds: float) -> dict[str, Any]:
    """One example in one mode: a row of the table."""
    batch = SMALLER.get(path.stem)
    report = netc.profile(path, mode=mode, dims={"N": batch} if batch else None, seconds=seconds)
    return {
        "net": path.stem,
        "mode": mode,
        "batch": report.batch,
        "threads": report.threads,
        "fused_ms": round(report.fused.ms, 3),
        "unfused_ms": round(report.unfused.ms, 3),
        "ratio": round(report.ratio, 3),
        "ratio_quartiles": [round(x, 3) for x in report.ratio_range],
        "fused_bytes": report.fused.peak_bytes,
        "unfused_bytes": report.unfused.peak_bytes,
        "fused_kernels": report.fused.kernels,
        "unfused_kernels": report.unfused.kernels,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=6.0)
    parser.add_argument("--only", choices=sorted(p.stem for p in EXAMPLES.glob("*.net")), action="append")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    rows = []
    for path in sorted(EXAMPLES.glob("*.net")):
        if given.only and path.stem not in given.only:
            continue
        for mode in MODES:
            row = measure(path, mode, given.seconds)
            rows.append(row)
            print(
                f"{row['net']:14s} {mode:5s} N={row['batch']:<4d} fused {row['fused_ms']:9.2f} ms   unfused "
                f"{row['unfused_ms']:9.2f} ms   ratio {row['ratio']:.2f} "
                f"[{row['ratio_quartiles'][0]:.2f}, {row['ratio_quartiles'][1]:.2f}]   "
                f"{row['fused_bytes'] / 1e6:8.2f} of {row['unfused_bytes'] / 1e6:8.2f} MB",
                flush=True,
            )
    if given.save:
        save(given.save, rows)


if __name__ == "__main__":
    main()
