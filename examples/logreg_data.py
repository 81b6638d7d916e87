"""Makes the points that logreg.net learns from: two classes of two clusters each, two of four features informative.

python logreg_data.py [FOLDER]      writes logreg_train.npz and logreg_test.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np


def points(count: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """`count` points f32[count, 4] with labels i32[count]; a straight line tells about 85 % of them apart."""
    centres = np.array([[-1.0, -1.0], [0.5, -1.5], [1.0, 1.0], [-0.5, 1.5]])
    cluster = generator.integers(0, 4, count)
    informative = centres[cluster] + generator.normal(0, 1.1, (count, 2))
    noise = generator.normal(0, 1, (count, 2))
    data = np.concatenate([informative, noise], axis=1).astype(np.float32)
    return {"data": data, "label": (cluster // 2).astype(np.int32)}


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parent)
    generator = np.random.default_rng(0)
    for name, count in (("train", 7500), ("test", 2500)):
        made = points(count, generator)
        np.savez(folder / f"logreg_{name}.npz", data=made["data"], label=made["label"])
        print(f"{folder / f'logreg_{name}.npz'}: {count} points")


if __name__ == "__main__":
    main()
