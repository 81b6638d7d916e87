"""Makes the pictures that unet.net learns from: circles and squares on a noisy ground, and what each pixel belongs to.

python shapes.py [FOLDER]      writes shapes_train.npz and shapes_test.npz
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

SIDE = 32


def shapes(count: int, generator: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Pictures f32[count, 1, 32, 32], and classes i32[count, 32, 32]: 0 the ground, 1 a circle, 2 a square.

    A shape is brighter or darker than the ground by as much as the noise.
    """
    rows, columns = np.mgrid[:SIDE, :SIDE]
    image = np.empty((count, 1, SIDE, SIDE), np.float32)
    label = np.zeros((count, SIDE, SIDE), np.int32)
    for k in range(count):
        picture = np.zeros((SIDE, SIDE))
        for _ in range(generator.integers(1, 4)):
            y, x = generator.integers(6, SIDE - 6, 2)
            size, kind = generator.integers(3, 7), generator.integers(1, 3)
            away = np.hypot(rows - y, columns - x) if kind == 1 else np.maximum(abs(rows - y), abs(columns - x))
            inside = away <= size
            label[k][inside] = kind
            picture[inside] = generator.choice([-1, 1])
        image[k, 0] = picture + generator.normal(0, 0.7, picture.shape)
    return image, label


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    generator = np.random.default_rng(0)
    for name, count in (("train", 2000), ("test", 400)):
        image, label = shapes(count, generator)
        np.savez(folder / f"shapes_{name}.npz", image=image, label=label)
        print(f"{folder / f'shapes_{name}.npz'}: {count} pictures")


if __name__ == "__main__":
    main()
