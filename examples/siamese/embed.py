"""How good the embedding is: the digits as points, and the class of each by its nearest neighbour among others.

python embed.py [embedding.npz]      writes embedding.png, and prints the figures as JSON

`netc run siamese.net --data heldout --output embedding -o embedding.npz` makes the points, f32[digits, 2], with a label
each. Every second digit is known, the others are told by their nearest neighbour among those.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]


def right(points: Array, labels: npt.NDArray[np.int32]) -> float:
    """The share of every second point whose nearest neighbour among the others has its label."""
    known, asked = points[::2], points[1::2]
    apart = ((asked[:, None] - known[None]) ** 2).sum(axis=2)
    return float((labels[::2][apart.argmin(axis=1)] == labels[1::2]).mean())


def silhouette(points: Array, labels: npt.NDArray[np.int32]) -> float:
    """How well clusters are apart, from -1 to 1: the mean of (b - a) / max(a, b), where a is the mean distance of a
    point to its own class and b that to the next one (Rousseeuw 1987)."""
    apart = np.sqrt(((points[:, None] - points[None]) ** 2).sum(axis=2))
    classes = np.unique(labels)
    sums = np.stack([apart[:, labels == one].sum(axis=1) for one in classes], axis=1)
    counts = np.array([(labels == one).sum() for one in classes])
    own = labels[:, None] == classes[None]
    inside = (sums * own).sum(axis=1) / np.maximum((counts * own).sum(axis=1) - 1, 1)
    outside = np.where(own, np.inf, sums / counts).min(axis=1)
    return float(((outside - inside) / np.maximum(inside, outside)).mean())


def main() -> None:
    file = Path(sys.argv[1] if len(sys.argv) > 1 else "embedding.npz")
    arrays = np.load(file)
    points, labels = arrays["embedding"], arrays["label"]
    figure, axes = plt.subplots(figsize=(6, 6))
    for digit in range(10):
        of = points[labels == digit]
        axes.plot(of[:, 0], of[:, 1], ".", label=str(digit), markersize=4)
    axes.legend(markerscale=3)
    axes.set_title("Test digits in the two numbers of the embedding")
    figure.savefig(file.with_suffix(".png"), dpi=110)
    print(json.dumps({"right": right(points, labels), "silhouette": silhouette(points[:1000], labels[:1000])}))


if __name__ == "__main__":
    main()
