"""A third target, whole: loops of plain Python, over the evaluator, the nests and the storage that all share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from netc.compiler.codegen.loops import nests
from netc.compiler.codegen.loops.body import Body
from netc.compiler.codegen.loops.dialect import Dialect
from netc.compiler.codegen.loops.place import ATOM, MemRef, Number, Value
from netc.compiler.codegen.loops.pointwise import COMMON, call
from netc.compiler.codegen.loops.storage import Storage
from netc.compiler.codegen.loops.written import Written, pointers, written
from netc.compiler.codegen.strides import strides_of
from netc.compiler.graph import Graph, Node
from netc.compiler.kernel import Blocks
from netc.compiler.loops.domain import domain_of
from netc.compiler.plan import Plan
from netc.compiler.program import Program
from netc.compiler.types import NUMPY_DTYPES

MODULE = """
import functools, numpy
from math import *
from netc.compiler.ops.source import random_bits

def flat(name, spaces):
    space, base, offset, dtype = BUFFERS[name][:4]
    memory = spaces[space][base].reshape(-1).view("u1")[offset:]
    return memory[: len(memory) // dtype.itemsize * dtype.itemsize].view(dtype)

def bind(inputs, state, pool):
    spaces = {"input": inputs, "state": state, "arena": {"": numpy.empty(ARENA, "u1")}, "constant": CONSTANTS}
    made = {"prepare": [], "step": []}
    for phase, function, names in LAUNCHES:
        made[phase].append(functools.partial(globals()[function], *(memoryview(flat(name, spaces)) for name in names)))
    as_strided = numpy.lib.stride_tricks.as_strided
    return {n: as_strided(flat(n, spaces), *BUFFERS[n][4:]) for n in OUTPUTS}, *made.values()
"""
MATH = {name: call(f"{name}({{0}})") for name in ("exp", "log", "sqrt", "tanh", "floor")}
PLAIN = {"max": "max({0}, {1})", "min": "min({0}, {1})", "abs": "abs({0})", "pow": "pow({0}, {1})"}
SPELL = {**COMMON, **MATH, **{name: call(form) for name, form in PLAIN.items()}}
RENAMED = {name: f"{name}_" for name in (*MATH, *PLAIN)}


class Python(Dialect):
    quotient, conjunction = "//", " and "
    renamed = RENAMED

    def number(self, value: Number, dtype: str) -> str:
        return repr(float(value)) if NUMPY_DTYPES[dtype].kind == "f" else str(int(value))

    def cast(self, value: Value, dtype: str) -> tuple[str, int]:
        return f"{'float' if NUMPY_DTYPES[dtype].kind == 'f' else 'int'}({value.text})", ATOM

    def spell(self, body: Body, node: Node, values: Sequence[Value]) -> Value:
        return SPELL[node.op.name](body, node, values)

    def select(self, condition: Value, a: Value, b: Value) -> str:
        return f"({a.text} if {condition.text} else {b.text})"

    def random(self, body: Body, seed: Value, step: Value, stream: int, number: Value) -> str:
        return f"int(random_bits({seed.text}, {step.text}, {stream}, {number.text} + 1)[-1])"

    def loop(self, name: str, count: int, *, unrolled: bool) -> tuple[str, str]:
        return f"for {name} in range({count}):", ""

    def branch(self, condition: Value) -> tuple[str, str]:
        return f"if {condition.text}:", ""

    def load(self, place: MemRef, address: Value, mask: Value | None, other: str, dtype: str, *, again: bool) -> str:
        return f"{place.name}[{address.text}]" + (f" if {mask.text} else {other or 0}" if mask else "")

    def store(self, place: MemRef, address: Value, value: Value, mask: Value | None) -> str:
        return f"{f'if {mask.text}: ' if mask else ''}{place.name}[{address.text}] = {value.text}"


def write_kernel(graph: Graph, kind: str, _: Blocks, operands: Sequence[MemRef], results: Sequence[MemRef]) -> Written:
    body = Body(graph, operands, results, Python())
    nests.write(domain_of(graph), body)
    head = f"def NAME({', '.join(place.name for place in pointers(body))}):"
    return written(body, kind, "\n".join([head, *(f"    {line}" for line in body.lines)]) + "\n")


def emit(graph: Graph, plan: Plan, begun: Program) -> Program:
    storage = Storage(graph, plan, write_kernel, ("numpy", "random_bits", "flat", "bind", *MATH))
    program = storage.program(begun)
    text = f"{MODULE}ARENA, OUTPUTS, BUFFERS = {program.arena_bytes}, {[*program.outputs]}, {{}}\n"
    for b in program.buffers:
        dtype, base = NUMPY_DTYPES[b.stored or b.type.dtype], "" if b.space == "arena" else b.base or b.name
        strides = [s * dtype.itemsize for s in b.strides or strides_of(b.type.shape, b.order)]
        row = f"{b.space!r}, {base!r}, {b.offset}, numpy.{dtype!r}, {[*map(int, b.type.shape)]}, {strides}"
        text += f"BUFFERS[{b.name!r}] = {row}\n"
    text += f"LAUNCHES = {[(x.phase, x.function, x.arguments) for x in program.launches]}\nCONSTANTS = {{}}\n"
    for name, literal in storage.constants.items():
        text += f"CONSTANTS[{name!r}] = numpy.array({literal.array().tolist()}, {literal.array().dtype.str!r})\n"
    return replace(program, source="\n".join([text, *(function.source for function in program.functions)]))
