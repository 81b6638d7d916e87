"""Operators that slide a window, as layers: convolutions and poolings, with padding that differs from side to side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..compiler.ops.base import TypeRuleError
from .import_values import Array, Known, Tensor, Untranslated
from .translating import Translator

MAX_SHARES = 1 << 22  # windows of an image
LEAST = -3.4028234663852886e38


@dataclass(frozen=True)
class Window:
    """A window over the axes of space: its sizes, and the padding before and after."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    low: tuple[int, ...]
    high: tuple[int, ...]

    @property
    def reach(self) -> tuple[int, ...]:
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))

    @property
    def even(self) -> bool:
        return self.low == self.high

    def settings(self) -> dict[str, Any]:
        """Stride and dilation as a call has them."""
        found: dict[str, Any] = {}
        if any(n != 1 for n in self.stride):
            found["stride"] = side(self.stride)
        if any(n != 1 for n in self.dilation):
            found["dilation"] = side(self.dilation)
        return found


def side(sizes: Sequence[int]) -> int | list[int]:
    """One number where all are equal."""
    return sizes[0] if len(set(sizes)) == 1 else list(sizes)


def window(t: Translator, x: Tensor, kernel: Sequence[int]) -> Window:
    """The window of the node at hand, whose kernel is known."""
    rank = x.rank - 2
    if rank < 1 or len(kernel) != rank:
        raise Untranslated(f"a kernel of {len(kernel)} axes for a tensor of {x.rank}")
    stride, dilation = t.integers("strides", (1,) * rank), t.integers("dilations", (1,) * rank)
    pads = t.integers("pads", (0,) * (2 * rank))
    if (len(stride), len(dilation), len(pads)) != (rank, rank, 2 * rank):
        raise Untranslated(f"strides, dilations and pads are not of {rank} axes")
    if min((*kernel, *stride, *dilation)) < 1 or min(pads) < 0 or max((*kernel, *stride, *dilation, *pads)) >= 2**31:
        raise Untranslated("sizes of the window are out of range")
    low, high = pads[:rank], pads[rank:]
    auto = t.attr("auto_pad", "NOTSET") or "NOTSET"
    if auto == "VALID":
        low = high = (0,) * rank
    elif auto in ("SAME_UPPER", "SAME_LOWER"):
        whole = []
        for axis, (k, s, d) in enumerate(zip(kernel, stride, dilation, strict=True)):
            n = x.size(2 + axis)
            whole.append(max((-(-n // s) - 1) * s + d * (k - 1) + 1 - n, 0))
        less, more = tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)
        low, high = (less, more) if auto == "SAME_UPPER" else (more, less)
    elif auto != "NOTSET":
        raise Untranslated(f"auto_pad {auto}")
    return Window(tuple(kernel), stride, dilation, tuple(low), tuple(high))


def padded(t: Translator, x: Tensor, low: Sequence[int], high: Sequence[int], value: float = 0.0) -> Tensor:
    """x with more around its last axes."""
    if not any(low) and not any(high):
        return x
    settings: dict[str, Any] = {"low": list(low) if any(low) else None, "high": list(high) if any(high) else None}
    return t.call("pad", [x], **settings, value=value or None)


def _vector(value: Known | None, count: int) -> Array | None:
    if value is None:
        return None
    array = value.same
    if array.shape != (count,):
        raise Untranslated(f"the bias is {array.shape}, {count} numbers are wanted")
    return array


def conv(t: Translator) -> Tensor:
    x, w = t.tensor(0), t.operand(1)
    if not isinstance(w, Known):
        raise Untranslated("its weights are computed by the net")
    weight = w.same
    if weight.ndim != x.rank:
        raise Untranslated(f"weights of {weight.ndim} axes for a tensor of {x.rank}")
    how, group = window(t, x, weight.shape[2:]), t.integer("group", 1)
    bias = _vector(t.known(2), weight.shape[0])
    if not how.even:
        x = padded(t, x, how.low, how.high)
    settings = how.settings()
    if how.even and any(how.low):
        settings["pad"] = side(how.low)
    settings |= {"group": group} if group != 1 else {}
    settings |= {"bias": False} if bias is None else {}
    arrays = {"weight": weight, **({} if bias is None else {"bias": bias})}
    label = t.label(w.source)
    return t.call("conv", [x], [weight.shape[0], side(how.kernel)], label=label, weights=arrays, **settings)


def conv_transpose(t: Translator) -> Tensor:
    x, w = t.tensor(0), t.operand(1)
    if not isinstance(w, Known):
        raise Untranslated("its weights are computed by the net")
    weight, group = w.same, t.integer("group", 1)
    if weight.ndim != x.rank or t.attr("output_shape"):
        raise Untranslated("`output_shape`, or weights of other axes")
    how = window(t, x, weight.shape[2:])
    more = t.integers("output_padding", (0,) * len(how.kernel))
    out = weight.shape[1] * group
    bias = _vector(t.known(2), out)
    settings = how.settings()
    plain = how.even and not any(more)
    if plain and any(how.low):
        settings["pad"] = side(how.low)
    settings |= {"group": group} if group != 1 else {}
    outside = bias is not None and not plain  # what is padded on has the bias, too
    settings |= {"bias": False} if bias is None or outside else {}
    arrays = {"weight": weight, **({} if bias is None or outside else {"bias": bias})}
    label = t.label(w.source)
    y = t.call("deconv", [x], [out, side(how.kernel)], label=label, weights=arrays, **settings)
    if plain:
        return y
    for axis, (low, high, rest) in enumerate(zip(how.low, how.high, more, strict=True)):
        size = y.size(2 + axis)
        y = t.cut(y, 2 + axis, low, size - max(high - rest, 0))
    beyond = [max(rest - high, 0) for high, rest in zip(how.high, more, strict=True)]
    y = padded(t, y, [0] * len(beyond), beyond)
    if bias is not None and outside:
        y = t.call("bias", [y], label=f"{label}.shift", weights={"bias": bias})
    return y


def _positions(how: Window, x: Tensor, ceil: bool) -> tuple[int, ...]:
    """How many windows there are along each axis; a last one that begins in the padding after the input is none."""
    found = []
    for axis, (reach, s, low, high) in enumerate(zip(how.reach, how.stride, how.low, how.high, strict=True)):
        n = x.size(2 + axis)
        room = n + low + high - reach
        if room < 0:
            raise Untranslated(f"a window of {reach} over {n}")
        count = (-(-room // s) if ceil else room // s) + 1
        found.append(count - 1 if ceil and (count - 1) * s >= n + low else count)
    return tuple(found)


def _pool(t: Translator, layer: str) -> tuple[Tensor, Window, Tensor, tuple[int, ...]]:
    """The pooling as a layer over the same windows: its input, the window, the result and how many windows."""
    x = t.tensor(0)
    kernel = t.integers("kernel_shape", ())
    how, ceil = window(t, x, kernel), bool(t.integer("ceil_mode", 0))
    if any(n != 1 for n in how.dilation):
        raise Untranslated("netc pools without dilation")
    count = _positions(how, x, ceil)
    stride = side(how.stride) if how.stride != how.kernel else None
    pad = side(how.low) if any(how.low) else None
    for round_ in ("ceil", "floor"):
        settings: dict[str, Any] = {"stride": stride, "pad": pad, "round": None if round_ == "ceil" else round_}
        if _windows(t, layer, x, how.kernel, settings) == count:
            return x, how, t.call(layer, [x], [side(how.kernel)], **settings), count
    fill = LEAST if layer == "max_pool" else 0.0
    wide = padded(t, x, how.low, how.high, fill)
    if _windows(t, layer, wide, how.kernel, {"stride": stride, "round": "floor"}) != count:
        raise Untranslated("its last window lies beyond what is padded")
    return wide, how, t.call(layer, [wide], [side(how.kernel)], stride=stride, round="floor"), count


def _windows(
    t: Translator, layer: str, x: Tensor, kernel: Sequence[int], settings: Mapping[str, Any]
) -> tuple[int, ...] | None:
    """How many windows a layer of netc has of x; None where it refuses."""
    given = {name: value for name, value in settings.items() if value is not None}
    try:
        return tuple(map(int, t.typed(layer, [x], {"kernel": side(kernel), **given})[0].shape[2:]))
    except TypeRuleError:
        return None


def max_pool(t: Translator) -> Tensor:
    if len(t.node.outputs) > 1 and t.node.outputs[1] in t.uses:
        raise Untranslated("the places of the largest elements")
    return _pool(t, "max_pool")[2]


def average_pool(t: Translator) -> Tensor:
    """`avg_pool` counts what lies in the padding; where the operator counts otherwise, a factor is left."""
    inside = not t.integer("count_include_pad", 0)
    x, how, y, count = _pool(t, "avg_pool")
    source = t.tensor(0)
    ends = [(m - 1) * s + k - low for m, s, k, low in zip(count, how.stride, how.kernel, how.low, strict=True)]
    if not any((*how.low, *how.high)) and all(end <= source.size(2 + axis) for axis, end in enumerate(ends)):
        return y
    if math.prod(count) > MAX_SHARES:
        raise Untranslated(f"averages of {math.prod(count):,} windows that count unlike")
    ours, theirs = np.ones(()), np.ones(())
    for axis, (k, s, low, high, m) in enumerate(zip(how.kernel, how.stride, how.low, how.high, count, strict=True)):
        n = source.size(2 + axis)
        begin = np.arange(m) * s - low
        if x is source:
            size = np.minimum(begin + min(k, n + 2 * low), n + low) - begin
        else:
            size = np.full(m, k)
        real = np.minimum(begin + k, n) - np.maximum(begin, 0) if inside else np.minimum(begin + k, n + high) - begin
        ours, theirs = np.multiply.outer(ours, size), np.multiply.outer(theirs, real)
    if np.array_equal(ours, theirs):
        return y
    share = (ours / np.maximum(theirs, 1)).astype(np.float32)
    if (share == share.flat[0]).all():
        return t.binary("*", y, float(share.flat[0]))
    return t.multiple(y, share[None, None])


def whole(layer: str) -> Callable[[Translator], Tensor]:
    """The row of a pooling over all of space."""

    def row(t: Translator) -> Tensor:
        x = t.tensor(0)
        y = t.call(layer, [x], global_=True)
        assert math.prod(y.shapes[0][2:]) == 1
        return y

    return row
