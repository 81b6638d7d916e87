"""The accuracy of the two stages by netc beside the authors' own log of real Caffe.

python curve.py      writes curve.png, and prints the figures as JSON

It reads the tables that `netc caffe parse_log LOG FOLDER` writes: of the runs 1 and 2 of CIFAR10_quick, and of the
authors' train_log.txt.
"""

from __future__ import annotations

import csv
import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

RUNS = Path("runs/CIFAR10_quick")


def tests(path: Path) -> list[tuple[int, float]]:
    """Step and accuracy of each test."""
    with path.open(newline="", encoding="utf-8") as file:
        return [(int(float(row["NumIters"])), float(row["accuracy"])) for row in csv.DictReader(file)]


def main() -> None:
    ours = [*tests(RUNS / "1/log.jsonl.test"), *tests(RUNS / "2/log.jsonl.test")]
    theirs = tests(Path("train_log.txt.test"))
    figure, axes = plt.subplots(figsize=(7, 4))
    for points, words in ((theirs, "Caffe, 2014, the lossless photos (the authors' log)"), (ours, "netc, the JPEGs")):
        axes.plot(*zip(*points, strict=True), ".-", label=words)
    axes.axvline(4000, color="0.7", linestyle=":", label="the second solver: a tenth of the rate")
    axes.set_xlabel("step")
    axes.set_ylabel("of 10,000 test photos")
    axes.legend()
    axes.grid(alpha=0.3)
    figure.tight_layout()
    figure.savefig("curve.png", dpi=100)
    print(json.dumps({"right": ours[-1][1], "step": ours[-1][0], "theirs": theirs[-1][1]}))


if __name__ == "__main__":
    main()
