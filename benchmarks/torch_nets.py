"""The examples as PyTorch modules, written as one would by hand: what `gpu.py` and `peers.py` compare netc with.

Parameters come in the order of netc's (`load` checks their shapes); `losses` is what a step minimizes, with its
weights. A test holds forward values and gradients to those of netc's numpy target.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Within(nn.Module):
    """Caffe's LRN over a square of each channel's space."""

    def __init__(self, size: int, alpha: float, beta: float) -> None:
        super().__init__()
        self.size, self.alpha, self.beta = size, alpha, beta

    def forward(self, x: Tensor) -> Tensor:
        mean = functional.avg_pool2d(x * x, self.size, 1, self.size // 2)
        return x * (1 + self.alpha * mean) ** -self.beta


def conv(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Sequential:
    """A convolution and ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups), nn.ReLU(inplace=True))


def pool(kernel: int, stride: int, padding: int = 0) -> nn.MaxPool2d:
    """Caffe's pooling rounds up."""
    return nn.MaxPool2d(kernel, stride, padding, ceil_mode=True)


def average(kernel: int, stride: int) -> nn.AvgPool2d:
    return nn.AvgPool2d(kernel, stride, ceil_mode=True)


def lenet() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 20, 5),
        pool(2, 2),
        nn.Conv2d(20, 50, 5),
        pool(2, 2),
        nn.Flatten(),
        nn.Linear(800, 500),
        nn.ReLU(inplace=True),
        nn.Linear(500, 10),
    )


def cifar10_full() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        pool(3, 2),
        nn.ReLU(inplace=True),
        Within(3, 5e-5, 0.75),
        conv(32, 32, 5, padding=2),
        average(3, 2),
        Within(3, 5e-5, 0.75),
        conv(32, 64, 5, padding=2),
        average(3, 2),
        nn.Flatten(),
        nn.Linear(1024, 10),
    )


def cifar10_quick() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 32, 5, padding=2),
        pool(3, 2),
        nn.ReLU(inplace=True),
        conv(32, 32, 5, padding=2),
        average(3, 2),
        conv(32, 64, 5, padding=2),
        average(3, 2),
        nn.Flatten(),
        nn.Linear(1024, 64),
        nn.Linear(64, 10),
    )


def caffenet() -> nn.Module:
    return nn.Sequential(
        conv(3, 96, 11, 4),
        pool(3, 2),
        nn.LocalResponseNorm(5, 1e-4, 0.75),
        conv(96, 256, 5, padding=2, groups=2),
        pool(3, 2),
        nn.LocalResponseNorm(5, 1e-4, 0.75),
        conv(256, 384, 3, padding=1),
        conv(384, 384, 3, padding=1, groups=2),
        conv(384, 256, 3, padding=1, groups=2),
        pool(3, 2),
        nn.Flatten(),
        nn.Linear(9216, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 4096),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
        nn.Linear(4096, 1000),
    )


class Inception(nn.Module):
    """Four branches, one after the other in the channels."""

    def __init__(self, inputs: int, one: int, reduce3: int, three: int, reduce5: int, five: int, pooled: int) -> None:
        super().__init__()
        self.one = conv(inputs, one, 1)
        self.three = nn.Sequential(conv(inputs, reduce3, 1), conv(reduce3, three, 3, padding=1))
        self.five = nn.Sequential(conv(inputs, reduce5, 1), conv(reduce5, five, 5, padding=2))
        self.pooled = nn.Sequential(pool(3, 1, 1), conv(inputs, pooled, 1))

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.one(x), self.three(x), self.five(x), self.pooled(x)], 1)


def side(inputs: int) -> nn.Sequential:
    """A classifier in the middle of the net."""
    return nn.Sequential(
        average(5, 3),
        conv(inputs, 128, 1),
        nn.Flatten(),
        nn.Linear(2048, 1024),
        nn.ReLU(inplace=True),
        nn.Dropout(0.7),
        nn.Linear(1024, 1000),
    )


