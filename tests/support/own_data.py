"""A small net as text, and records for it in the forms in which a caller may have them."""

from __future__ import annotations

import numpy as np

RECORDS, BATCH = 20, 8
TEXT = """
net a {
    input x: f32[N, 6]
    input y: i32[N]
    h = x |> linear(5) as enc |> tanh
    logits = h |> linear(3) as score
    loss nll = softmax_loss(logits, y)
    metric top1 = accuracy(logits, y)
    output prob = softmax(logits)
}
train a {
    from: []
    solver: sgd(lr: 0.5, momentum: 0.9)
    schedule: step(gamma: 0.5, every: 4)
    steps: 6
    seed: 3
}
"""


def rows() -> tuple[np.ndarray, np.ndarray]:
    """Its records and their labels."""
    generator = np.random.default_rng(0)
    return generator.standard_normal((RECORDS, 6)).astype(np.float32), generator.integers(0, 3, RECORDS).astype(
        np.int32
    )


class Rows:
    """A data set as torch has them: a length, and records by number."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.x, self.y = x, y

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[np.ndarray, int]:
        return self.x[index], int(self.y[index])


def pieces(x: np.ndarray, y: np.ndarray, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    return [(x[i : i + size], y[i : i + size]) for i in range(0, len(x), size)]
