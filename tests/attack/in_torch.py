"""An interpreter of `.net` statements in PyTorch: the language and its layers once more, in double precision.

It is made of the syntax tree and of torch's functions alone. Parameters come by the names that the net gives them; the
gradients are autograd's.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as f

from netc.compiler.net import Net
from netc.grammar import tree
from netc.grammar.parse import parse
from netc.grammar.source import Source

Value = Any  # a tensor, or a constant of the language
Array = np.ndarray[Any, Any]


class Unlike(Exception):
    """PyTorch has no such layer, or means something else by it."""


def of_torch(text: str, net: Net, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """The losses of a net in training, and the gradients of their sum by `image` and all parameters."""
    definition = next(d for d in parse(Source("torch", text)).definitions if isinstance(d, tree.NetDef))
    params = iter([info for info in net.state if info.kind == "parameter"])

    def parameter() -> Tensor:
        info = next(params)
        known[info.name] = torch.tensor(feeds[info.name], dtype=torch.float64, requires_grad=True)
        return known[info.name]

    known: dict[str, Tensor] = {}
    machine = Machine(parameter)
    for name in net.inputs:
        value = torch.as_tensor(feeds[name])
        machine.values[name] = value.double() if value.is_floating_point() else value.long()
    image = machine.values["image"] = machine.values["image"].requires_grad_()
    total = torch.zeros((), dtype=torch.float64)
    found: dict[str, Array] = {}
    for statement in _reached(definition.body):
        if isinstance(statement, tree.Bind):
            value = machine.of(statement.value)
            names = [target.name for target in statement.targets]
            machine.values.update(zip(names, value if len(names) > 1 else [value], strict=True))
        elif isinstance(statement, tree.Role):
            value = machine.of(statement.value)
            if statement.kind == "loss":
                weight = next((float(machine.of(a.value)) for a in statement.args), 1.0)
                total = total + weight * value.sum()
                found[statement.name.name] = value.detach().numpy()
    wanted = {**known, "image": image}
    slopes: tuple[Tensor | None, ...] = (None,) * len(wanted)
    if total.requires_grad:
        slopes = torch.autograd.grad(total, list(wanted.values()), allow_unused=True)
    for (name, tensor), slope in zip(wanted.items(), slopes, strict=True):
        found[f"{name}.grad"] = (torch.zeros_like(tensor) if slope is None else slope).numpy()
    return found


def _reached(body: tuple[tree.AnyStatement, ...]) -> list[tree.AnyStatement]:
    """The statements on which losses and metrics depend: others make no parameters."""
    found: list[tree.AnyStatement] = []
    read: set[str] = set()
    for statement in reversed(body):
        if isinstance(statement, tree.Bind):
            wanted = any(target.name in read for target in statement.targets)
        else:
            wanted = isinstance(statement, tree.Role) and statement.kind != "output"
        if wanted:
            found.insert(0, statement)
            read |= set(_names(statement))
    return found


def _names(node: tree.Node) -> Iterator[str]:
    if isinstance(node, tree.Name):
        yield node.name
    # Of what `crop` makes a value like only the shape is read.
    crops = isinstance(node, tree.Call) and node.callee.name == "crop"
    for child in node.args[:1] if crops and isinstance(node, tree.Call) else tree.children(node):
        yield from _names(child)


class Machine:
    """Evaluates expressions. parameter: hands out the parameters, in the order in which layers make them."""

    def __init__(self, parameter: Callable[[], Tensor]) -> None:
        self.values: dict[str, Value] = {}
        self.parameter = parameter

    def of(self, expr: tree.Expr) -> Value:
        """The value of an expression."""
        if isinstance(expr, tree.Number | tree.Boolean | tree.String):
            return expr.value
        if isinstance(expr, tree.Name):
            return self.values.get(expr.name, expr.name)  # a word stands for itself
        if isinstance(expr, tree.List):
            return [self.of(item) for item in expr.items]
        if isinstance(expr, tree.Unary):
            return -self.of(expr.operand)
        if isinstance(expr, tree.Binary):
            return _binary(expr.sign, self.of(expr.left), self.of(expr.right))
        if isinstance(expr, tree.Compare):
            return RELATIONS[expr.relation](self.of(expr.left), self.of(expr.right))
        if isinstance(expr, tree.Call):
            return self._call(expr, [])
        if isinstance(expr, tree.Pipe):
            value = self.of(expr.value)
            for call in expr.calls:
                value = self._call(call, [value])
            return value
        raise Unlike(type(expr).__name__)

    def _call(self, call: tree.Call, first: list[Value]) -> Value:
        name = call.callee.name
        if name not in LAYERS:  # of `contrastive_loss` the gradient is Caffe's, `dropout` is drawn
            raise Unlike(name)
        plain = [self.of(a.value) for a in call.args if a.name is None]
        named = {a.name.name: self._setting(a) for a in call.args if a.name is not None}
        return LAYERS[name](self, *first, *plain, **named)

    def _setting(self, argument: tree.Arg) -> Value:
        """A filler is as good as `true`: the numbers are given."""
        value = argument.value
        return True if isinstance(value, tree.Call) and value.callee.name in FILLERS else self.of(value)


FILLERS = ("msra", "xavier", "gaussian", "constant", "uniform")
RELATIONS: dict[str, Callable[[Value, Value], Value]] = {
    "<": lambda a, b: a < b, ">": lambda a, b: a > b, "<=": lambda a, b: a <= b, ">=": lambda a, b: a >= b,
    "==": lambda a, b: a == b, "!=": lambda a, b: a != b,
}  # fmt: skip


def _binary(sign: str, a: Value, b: Value) -> Value:
    return {"+": lambda: a + b, "-": lambda: a - b, "*": lambda: a * b, "/": lambda: a / b, "**": lambda: a**b}[sign]()


def _no_bias(bias: Value) -> bool:
    return bias in ("none", False)


def _conv(
    m: Machine, x: Tensor, out: int, kernel: int, *, stride: int = 1, pad: int = 0, group: int = 1, dilation: int = 1,
    bias: Value = True, **_: Value,
) -> Tensor:  # fmt: skip
    weight = m.parameter()
    return f.conv2d(x, weight, None if _no_bias(bias) else m.parameter(), stride, pad, dilation, group)


def _deconv(
    m: Machine, x: Tensor, out: int, kernel: int, *, stride: int = 1, pad: int = 0, group: int = 1, bias: Value = True,
    **_: Value,
) -> Tensor:  # fmt: skip
    weight = m.parameter()
    return f.conv_transpose2d(x, weight, None if _no_bias(bias) else m.parameter(), stride, pad, groups=group)


def _linear(m: Machine, x: Tensor, out: int, *, bias: Value = True, transpose: bool = False, **_: Value) -> Tensor:
    weight = m.parameter()
    flat = x.flatten(1) @ (weight if transpose else weight.t())
    return flat if _no_bias(bias) else flat + m.parameter()


def _pool(
    kind: str, x: Tensor, kernel: int = 0, *, stride: int = 0, pad: int = 0, round: str = "ceil", **how: Value
) -> Tensor:
    if how.get("global"):
        return x.amax((2, 3), keepdim=True) if kind == "max" else x.mean((2, 3), keepdim=True)
    stride, up = stride or kernel, round == "ceil"
    if kind == "max":
        low = f.pad(x, (pad, pad, pad, pad), value=-math.inf)  # torch pads at most half of a kernel
        return (
            f.max_pool2d(low, kernel, stride, 0, ceil_mode=False) if not up else _ceil_max(low, x, kernel, stride, pad)
        )
    if 2 * pad > kernel:
        raise Unlike("a pad of more than half of the kernel")
    return f.avg_pool2d(x, kernel, stride, pad, ceil_mode=up, count_include_pad=True)


def _ceil_max(low: Tensor, x: Tensor, kernel: int, stride: int, pad: int) -> Tensor:
    """A last window that begins in the padding is dropped, and what lies beyond the padding counts for nothing."""
    more = []
    for size in (x.shape[3], x.shape[2]):
        count = math.ceil((size + 2 * pad - kernel) / stride) + 1
        if pad and (count - 1) * stride >= size + pad:
            count -= 1
        more += [0, (count - 1) * stride + kernel - (size + 2 * pad)]
    return f.max_pool2d(f.pad(low, more, value=-math.inf), kernel, stride)


def _spp(m: Machine, x: Tensor, height: int, *, pool: str = "max") -> Tensor:
    found = []
    for level in range(height):
        bins = 2**level
        kernels = [math.ceil(n / bins) for n in x.shape[2:]]
        pads = [(k * bins - n + 1) // 2 for k, n in zip(kernels, x.shape[2:], strict=True)]
        if pool == "max":
            padded = f.pad(x, (pads[1], pads[1], pads[0], pads[0]), value=-math.inf)
            pooled = f.max_pool2d(padded, kernels, kernels)
        else:
            if any(2 * p > k for p, k in zip(pads, kernels, strict=True)):
                raise Unlike("a pad of more than half of the kernel")
            pooled = f.avg_pool2d(x, kernels, kernels, pads)
        found.append(pooled[:, :, :bins, :bins].flatten(1))
    return torch.cat(found, 1)


def _batch_norm(
    m: Machine, x: Tensor, *, affine: bool = True, eps: float = 1e-5, use_global_stats: bool = False
) -> Tensor:
    if use_global_stats:
        raise Unlike("running statistics")
    axes = [i for i in range(x.ndim) if i != 1]
    centred = x - x.mean(axes, keepdim=True)
    y = centred / torch.sqrt((centred**2).mean(axes, keepdim=True) + eps)
    if not affine:
        return y
    shape = [1, -1, *[1] * (x.ndim - 2)]
    weight = m.parameter()
    return y * weight.reshape(shape) + m.parameter().reshape(shape)


def _mvn(
    m: Machine, x: Tensor, *, normalize_variance: bool = True, across_channels: bool = False, eps: float = 1e-9
) -> Tensor:
    axes = list(range(1 if across_channels else 2, x.ndim))
    centred = x - x.mean(axes, keepdim=True)
    if not normalize_variance:
        return centred
    raise Unlike("the gradient of mvn by the deviation, which is Caffe's")


def _lrn(m: Machine, x: Tensor, size: int = 5, *, alpha: float = 1.0, beta: float = 0.75, k: float = 1.0,
         region: str = "across") -> Tensor:  # fmt: skip
    if region == "across":
        return f.local_response_norm(x, size, alpha, beta, k)
    return x * (1 + alpha * f.avg_pool2d(x * x, size, 1, size // 2)) ** -beta


def _spread(x: Tensor, weight: Tensor, axis: int) -> Tensor:
    return weight.reshape([*[1] * axis, *weight.shape, *[1] * (x.ndim - axis - weight.ndim)])


def _scale(m: Machine, x: Tensor, *, axis: int = 1, bias: bool = False, by: Tensor | None = None) -> Tensor:
    y = x * _spread(x, m.parameter() if by is None else by, axis)
    return y + _spread(x, m.parameter(), axis) if bias else y


def _bias(m: Machine, x: Tensor, *, axis: int = 1, num_axes: int = 1) -> Tensor:
    return x + _spread(x, m.parameter(), axis)


def _prelu(m: Machine, x: Tensor, *, channel_shared: bool = False) -> Tensor:
    slope = m.parameter()
    slope = slope.reshape(()) if channel_shared else _spread(x, slope, 1)
    return torch.where(x > 0, x, x * slope)


def _extreme(which: str) -> Callable[..., Tensor]:
    def found(m: Machine, x: Tensor, other: Value = None, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        if other is not None:
            other = other if isinstance(other, Tensor) else torch.tensor(float(other), dtype=x.dtype)
            chosen = x >= other if which == "max" else x <= other
            return torch.where(chosen, x, other)
        if axis is None:
            return x.max() if which == "max" else x.min()
        return (x.max if which == "max" else x.min)(axis, keepdim=keepdims)[0]

    return found


def _total(which: str) -> Callable[..., Tensor]:
    def found(m: Machine, x: Tensor, *, axis: int | None = None, keepdims: bool = False) -> Tensor:
        axes = list(range(x.ndim)) if axis is None else [axis]
        return (x.sum if which == "sum" else x.mean)(axes, keepdim=keepdims)

    return found


def _eltwise(m: Machine, *xs: Tensor, operation: str = "sum", coeff: list[float] | None = None) -> Tensor:
    y = xs[0] * (coeff[0] if coeff else 1)
    for i, x in enumerate(xs[1:], 1):
        if operation == "sum":
            y = y + x * (coeff[i] if coeff else 1)
        elif operation == "prod":
            y = y * x
        else:  # of the first two the second has the gradient where they are equal, as in Caffe; a later one never
            y = torch.where(y > x if i == 1 else y >= x, y, x)
    return y


def _crop(m: Machine, x: Tensor, like: Tensor, *, axis: int = 2) -> Tensor:
    if not isinstance(like, Tensor):
        raise Unlike("crop like a value that nothing computes")
    for i in range(axis, x.ndim):
        x = x.narrow(i, 0, like.shape[i])
    return x


def _reshape(m: Machine, x: Tensor, shape: list[int]) -> Tensor:
    return x.reshape([x.shape[i] if n == 0 else n for i, n in enumerate(shape)])


def _im2col(m: Machine, x: Tensor, kernel: int) -> Tensor:
    rows, columns = (n - kernel + 1 for n in x.shape[2:])
    return f.unfold(x, kernel).reshape(len(x), -1, rows, columns)


def _exp(m: Machine, x: Tensor, *, base: float = -1) -> Tensor:
    return torch.exp(x if base < 0 else x * math.log(base))


def _softmax_loss(
    m: Machine, x: Tensor, label: Tensor, *, ignore: int | None = None, normalization: str = "valid"
) -> Tensor:
    total = f.cross_entropy(x, label, reduction="sum", ignore_index=-100 if ignore is None else ignore)
    valid = max(1, int((label != ignore).sum())) if ignore is not None else len(label)
    return total / (valid if normalization == "valid" else len(x))


def _hinge(m: Machine, x: Tensor, label: Tensor, *, norm: str = "l1") -> Tensor:
    sign = torch.where(f.one_hot(label, x.shape[1]) == 1, -1.0, 1.0).double()
    margin = torch.relu(1 + sign * x)
    return (margin if norm == "l1" else margin**2).sum() / len(x)


def _sigmoid_loss(m: Machine, x: Tensor, target: Tensor) -> Tensor:
    # The target is an input of Caffe's layer, whose gradient netc has.
    return f.binary_cross_entropy_with_logits(x, target, reduction="sum") / len(x)


def _multinomial(m: Machine, x: Tensor, label: Tensor) -> Tensor:
    return -torch.log(x.clamp_min(1e-20)).gather(1, label[:, None]).sum() / len(x)


def _split(m: Machine, x: Tensor, *, at: list[int]) -> Iterator[Tensor]:
    return iter(torch.tensor_split(x, at, 1))


LAYERS: dict[str, Callable[..., Any]] = {
    "conv": _conv,
    "deconv": _deconv,
    "linear": _linear,
    "max_pool": lambda m, x, *a, **k: _pool("max", x, *a, **k),
    "avg_pool": lambda m, x, *a, **k: _pool("avg", x, *a, **k),
    "spp": _spp,
    "batch_norm": _batch_norm,
    "mvn": _mvn,
    "lrn": _lrn,
    "softmax": lambda m, x: torch.softmax(x, 1),
    "relu": lambda m, x, slope=0.0: torch.where(x > 0, x, slope * x),
    "prelu": _prelu,
    "elu": lambda m, x, alpha=1.0: torch.where(x > 0, x, alpha * (torch.exp(x.clamp_max(0)) - 1)),
    "sigmoid": lambda m, x: torch.sigmoid(x),
    "tanh": lambda m, x: torch.tanh(x),
    "softplus": lambda m, x: x.clamp_min(0) + torch.log1p(torch.exp(-x.abs())),
    "swish": lambda m, x: x * torch.sigmoid(x),
    "clip": lambda m, x, min, max: x.clamp(min, max),
    "abs": lambda m, x: x.abs(),
    "threshold": lambda m, x, threshold: (x > threshold).double(),
    "scale": _scale,
    "bias": _bias,
    "detach": lambda m, x: x.detach(),
    "power": lambda m, x, power=1.0, scale=1.0, shift=0.0: (shift + scale * x) ** power,
    "cast": lambda m, x, to: x,
    "exp": _exp,
    "log": lambda m, x: torch.log(x),
    "sqrt": lambda m, x: torch.sqrt(x),
    "floor": lambda m, x: torch.floor(x),
    "where": lambda m, c, a, b: torch.where(c, a, b),
    "max": _extreme("max"),
    "min": _extreme("min"),
    "sum": _total("sum"),
    "mean": _total("mean"),
    "eltwise": _eltwise,
    "concat": lambda m, *xs, axis=1: torch.cat(xs, axis),
    "split": _split,
    "flatten": lambda m, x: x.flatten(1),
    "reshape": _reshape,
    "tile": lambda m, x, tiles, axis=1: torch.cat([x] * tiles, axis),
    "crop": _crop,
    "im2col": _im2col,
    "softmax_loss": _softmax_loss,
    "hinge_loss": _hinge,
    "euclidean_loss": lambda m, a, b: ((a - b) ** 2).sum() / (2 * len(a)),
    "sigmoid_loss": _sigmoid_loss,
    "multinomial_loss": _multinomial,
    "accuracy": lambda m, x, label: x,  # metrics are compared with the oracle alone
}
