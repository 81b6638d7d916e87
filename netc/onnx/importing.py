"""Import: an ONNX model as the text of a `.net` and weights by the names of its layers.

The model is read without trust (`runtime/onnx`), its nodes become statements (`translating.py`), and the text is built
again by the one builder. Mistakes have places in a listing of the model, a node a line.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..compiler import ops
from ..compiler.caffe import writer
from ..compiler.caffe.nets import identifier
from ..compiler.graph import TooManyNodes, node_limit
from ..compiler.ops.base import TypeRuleError
from ..grammar import tree
from ..grammar.format import format_file
from ..grammar.source import Source, SourceError, SourceErrors, UserError, printable, suggest
from ..grammar.unparse import unparse
from ..runtime.onnx.model import TYPES, Model, ModelNode, ModelValue, read_model
from .folding import folded
from .import_elementwise import Row
from .import_rows import OPERATORS
from .import_values import Array, Known, Tensor, Untranslated
from .translating import Translator

# Operands broadcast as numpy's from version 7 on.
OLDEST = 7
ELEMENTS = {1: "f32", 2: "u8", 6: "i32", 7: "i64", 9: "bool", 10: "f32", 11: "f32", 16: "f32"}
# Of the sizes for which a model is read, the second is unlikely as any other.
OTHER_BATCH = 61
# What is folded may have so many elements, or so many times those of the tensors.
LEAST_FOLDED, MOST_TIMES = 1 << 22, 4
MAX_TYPED = 1_000_000  # nodes of graphs, made for types
LONGEST = 200  # characters of a line of the listing


@dataclass(frozen=True)
class Imported:
    """The text of a net, its state by name, and the names of its inputs and outputs by those of the model.

    types, shapes: of the model's inputs. free: whether N is a size of the net. batch: the number that became N, if one
    did. notes: what is said otherwise than in the model.
    """

    text: str
    weights: Mapping[str, Array]
    inputs: Mapping[str, str]
    outputs: Mapping[str, str]
    types: Mapping[str, np.dtype[Any]]
    shapes: Mapping[str, tuple[int | str, ...]]
    batch: int | None
    free: bool
    notes: tuple[str, ...]


def import_model(
    path: Path, *, dims: Mapping[str, int] | None = None, shapes: Mapping[str, Sequence[int]] | None = None
) -> Imported:
    """The net of a model. dims: sizes of its symbols; shapes: of inputs, by name.

    UserError for a file that is no model; SourceErrors for operators that are not read, each with its node.
    """
    model = read_model(path)
    if model.opset < OLDEST:
        raise UserError(f"{path}: operator set {model.opset}; netc reads models from {OLDEST} on (2017)")
    source = Source(str(path), "\n".join(map(_line, model.nodes)) + "\n")
    given = [_sized(path, value, dims or {}, (shapes or {}).get(value.name)) for value in model.inputs]
    firsts = {shape[0] if shape else None for shape in given}
    batch = next(iter(firsts)) if len(firsts) == 1 else None
    if "N" in (dims or {}):
        return _Import(model, path, source, given, None, False).run()
    if batch == "N":
        return _Import(model, path, source, given, None, True).run()
    if isinstance(batch, int) and batch > 0 and "N" not in firsts:
        try:
            return _Import(model, path, source, [("N", *shape[1:]) for shape in given], batch, True).run()
        except SourceErrors:
            pass  # a size stands in the model, so it has this one
    return _Import(model, path, source, given, None, any("N" in shape for shape in given)).run()


def _line(node: ModelNode) -> str:
    """A node as text: what errors show."""
    operands = ", ".join(name or "-" for name in node.inputs[:8]) + (", …" if len(node.inputs) > 8 else "")
    text = f"{', '.join(node.outputs[:4])} = {node.op}({operands})" + (f"  # {node.name}" if node.name else "")
    text = "".join(one if one.isprintable() else "?" for one in text)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}…"


def _sized(
    path: Path, value: ModelValue, dims: Mapping[str, int], given: Sequence[int] | None
) -> tuple[int | str, ...]:
    """The shape of an input: numbers, and `N` for a first size that is free."""
    if given is not None:
        return tuple(given)
    if value.shape is None:
        raise UserError(f"{path}: the input {value.name} has no shape; say --shape {value.name}=1x3x224x224")
    found: list[int | str] = []
    for axis, size in enumerate(value.shape):
        if isinstance(size, int) and size > 0:
            found.append(size)
        elif isinstance(size, str) and size in dims:
            found.append(dims[size])
        elif axis == 0:
            found.append(dims.get("N", "N"))
        else:
            known = f"`{size}`: say --dim {size}=224" if size else f"none: say --shape {value.name}=1x3x224x224"
            raise UserError(f"{path}: axis {axis} of the input {value.name} has the size {known}")
    return tuple(found)


class _Import:
    """One reading of a model, for one shape of each input."""

    def __init__(
        self,
        model: Model,
        path: Path,
        source: Source,
        shapes: Sequence[tuple[int | str, ...]],
        batch: int | None,
        free: bool,
    ) -> None:
        self.model, self.path, self.source, self.shapes, self.batch = model, path, source, shapes, batch
        self.free = free
        uses = Counter(name for node in model.nodes for name in node.inputs)
        outputs = frozenset(value.name for value in model.outputs)
        batches = (batch or 2, OTHER_BATCH) if free else (0,)
        self.t = Translator(source.span(), batches, uses, outputs, model.opset)
        self.t.budget = max(LEAST_FOLDED, MOST_TIMES * sum(array.size for array in model.tensors.values()))
        self.errors: list[SourceError] = []

    def run(self) -> Imported:
        t = self.t
        for name, array in self.model.tensors.items():
            t.values[name] = Known((array,) * len(t.batches), name)
        inputs = self._inputs()
        words = {value.name: t.names.word(value.name) for value in self.model.outputs}
        lost: set[str] = set()
        try:
            with node_limit(MAX_TYPED):
                for number, node in enumerate(self.model.nodes):
                    self._node(number, node, lost)
        except TooManyNodes:
            raise UserError(f"{self.path}: the net is too large") from None
        if self.errors:
            raise SourceErrors(self.errors)
        self._outputs(words)
        span = self.source.span()
        title = writer.name(identifier(self.model.name or self.path.stem)[:60], span)
        read = (one for one in t.statements if not (isinstance(one, tree.Param) and one.name.name in t.dropped))
        body = tree.File(span, (tree.NetDef(span, title, (), tuple(read)),))
        text = f"# From {self.path.name}.\n{unparse(body)}"
        notes = list(dict.fromkeys(t.notes))
        if self.batch is not None:
            notes.insert(0, f"the batch, {self.batch} in the model, is N")
        made = format_file(Source(f"{self.path.stem}.net", text))
        types = {one.name: TYPES.get(one.dtype, np.dtype(np.float32)) for one in self.model.inputs}
        shapes = {one.name: tuple(shape) for one, shape in zip(self.model.inputs, self.shapes, strict=True)}
        return Imported(made, t.weights, inputs, words, types, shapes, self.batch, self.free, tuple(notes))

    def _inputs(self) -> dict[str, str]:
        t, found = self.t, {}
        for value, shape in zip(self.model.inputs, self.shapes, strict=True):
            dtype = ELEMENTS.get(value.dtype)
            if dtype is None:
                raise UserError(f"{self.path}: the input {value.name} has the element type {value.dtype}")
            if value.dtype in (10, 11, 16):
                t.notes.append("floats of other widths are f32")
            word = t.names.word(value.name)
            place = self.source.span()
            sizes = tuple(writer.constant(size, place) for size in shape)
            type_ = tree.TypeExpr(place, writer.name(dtype, place), sizes)
            title = writer.name(word, place)
            t.statements.append(tree.Input(place, (), title, type_))
            nodes = tuple(
                ops.input_(name=word, shape=tuple(batch if n == "N" else int(n) for n in shape), dtype=dtype)
                for batch in t.batches
            )
            t.values[value.name] = Tensor(title, nodes, value.name)
            found[value.name] = word
        return found

    def _node(self, number: int, node: ModelNode, lost: set[str]) -> None:
        """One node; one that follows from a node that is not read is passed over."""
        t = self.t
        start = self.source.line_starts[number]
        span = self.source.span(start, self.source.line_starts[number + 1] - 1)
        t.node, t.place = node, span
        if lost.intersection(node.inputs):
            lost.update(node.outputs)
            return
        try:
            self._assign(node)
        except (Untranslated, TypeRuleError) as error:
            message = error.message if isinstance(error, TypeRuleError) else str(error)
            self.errors.append(SourceError("E802", printable(f"{node.title}: {message}", LONGEST), span))
            lost.update(node.outputs)
        except SourceError as error:
            self.errors.append(error)
            lost.update(node.outputs)

    def _assign(self, node: ModelNode) -> None:
        t = self.t
        if not node.outputs:
            raise Untranslated("it has no outputs")
        for name in node.inputs:
            if name and name not in t.values:
                raise Untranslated(f"nothing is called `{name[:60]}`, or it comes later")
        value: Known | None = None
        row: Row | None = None
        if node.domain in ("", "ai.onnx"):
            value = folded(t)
            row = OPERATORS.get(node.op)
        if value is None and row is None:
            where = f" of the domain {node.domain}" if node.domain not in ("", "ai.onnx") else ""
            near = suggest(node.op, OPERATORS) or "`netc convert` reads the operators that docs/onnx.md lists"
            message = f"{node.title}: netc does not read this operator{where}"
            raise SourceError("E801", printable(message, LONGEST), t.place, printable(near))
        found = value if value is not None or row is None else row(t)
        results: Sequence[Known | Tensor | None] = found if isinstance(found, list) else [found]
        for name, result in zip(node.outputs, results, strict=False):
            if result is not None:
                t.values[name] = self._titled(name, result)

    def _titled(self, name: str, value: Known | Tensor) -> Known | Tensor:
        """A value under its name: an expression that several read is bound."""
        if isinstance(value, Tensor):
            several = self.t.uses.get(name, 0) > 1
            if not isinstance(value.value, tree.Name):
                value.title = name
                if several or (isinstance(value.value, tree.Binary | tree.Compare) and name in self.t.outputs):
                    self.t.bound(value)
        return value

    def _outputs(self, words: Mapping[str, str]) -> None:
        t = self.t
        for output in self.model.outputs:
            value = t.values.get(output.name)
            if value is None:
                raise UserError(f"{self.path}: the output {output.name} is computed by no node")
            try:
                tensor = t.as_tensor(value)
            except Untranslated as error:
                raise UserError(f"{self.path}: the output {output.name}: {error}") from None
            plain = isinstance(tensor.value, tree.Name)
            title = writer.name(words[output.name], t.place)
            expression = tensor.value if plain or t.uses.get(output.name, 0) == 0 else t.bound(tensor)
            t.statements.append(writer.role("output", title, expression, t.place))
        if not words:
            raise UserError(f"{self.path}: it has no outputs")
