"""A net small enough for Triton's interpreter: a convolution, an activation, pooling, a product, a loss."""

from __future__ import annotations

from pathlib import Path

NET = """net tiny {
    input image: f32[N, 1, 6, 6]
    input label: i32[N]
    x = image |> conv(2, 3) as conv1 |> tanh |> max_pool(2)
    logits = x |> linear(3) as score
    loss nll = softmax_loss(logits, label)
    output prob = softmax(logits)
}
data points = npz("points.npz", arrays: [image, label], batch: 4)
train tiny { from: points
    solver: sgd(lr: 0.01, momentum: 0.9)
    steps: 10
}
"""


def small_net(folder: Path) -> Path:
    """Its file, in a folder."""
    file = folder / "tiny.net"
    file.write_text(NET, encoding="utf-8")
    return file
