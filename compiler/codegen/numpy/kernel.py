"""A kernel as the text of a Python function, and what is to be known to call it."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from ...graph import Graph
from ...kernel import TOTAL, Schedule
from ...plan import pack
from . import convolution, movement, pointwise, positions, product, reduction, sources  # noqa: F401  (they enter spellings)
from .body import KernelText, Slot
from .ref import ArrayPlace

# Scratch below so many bytes is of so few cache lines that it need not begin with one, but where a vector may.
SMALL = 1024
UNIT = 8


@dataclass(frozen=True)
class WrittenKernel:
    """A function: its text with NAME for its name, the scratch arrays a thread needs, and the places of its results."""

    text: str
    key: str
    slots: tuple[Slot, ...]
    scratch: int
    places: tuple[ArrayPlace, ...]
    totals: tuple[int, ...]
    constants: tuple[tuple[str, str], ...]


def write_kernel(
    kind: str,
    graph: Graph,
    schedule: Schedule,
    operands: Sequence[ArrayPlace],
    results: Sequence[ArrayPlace | None],
    *,
    threads: int,
    inner: bool,
) -> WrittenKernel:
    """The function of a kernel. inner: the batch is the innermost axis of the results of convolutions."""
    share = threads if schedule.split else 1
    single = not schedule.length or schedule.tile * share >= schedule.length
    body = KernelText(graph, schedule, operands, results, inner, single)
    body.write()
    slots = sorted(body.slots.values(), key=lambda s: s.first)
    _end_lives(body)
    scratch = _place(slots, len(body.inside))
    text = _function(kind, body, slots)
    places = [place for place in body.places if place is not None]
    assert len(places) == len(graph.outputs)
    totals = tuple(k for k, node in enumerate(graph.outputs.values()) if body.axes[node] == TOTAL)
    constants = tuple(sorted(body.constants.items()))
    # Scratch is an argument, so what it looks like is part of what the function is.
    layout = [(s.shape, s.order, s.dtype, s.offset) for s in slots]
    key = hashlib.sha256(repr((text, constants, layout)).encode()).hexdigest()[:16]
    return WrittenKernel(text, key, tuple(slots), scratch, tuple(places), totals, constants)


def _end_lives(body: KernelText) -> None:
    """Scratch lives until the last statement that names it or a view of it; a statement may be a loop of its own."""
    named: set[str] = set()
    for i, line in enumerate(body.inside):
        if not line.startswith(" "):
            named = set()
        named.update(ref.slot for ref in body.used(line) if ref.slot is not None)
        for slot in named:
            body.slots[slot].last = i


def _place(slots: list[Slot], end: int) -> int:
    """Offsets for scratch arrays; the bytes of all."""
    for slot in slots:
        if slot.kept:
            slot.first, slot.last = -1, end + 1
    offsets, size = pack([(slot.nbytes, slot.first, slot.last) for slot in slots], small=SMALL, unit=UNIT)
    for slot, offset in zip(slots, offsets, strict=True):
        slot.offset = offset
    return size


def _function(kind: str, body: KernelText, slots: Sequence[Slot]) -> str:
    operands = [f"x{i}" for i in range(len(body.operands))]
    results = [f"y{i}" for i in range(len(body.results))]
    names = dict.fromkeys(n.op.name for n in body.graph.order if n.op.name not in ("input", "const", "iota"))
    arguments = [*operands, *results, "work"]
    if body.tile:
        arguments += ["start", "stop"]
    lines = [f"def NAME({', '.join(arguments)}):", f'    """{kind}: {", ".join(names)}."""']
    if slots:
        lines.append(f"    {', '.join(s.name for s in slots)}{',' if len(slots) == 1 else ''} = work")
    lines += [f"    {line}" for line in body.before if line]
    inside = [line for line in (*body.inside, *body.after) if line]
    if not body.tile:
        return "\n".join([*lines, *(f"    {line}" for line in inside)]) + "\n"
    cut = [s for s in slots if body.ragged and s.tiled is not None]
    for s in cut:
        lines.append(f"    {s.name}_ = {s.name}")
    lines.append(f"    for i in range(start, stop, {body.tile}):")
    if body.ragged:
        lines += [f"        j = min(i + {body.tile}, stop)", "        n = j - i"]
        lines += [f"        {s.name} = {s.name}_[{':, ' * (s.tiled or 0)}:n]" for s in cut]
    else:
        lines.append(f"        j = i + {body.tile}")
    lines += [f"        {line}" for line in inside]
    lines += [f"    {line}" for line in body.after_loop]
    return "\n".join(lines) + "\n"
