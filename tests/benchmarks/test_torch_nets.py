"""The PyTorch modules of the benchmarks are netc's nets: the same values and gradients as netc's numpy target."""

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
peers: Any = pytest.importorskip("peers")
gpu_case: Any = pytest.importorskip("gpu_case")

LARGE = pytest.mark.slow


def one_of(name: str, shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """A parameter's value: what batch norm multiplies with is near 1."""
    return np.float32(len(shape) == 1 and name.endswith(".weight")) + scaled(shape, rng)


def statistics(model: Any, forward: Any, rng: np.random.Generator) -> None:
    """The same means and variances of batch norm for both; netc has them times a factor."""
    found = [key for key in forward.state if key.rpartition(".")[2] in ("mean", "variance", "factor")]
    theirs = iter(buffer for key, buffer in model.named_buffers() if key.rpartition(".")[2] != "num_batches_tracked")
    for key in found:
        if key.endswith(".factor"):
            forward.state[key] = np.ones(1, np.float32)
            continue
        value = scaled(forward.state[key].shape, rng) + np.float32(key.endswith(".variance"))
        forward.state[key] = value
        next(theirs).copy_(torch.from_numpy(value))
    assert next(theirs, None) is None


def scaled(shape: tuple[int, ...], rng: np.random.Generator) -> Any:
    """Values that keep activations near 1."""
    fan = int(np.prod(shape[1:])) or 1
    return (rng.standard_normal(shape) * (np.sqrt(2 / fan) if len(shape) > 1 else 0.1)).astype(np.float32)


@pytest.mark.parametrize(
    "name",
    [
        "lenet",
        "cifar10_quick",
        "cifar10_full",
        *(pytest.param(name, marks=LARGE) for name in ("caffenet", "googlenet", "squeezenet", "resnet18", "mobilenet")),
    ],
)
def test_values_and_gradients_are_those_of_the_example(name: str, tmp_path: Path) -> None:
    net = torch_nets.NETS[name]
    rng = np.random.default_rng(7)
    image = rng.standard_normal((2, *net.shape)).astype(np.float32)
    label = rng.integers(0, net.classes, 2)
    path = peers.file_of(name)
    every = netc.compile(path, mode="train", dims={"N": 2}, update=False, target="numpy", device="cpu")
    names = [info.name for info in every.compilation.layout if info.kind == "parameter"]
    values = {key: one_of(key, every.state[key].shape, rng) for key in names}
    model = net.make().eval()
    torch_nets.load(model, [*values.values()])
    forward = netc.compile(path, dims={"N": 2}, outputs=["prob"], target="numpy", device="cpu")
    for key in set(names) & set(forward.state):
        forward.state[key] = values[key]
    statistics(model, forward, rng)
    x = torch.from_numpy(image)
    less = net.module(train=False).eval()
    torch_nets.load(less, [values[key] for key in names if key in forward.state])
    for mine, other in zip(less.buffers(), model.buffers(), strict=True):
        mine.copy_(other)
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
    normed = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in normed:
        module.train()  # each batch by itself, as netc learns
    total = torch_nets.losses(net, model, x, torch.from_numpy(label))
    total.backward()
    ours = sum(weight * float(found[key]) for key, weight in zip(net.losses, net.weights, strict=True))
    assert ours == pytest.approx(float(total.detach()), 1e-4)
    for key, parameter in zip(names, model.parameters(), strict=True):
        theirs = parameter.grad.numpy()
        error = np.linalg.norm(found[f"{key}.grad"] - theirs) / np.linalg.norm(theirs)
        # Values near a kink of ReLU fall on either side; batch norm of two images makes more of each.
        assert error < (3e-2 if normed else 1e-2), (key, error)
