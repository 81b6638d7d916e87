"""Elementwise ops as ufuncs with `out=`.

Relies on measurements: `maximum` with a number is four times slower than `clip`, `power` ten times slower than square
roots, `copyto(where=)` ten times slower than a choice by bits.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from ... import ops
from ...graph import Node
from .body import KernelText, spells, stored_dtype
from .ref import Ref, order_of

UFUNC = {
    "add": "np.add",
    "mul": "np.multiply",
    "div": "np.divide",
    "max": "np.maximum",
    "min": "np.minimum",
    "pow": "np.power",
    "less": "np.less",
    "equal": "np.equal",
    "neg": "np.negative",
    "exp": "np.exp",
    "log": "np.log",
    "sqrt": "np.sqrt",
    "tanh": "np.tanh",
    "floor": "np.floor",
    "abs": "np.absolute",
}
# Elements that `copyto(where=)` writes as quickly as two calls on bits do, and without a mask of whole words.
FEW = 256
BITS = {"float32": "int32", "int32": "int32", "float64": "int64", "int64": "int64"}


@spells(*UFUNC, "where", "cast", "pointwise")
def pointwise(body: KernelText, node: Node) -> None:
    """A node computed into its buffer, into the memory of an operand that dies here, or into scratch."""
    operands, subtract = node.inputs, False
    if node.op is ops.add:
        operands, subtract = _difference(body, node)
    refs = [body.value(x) for x in operands]
    shape = common(refs, len(node.shape))
    tiled = body.tiled_axis(node) if any(r.tiled is not None for r in refs) else None
    like = max(refs, key=lambda r: r.count)
    order = order_of(like.shape, like.strides)
    target = body.result(node, order)
    if target is None or body.overwrites(node):
        whole = all(r.whole for r in refs)
        target = (
            None if whole or node.op is ops.pow_ or node.op.spelled else _takeover(body, node, operands, refs, shape)
        )
        if target is None and shape == body.tile_shape(node) and not whole:
            target = body.ahead(node, order)
        if target is None:
            target = body.scratch(shape, stored_dtype(node), order, tiled=tiled, whole=whole)
    apply(body, node, "np.subtract" if subtract else node.op.name, refs, target)
    body.finish(node, target)


def _difference(body: KernelText, node: Node) -> tuple[tuple[Node, Node], bool]:
    """The operands of an addition of a negated value, as those of a subtraction."""
    a, b = node.inputs
    if b.op is ops.neg and body.skipped(b):
        return (a, b.inputs[0]), True
    if a.op is ops.neg and body.skipped(a):
        return (b, a.inputs[0]), True
    return (a, b), False


def common(refs: Sequence[Ref], rank: int) -> tuple[int, ...]:
    return tuple(max(r.shape[i] if r.shape[i] != 0 else 0 for r in refs) if refs else 1 for i in range(rank))


def _takeover(
    body: KernelText, node: Node, operands: Sequence[Node], refs: Sequence[Ref], shape: Sequence[int]
) -> Ref | None:
    """The scratch of an operand that nobody reads after this node."""
    for x, ref in zip(operands, refs, strict=True):
        if (
            ref.slot is not None
            and body.computed(x)
            and x not in body.result_of
            and body.last[x] <= body.position[node]
            and ref.shape == tuple(shape)
            and ref.dtype == stored_dtype(node)
            and not ref.whole
            and not body.slots[ref.slot].kept
            and body.slots[ref.slot].shape == ref.shape
        ):
            return ref
    return None


def apply(body: KernelText, node: Node, name: str, refs: Sequence[Ref], target: Ref) -> None:
    """One op on arrays, written to `target`; every operand broadcasts to it."""
    out = f"out={target}"
    if name == "where":
        _where(body, refs, target)
    elif name == "cast" and node.dtype == "bf16":
        body.put(f"round_bf16({refs[0].text}, {target})")
    elif name == "cast":
        body.put(f'np.copyto({target}, {refs[0].text}, casting="unsafe")')
    elif name == "pow" and refs[1].number and _power(body, refs[0], float(eval_number(refs[1].text)), target):
        return
    elif name in ("max", "min") and any(r.number for r in refs) and target.dtype.startswith("float"):
        x, bound = (refs[1], refs[0]) if refs[0].number else (refs[0], refs[1])
        ends = f"{bound}, np.inf" if name == "max" else f"-np.inf, {bound}"
        body.put(f"np.clip({x}, {ends}, {out})")
    elif name == node.op.name and name not in UFUNC:
        text = node.op.written("numpy").text.format(*(r.text for r in refs), out=target.text)
        body.put(text)
    else:
        texts = ", ".join(r.text for r in refs)
        body.put(f"{UFUNC.get(name, name)}({texts}, {out})")


def eval_number(text: str) -> float:
    """The number that `ref.number` wrote."""
    return {"np.inf": float("inf"), "-np.inf": float("-inf"), "np.nan": float("nan")}.get(text) or float(text)


def _power(body: KernelText, x: Ref, exponent: float, out: Ref) -> bool:
    """x to a power that is a multiple of 1/4, by multiplications and square roots; False for any other."""
    quarters = abs(exponent) * 4
    if quarters != int(quarters) or quarters > 12 or out.dtype not in ("float32", "float64"):
        return False
    times, rest = divmod(int(quarters), 4)
    if x.text == out.text and (times > 2 or (times and rest)):  # x is read after that is written
        return False
    if rest:
        root = body.like(out) if times else out
        body.put(f"np.sqrt({x}, out={root})")
        if rest == 3:
            fourth = body.like(out)
            body.put(f"np.sqrt({root}, out={fourth})")
            body.put(f"np.multiply({root}, {fourth}, out={root})")
        elif rest == 1:
            body.put(f"np.sqrt({root}, out={root})")
        if times:
            body.put(f"np.multiply({root}, {x}, out={out})")
    elif times > 1:
        body.put(f"np.multiply({x}, {x}, out={out})")
    else:
        body.put(f"np.copyto({out}, {x})" if times else f"{out}.fill(1.0)")
    for _ in range(times - (1 if rest else 2)):
        body.put(f"np.multiply({out}, {x}, out={out})")
    if exponent < 0:
        body.put(f"np.divide(1.0, {out}, out={out})")
    return True


def _bits_of(ref: Ref, bits: str) -> str:
    """An array, or a number, read as integers of the same size."""
    if not ref.number:
        return ref.text if ref.dtype == bits else f"{ref}.view(np.{bits})"
    if ref.dtype.startswith("int"):
        return ref.text
    value = eval_number(ref.text)
    return str(
        struct.unpack("<i", struct.pack("<f", value))[0]
        if bits == "int32"
        else struct.unpack("<q", struct.pack("<d", value))[0]
    )


def is_zero(ref: Ref) -> bool:
    return ref.number and ref.text in ("0", "0.0", "False")


def _where(body: KernelText, refs: Sequence[Ref], target: Ref) -> None:
    condition, a, b = refs
    bits = BITS.get(target.dtype)
    if target.dtype == "bool" and is_zero(b):
        body.put(f"np.logical_and({condition}, {a}, out={target})")
    elif a.text == b.text:  # what is overwritten must not be what is to be kept
        if target.text != a.text:
            body.put(f"np.copyto({target}, {a})")
    elif bits is None or condition.number or (a.number and b.number):
        _where_copied(body, condition, a, b, target)
    elif is_zero(b) or is_zero(a):
        _where_kept(body, condition, a, b, target, bits)
    else:
        # a ^ b, kept where it is to change the one that is not overwritten, changes that one into the other.
        over_b = target.text == b.text
        base = _bits_of(a if over_b else b, bits)
        mask = _mask(body, condition, bits, inverted=over_b)
        middle = _bits_of(target if _apart(body, a, b, target) else body.like(target, bits), bits)
        body.put(f"np.bitwise_xor({_bits_of(a, bits)}, {_bits_of(b, bits)}, out={middle})")
        body.put(f"np.bitwise_and({middle}, {mask}, out={middle})")
        body.put(f"np.bitwise_xor({middle}, {base}, out={_bits_of(target, bits)})")


def _apart(body: KernelText, a: Ref, b: Ref, target: Ref) -> bool:
    """Whether writing the target leaves what is read after that alone: no operand is another view of its memory."""
    if target.slot is None and any(place is not None and place.memory for place in body.results):
        return False
    return not any(r.slot == target.slot is not None and r.text != target.text for r in (a, b))


def _where_copied(body: KernelText, condition: Ref, a: Ref, b: Ref, target: Ref) -> None:
    """A choice by copies, where there are no bits to choose by."""
    if target.text == a.text:
        if not condition.number:
            body.put(f"np.copyto({target}, {b}, where={_negated(body, condition)})")
        return
    if condition.text == target.text:
        condition = body.like(target)
        body.put(f"np.copyto({condition}, {target})")
    if target.text != b.text:
        body.put(f"np.copyto({target}, {b})")
    chosen = f"np.True_ if {condition} else np.False_" if condition.number else condition
    body.put(f"np.copyto({target}, {a}, where={chosen})")


def _where_kept(body: KernelText, condition: Ref, a: Ref, b: Ref, target: Ref, bits: str) -> None:
    """A choice between a value and zero."""
    kept = a if is_zero(b) else b
    if kept.text == target.text and condition.count <= FEW and not condition.whole:
        zero = _negated(body, condition) if is_zero(b) else condition
        body.put(f"np.copyto({target}, 0, where={zero})")
        return
    free = kept.text != target.text and target.shape == condition.shape and not condition.whole
    into = target if free and _apart(body, a, b, target) else None
    mask = _mask(body, condition, bits, inverted=is_zero(a), into=into)
    body.put(f"np.bitwise_and({_bits_of(kept, bits)}, {_bits_of(mask, bits)}, out={_bits_of(target, bits)})")


def _negated(body: KernelText, condition: Ref) -> Ref:
    rest = body.like(condition)
    body.put(f"np.logical_not({condition}, out={rest})")
    return rest


def _mask(body: KernelText, condition: Ref, bits: str, *, inverted: bool, into: Ref | None = None) -> Ref:
    """All bits set where the condition holds (or fails), as integers; in the memory of `into` if that is given."""
    mask = into or body.like(condition, bits)
    byte, out = f"{condition}.view(np.int8)", _bits_of(mask, bits)
    line = f"np.subtract({byte}, 1, out={out})" if inverted else f"np.negative({byte}, out={out})"
    body.put(line)
    return mask
