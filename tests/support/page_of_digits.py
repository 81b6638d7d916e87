"""A small classifier of digits behind its page, served in this process."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

import netc
from netc.compiler.spec import DataSpec
from netc.request import request
from netc.runtime.data import open_data
from netc.web.app import application, serve
from netc.web.predictor import Predictor
from netc.weights import Weights

NET = """net digits {
    input image: f32[N, 1, 28, 28]
    input label: i32[N]
    h = image |> conv(8, 5) as conv1 |> max_pool(2) |> relu
    scores = h |> linear(10) as score
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
    output prob = softmax(scores)
}
data digits = mnist(split: train, batch: 50, scale: 1/256, shuffle: true)
data heldout = mnist(split: test, batch: 100, scale: 1/256)
train digits {
    from: digits
    test: heldout
    solver: adam(lr: 0.005)
    steps: 60
    seed: 3
}
"""


def predictor(folder: Path, **more: Any) -> Predictor:
    """A net trained for two seconds on the digits that come with netc."""
    file = folder / "digits.net"
    file.write_text(NET, encoding="utf-8")
    weights = folder / "digits.safetensors"
    if not weights.exists():
        history = netc.train(file, folder=folder / "run", quiet=True)
        assert history.weights is not None
        weights.write_bytes(history.weights.read_bytes())
    return Predictor(file, request(mode="test", **more), Weights((weights,)), notify=lambda line: None)


def digits(count: int) -> list[tuple[bytes, int]]:
    """Test digits that come with netc, each a PNG and what it is."""
    with open_data(DataSpec("digits", "mnist", (("split", "test"), ("batch", count)), Path()), mode="test") as stream:
        columns = stream.next().columns
    return [(png(image[0].astype(np.uint8)), int(label)) for image, label in zip(*columns.values(), strict=True)]


@contextmanager
def served(found: Predictor, *, addresses: bool = False) -> Iterator[str]:
    """The page's address while it is served."""
    server = serve(application(found, addresses=addresses), "127.0.0.1", 0)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.effective_port}"
    finally:
        server.close()
        thread.join(1)  # connections that a browser keeps open are closed later


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()
