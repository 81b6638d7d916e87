"""The PyTorch modules of the GPU benchmark are the examples: the same values and gradients as netc's numpy target."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
torch = pytest.importorskip("torch")
torch_nets: Any = pytest.importorskip("torch_nets")
gpu_case: Any = pytest.importorskip("gpu_case")

LARGE = pytest.mark.slow


def scaled(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Values that keep activations near 1."""
    fan = int(np.prod(shape[1:])) or 1
    return (rng.standard_normal(shape) * (np.sqrt(2 / fan) if len(shape) > 1 else 0.1)).astype(np.float32)


@pytest.mark.parametrize(
    "name", ["lenet", "cifar10_full", pytest.param("caffenet", marks=LARGE), pytest.param("googlenet", marks=LARGE)]
)
def test_values_and_gradients_are_those_of_the_example(name: str, tmp_path: Path) -> None:
    net = torch_nets.NETS[name]
    rng = np.random.default_rng(7)
    image = rng.standard_normal((2, *net.shape)).astype(np.float32)
    label = rng.integers(0, net.classes, 2)
    path = ROOT / "examples" / f"{name}.net"
    every = netc.compile(path, mode="train", dims={"N": 2}, update=False, target="numpy", device="cpu")
    names = [info.name for info in every.compilation.layout if info.kind == "parameter"]
    values = {key: scaled(every.state[key].shape, rng) for key in names}
    model = net.make().eval()
    torch_nets.load(model, [*values.values()])
    forward = netc.compile(path, dims={"N": 2}, outputs=["prob"], target="numpy", device="cpu")
    for key in set(names) & set(forward.state):
        forward.state[key] = values[key]
    x = torch.from_numpy(image)
    less = net.module(train=False).eval()
    torch_nets.load(less, [values[key] for key in names if key in forward.state])
    with torch.no_grad():
        expected = torch_nets.probabilities(model, x).numpy()
        np.testing.assert_array_equal(torch_nets.probabilities(less, x).numpy(), expected)
    assert expected.std() > 1e-4
    np.testing.assert_allclose(forward(image=image)["prob"], expected, rtol=2e-3, atol=1e-6)

    # Without dropout, whose masks differ.
    same = tmp_path / path.name
    same.write_text(gpu_case.without_dropout(path.read_text()))
    backward = netc.compile(same, mode="train", dims={"N": 2}, gradients=names, target="numpy", device="cpu")
    for key in names:
        backward.state[key] = values[key]
    found = backward(image=image, label=label.astype(np.int32))
    total = torch_nets.losses(net, model, x, torch.from_numpy(label))
    total.backward()
    ours = sum(weight * float(found[key]) for key, weight in zip(net.losses, net.weights, strict=True))
    assert ours == pytest.approx(float(total.detach()), 1e-4)
    for key, parameter in zip(names, model.parameters(), strict=True):
        theirs = parameter.grad.numpy()
        error = np.linalg.norm(found[f"{key}.grad"] - theirs) / np.linalg.norm(theirs)
        assert error < 1e-2, (key, error)  # values near a kink of ReLU fall on either side
