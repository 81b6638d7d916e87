"""`caffe.Net.forward()` of CaffeNet beside the same net's compiled program, in turns.

    python benchmarks/pycaffe.py [--batch 10] [--rounds 12] [--save results/pycaffe-cpu.json]

The program is that of `netc.compile` for the output `prob`; the net is fed and read as scripts of Caffe do it.
Reported: median and least time of each, and the median of the ratios of neighbouring rounds.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from setting import save

import netc
import netc.caffe as caffe

CONVOLUTIONS = (  # outputs, kernel, stride, pad, group, and whether pooling and normalization follow
    ("conv1", 96, 11, 4, 0, 1, True),
    ("conv2", 256, 5, 1, 2, 2, True),
    ("conv3", 384, 3, 1, 1, 1, False),
    ("conv4", 384, 3, 1, 1, 2, False),
    ("conv5", 256, 3, 1, 1, 2, False),
)
FILLER = "weight_filler { type: 'gaussian' std: 0.01 }"


def caffenet(batch: int) -> str:
    """CaffeNet as it is deployed."""
    lines = [
        f"layer {{ name: 'data' type: 'Input' top: 'data' input_param {{ shape {{ {_dims(batch, 3, 227, 227)} }} }} }}"
    ]
    below = "data"

    def layer(name: str, type_: str, settings: str = "", top: str = "") -> None:
        nonlocal below
        above = top or name
        lines.append(f"layer {{ name: '{name}' type: '{type_}' bottom: '{below}' top: '{above}' {settings} }}")
        below = above

    def pool(number: str) -> None:
        layer(f"pool{number}", "Pooling", "pooling_param { pool: MAX kernel_size: 3 stride: 2 }")

    for name, outputs, kernel, stride, pad, group, shrinks in CONVOLUTIONS:
        given = f"num_output: {outputs} kernel_size: {kernel} stride: {stride} pad: {pad} group: {group} {FILLER}"
        layer(name, "Convolution", f"convolution_param {{ {given} }}")
        layer(f"relu{name[-1]}", "ReLU", top=name)
        if shrinks:
            pool(name[-1])
            layer(f"norm{name[-1]}", "LRN", "lrn_param { local_size: 5 alpha: 0.0001 beta: 0.75 }")
    pool("5")
    for name, outputs in (("fc6", 4096), ("fc7", 4096)):
        layer(name, "InnerProduct", f"inner_product_param {{ num_output: {outputs} {FILLER} }}")
        layer(f"relu{name[-1]}", "ReLU", top=name)
        layer(f"drop{name[-1]}", "Dropout", "dropout_param { dropout_ratio: 0.5 }", top=name)
    layer("fc8", "InnerProduct", f"inner_product_param {{ num_output: 1000 {FILLER} }}")
    layer("prob", "Softmax")
    return "\n".join(lines)


def _dims(*sizes: int) -> str:
    return " ".join(f"dim: {size}" for size in sizes)


def seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def compare(batch: int, rounds: int) -> dict[str, Any]:
    """Both in turns, on the same images and weights."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "caffenet.prototxt"
        path.write_text(caffenet(batch))
        net = caffe.Net(path, caffe.TEST)
        net.save(Path(folder) / "w.caffemodel")
        program = netc.compile(path, outputs=["prob"])
        program.load(Path(folder) / "w.caffemodel")
    images = np.random.default_rng(0).standard_normal((batch, 3, 227, 227)).astype(np.float32)
    net.blobs["data"].data[...] = images
    for _ in range(5):  # past those passes that keep everything
        net.forward()
    np.testing.assert_allclose(net.forward()["prob"], program(data=images)["prob"], rtol=1e-4, atol=1e-7)
    calls = {"net": net.forward, "program": lambda: program(data=images)}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds):
        for name in calls if number % 2 else reversed(calls):
            times[name].append(seconds(calls[name]))
    ratios = sorted(a / b for a, b in zip(times["net"], times["program"], strict=True))
    found: dict[str, Any] = {"batch": batch, "rounds": rounds, "ratio": statistics.median(ratios)}
    for name, each in times.items():
        found |= {f"{name}_ms": 1e3 * statistics.median(each), f"{name}_least_ms": 1e3 * min(each)}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    found = compare(given.batch, given.rounds)
    print(
        f"net {found['net_ms']:.1f} ({found['net_least_ms']:.1f}) ms   program {found['program_ms']:.1f} "
        f"({found['program_least_ms']:.1f}) ms   ratio {found['ratio']:.3f}"
    )
    if given.save:
        save(given.save, [found])


if __name__ == "__main__":
    main()