class GoogLeNet(nn.Module):
    """sides: with both side classifiers, which only training has."""

    def __init__(self, sides: bool = True) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            conv(3, 64, 7, 2, 3),
            pool(3, 2),
            nn.LocalResponseNorm(5, 1e-4, 0.75),
            conv(64, 64, 1),
            conv(64, 192, 3, padding=1),
            nn.LocalResponseNorm(5, 1e-4, 0.75),
            pool(3, 2),
            Inception(192, 64, 96, 128, 16, 32, 32),
            Inception(256, 128, 128, 192, 32, 96, 64),
            pool(3, 2),
            Inception(480, 192, 96, 208, 16, 48, 64),
        )
        if sides:  # here, since parameters come in this order
            self.side1 = side(512)
        self.middle = nn.Sequential(
            Inception(512, 160, 112, 224, 24, 64, 64),
            Inception(512, 128, 128, 256, 24, 64, 64),
            Inception(512, 112, 144, 288, 32, 64, 64),
        )
        if sides:
            self.side2 = side(528)
        self.end = nn.Sequential(
            Inception(528, 256, 160, 320, 32, 128, 128),
            pool(3, 2),
            Inception(832, 256, 160, 320, 32, 128, 128),
            Inception(832, 384, 192, 384, 48, 128, 128),
            nn.AvgPool2d(7, 1),
            nn.Dropout(0.4),
            nn.Flatten(),
            nn.Linear(1024, 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.end(self.middle(self.stem(x)))

    def all(self, x: Tensor) -> Sequence[Tensor]:
        """The logits, then those of the side classifiers."""
        first = self.stem(x)
        second = self.middle(first)
        return self.end(second), self.side1(first), self.side2(second)


class Fire(nn.Module):
    """Few channels, then two kernels over them side by side."""

    def __init__(self, inputs: int, squeeze: int, expand: int) -> None:
        super().__init__()
        self.squeeze, self.one = conv(inputs, squeeze, 1), conv(squeeze, expand, 1)
        self.three = conv(squeeze, expand, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        few = self.squeeze(x)
        return torch.cat([self.one(few), self.three(few)], 1)


def squeezenet() -> nn.Module:
    """SqueezeNet 1.1."""
    return nn.Sequential(
        conv(3, 64, 3, 2),
        pool(3, 2),
        Fire(64, 16, 64),
        Fire(128, 16, 64),
        pool(3, 2),
        Fire(128, 32, 128),
        Fire(256, 32, 128),
        pool(3, 2),
        Fire(256, 48, 192),
        Fire(384, 48, 192),
        Fire(384, 64, 256),
        Fire(512, 64, 256),
        nn.Dropout(0.5),
        conv(512, 1000, 1),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
    )


def normed(inputs: int, outputs: int, kernel: int, stride: int = 1, padding: int = 0, groups: int = 1) -> nn.Sequential:
    """A convolution without bias, and batch norm."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding, groups=groups, bias=False), nn.BatchNorm2d(outputs)
    )


class Residual(nn.Module):
    """Two convolutions of 3 x 3, added to what they are made of."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.one = nn.Sequential(normed(inputs, outputs, 3, stride, 1), nn.ReLU(inplace=True))
        self.two = normed(outputs, outputs, 3, 1, 1)
        self.down = normed(inputs, outputs, 1, stride) if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.down(x) + self.two(self.one(x)), inplace=True)


def resnet18() -> nn.Module:
    stages = [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]
    return nn.Sequential(
        normed(3, 64, 7, 2, 3),
        nn.ReLU(inplace=True),
        nn.MaxPool2d(3, 2, 1),
        *(
            nn.Sequential(Residual(inputs, outputs, stride), Residual(outputs, outputs))
            for inputs, outputs, stride in stages
        ),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(512, 1000),
    )


def mobilenet() -> nn.Module:
    """MobileNet v1: a convolution for each channel, and one of 1 x 1 over them."""
    stages = [(32, 64, 1), (64, 128, 2), (128, 128, 1), (128, 256, 2), (256, 256, 1), (256, 512, 2)]
    stages += [(512, 512, 1)] * 5 + [(512, 1024, 2), (1024, 1024, 1)]
    layers: list[nn.Module] = [normed(3, 32, 3, 2, 1), nn.ReLU(inplace=True)]
    for inputs, outputs, stride in stages:
        layers += [normed(inputs, inputs, 3, stride, 1, groups=inputs), nn.ReLU(inplace=True)]
        layers += [normed(inputs, outputs, 1), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1024, 1000))


@dataclass(frozen=True)
class Net:
    """A net of the examples. batch: that of the comparison. shape, classes: of an input. drops: has dropout.

    forward: makes what a forward pass needs, where that is less. losses, weights: of the last classifier first. decay:
    the solver's; no_decay: whether biases have none.
    """

    make: Callable[[], nn.Module]
    batch: int
    shape: tuple[int, ...]
    classes: int
    decay: float
    drops: bool = False
    no_decay: bool = False
    losses: tuple[str, ...] = ("nll",)
    weights: tuple[float, ...] = (1.0,)
    forward: Callable[[], nn.Module] | None = None

    def module(self, *, train: bool) -> nn.Module:
        """The module of a training step, or of a forward pass."""
        return self.make() if train or self.forward is None else self.forward()


NETS = {
    "lenet": Net(lenet, 64, (1, 28, 28), 10, 5e-4),
    "cifar10_full": Net(cifar10_full, 128, (3, 32, 32), 10, 4e-3),
    "cifar10_quick": Net(cifar10_quick, 128, (3, 32, 32), 10, 4e-3),
    "caffenet": Net(caffenet, 256, (3, 227, 227), 1000, 5e-4, drops=True, no_decay=True),
    "googlenet": Net(
        GoogLeNet,
        128,
        (3, 224, 224),
        1000,
        2e-4,
        drops=True,
        no_decay=True,
        losses=("nll", "side1", "side2"),
        weights=(1.0, 0.3, 0.3),
        forward=lambda: GoogLeNet(sides=False),
    ),
    "squeezenet": Net(squeezenet, 128, (3, 227, 227), 1000, 2e-4, drops=True),
    "resnet18": Net(resnet18, 128, (3, 224, 224), 1000, 1e-4),
    "mobilenet": Net(mobilenet, 128, (3, 224, 224), 1000, 4e-5),
}


def load(model: nn.Module, values: Sequence[Any]) -> None:
    """Give a model netc's parameters, in order."""
    parameters = [*model.parameters()]
    if [tuple(p.shape) for p in parameters] != [tuple(v.shape) for v in values]:
        raise ValueError("the module's parameters differ from those of the net")
    with torch.no_grad():
        for parameter, value in zip(parameters, values, strict=True):
            parameter.copy_(torch.from_numpy(value))


def probabilities(model: nn.Module, x: Tensor) -> Tensor:
    return functional.softmax(model(x).float(), 1)


def losses(net: Net, model: Any, x: Tensor, label: Tensor) -> Tensor:
    """The weighted sum of the losses."""
    found = [model(x)] if len(net.weights) == 1 else model.all(x)
    terms = [w * functional.cross_entropy(y.float(), label) for w, y in zip(net.weights, found, strict=True)]
    return sum(terms[1:], start=terms[0])


def solver(net: Net, model: nn.Module, multipliers: Sequence[tuple[float, float]], rate: float) -> torch.optim.SGD:
    """SGD with momentum, and the multipliers (of rate, of decay) of each parameter."""
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for parameter, key in zip(model.parameters(), multipliers, strict=True):
        groups.setdefault(key, []).append(parameter)
    listed = [
        {"params": found, "lr": rate * lr, "weight_decay": net.decay * decay} for (lr, decay), found in groups.items()
    ]
    fused = next(model.parameters()).is_cuda
    return torch.optim.SGD(listed, lr=rate, momentum=0.9, fused=fused)
