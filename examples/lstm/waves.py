"""Makes the sequences that lstm.net learns from: waves that rise fast and fall slowly, or the other way, with noise.

python waves.py [FOLDER]      writes waves_train.npz and waves_test.npz

One moment of a wave says nothing about its kind, and neither do its mean or its spectrum: what counts is the order.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import numpy.typing as npt

STEPS = 24


def waves(count: int, generator: np.random.Generator) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int32]]:
    """Sequences f32[count, 24, 1] and their kinds i32[count]: 0 rises fast, 1 falls fast."""
    kind = generator.integers(0, 2, count).astype(np.int32)
    period, start = generator.uniform(6, 12, (count, 1)), generator.uniform(0, 1, (count, 1))
    phase = (np.arange(STEPS) / period + start) % 1
    fast = 0.25
    rising = np.where(phase < fast, phase / fast, (1 - phase) / (1 - fast))
    wave = np.where(kind[:, None] == 0, rising, rising[:, ::-1]) * 2 - 1
    noisy = wave + generator.normal(0, 0.3, wave.shape)
    return noisy[..., None].astype(np.float32), kind


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".")
    generator = np.random.default_rng(0)
    for name, count in (("train", 4000), ("test", 1000)):
        wave, kind = waves(count, generator)
        on = np.ones(wave.shape[:2], np.float32)  # 0 where a sequence begins, 1 where it goes on
        on[:, 0] = 0
        np.savez(folder / f"waves_{name}.npz", wave=wave, on=on, kind=kind)
        print(f"{folder / f'waves_{name}.npz'}: {count} waves")


if __name__ == "__main__":
    main()
