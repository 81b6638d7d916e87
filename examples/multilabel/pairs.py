"""Makes the pictures that multilabel.net learns from: two digits side by side, with the set of digits that are there.

python pairs.py [FOLDER]      writes pairs_train.npz and pairs_test.npz, of the digits that come with netc
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

import netc


def pairs(
    digits: npt.NDArray[np.uint8], labels: npt.NDArray[np.int32], count: int, generator: np.random.Generator
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.float32]]:
    """Pictures u8[count, 1, 28, 56] of two digits, and 1 for each of them: f32[count, 10]."""
    left, right = generator.integers(0, len(digits), (2, count))
    image = np.concatenate([digits[left], digits[right]], axis=3)
    there = np.zeros((count, 10), np.float32)
    there[np.arange(count), labels[left]] = 1
    there[np.arange(count), labels[right]] = 1
    return image, there


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    generator = np.random.default_rng(0)
    with np.load(Path(netc.__file__).parent / "runtime/data/digits.npz") as kept:
        for name, count in (("train", 8000), ("test", 1000)):
            image, there = pairs(kept[f"{name}_image"], kept[f"{name}_label"], count, generator)
            np.savez(folder / f"pairs_{name}.npz", image=image, there=there)
            print(f"{folder / f'pairs_{name}.npz'}: {count} pictures")


if __name__ == "__main__":
    main()
