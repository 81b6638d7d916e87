"""Graph composition: the graphs of some layers of a net put together, forward and as a vector-Jacobian product.

Each blob of Caffe's is a node of its own, copies of splits too, so that each has a gradient of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ..compiler import expr, ops
from ..compiler.graph import Graph, Node
from ..compiler.net import OBJECTIVE, SEED, STEP
from ..passes.training.gradient import GRADIENT, gradient
from .blob import BlobMemory
from .rows import Named, Row, Version

STREAMS = 1 << 10  # random streams of a layer
TOP = ".top"  # follows a blob's name in the outputs that hold its values


class Composer:
    """A graph that grows by a layer at a time; parameters and inputs are each one node."""

    def __init__(self) -> None:
        self.params: dict[str, Node] = {}
        self.inputs: dict[str, Node] = {}
        self.updates: dict[str, Node] = {}

    def param(self, name: str, like: Node) -> Node:
        """A tensor of state."""
        return self.params.setdefault(name, ops.param(name=name, shape=like.shape, dtype=like.dtype))

    def input(self, name: str, shape: Sequence[int]) -> Node:
        """A value that is fed."""
        return self.inputs.setdefault(name, ops.input_(name=name, shape=tuple(shape), dtype="f32"))

    def place(self, row: Row, bottoms: Sequence[Node]) -> list[Node]:
        """A layer on these values; its tops."""
        if row.entry.type == "Split":
            return [ops.surrogate(bottoms[0], bottoms[0]) for _ in row.tops]
        piece = row.piece
        assert piece is not None
        cut = {x: bottoms[i] for i, x in enumerate(piece.inputs) if x is not None}
        for name, node in piece.graph.params.items():
            slot = row.named.get(name)
            if slot is None:
                cut[node] = self.param(name if name in (SEED, STEP) else row.carried[name], node)
            else:
                owner = slot.owner
                held = self.params.setdefault(owner.key, ops.param(name=owner.key, shape=owner.shape, dtype="f32"))
                cut[node] = held if held.shape == node.shape else ops.reshape(held, shape=node.shape)
        for node in piece.graph.order:
            if node.op is ops.random:
                keys = [self.param(name, x) for name, x in zip((SEED, STEP), node.inputs, strict=True)]
                stream = row.number * STREAMS + node.attrs["stream"]
                cut[node] = ops.random(*keys, shape=node.shape, stream=stream)
        tops = {f"{i}": node for i, node in enumerate(piece.tops)}
        made = Graph(tops, piece.graph.updates).rebuild(cut)
        names = {name: slot.owner.key for name, slot in row.named.items()} | row.carried
        self.updates |= {names[name]: node for name, node in made.updates.items()}
        return [made.outputs[f"{i}"] for i in range(len(piece.tops))]


def forward(rows: Sequence[Row]) -> tuple[Composer, dict[str, Node], dict[Version, Node]]:
    """Layers in a row; the node that each blob is in the end, by name; all values. Inputs are blobs made before."""
    made = Composer()
    current: dict[str, Node] = {}
    values: dict[Version, Node] = {}
    for row in rows:
        bottoms = [current.get(blob.name) or made.input(blob.name, blob.shape) for blob in row.bottoms]
        tops = made.place(row, bottoms)
        current |= {blob.name: node for blob, node in zip(row.tops, tops, strict=True)}
        values |= {(row.number, i): node for i, node in enumerate(tops)}
    return made, current, values


def kept_name(blob: Named, version: Version) -> str:
    """The name of a value that another overwrites in its place."""
    return f"{blob.name}@{version[0]}"


class Backward:
    """The gradients of some layers, as a graph whose inputs are values that lie in blobs, and gradients of tops.

    held: whether a version of a blob lies in its memory, as far as anybody knows. row_of: the layer of a number. kept:
    a copy of a version that was overwritten is there.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        row_of: Callable[[int], Row],
        held: Callable[[Version, Named], bool],
        kept: Callable[[Version], bool],
    ) -> None:
        self.rows, self.row_of, self.held, self.kept = rows, row_of, held, kept
        self.made = Composer()
        self.values: dict[Version, Node] = {}
        self.saved: dict[str, Version] = {}  # inputs that are copies of overwritten values
        self.seeds: dict[str, str] = {}  # inputs that are gradients, by blobs
        self.data: set[str] = set()  # blobs whose values are read
        self.results: dict[str, str] = {}  # outputs by the blobs whose gradients they are
        self.learned: dict[str, str] = {}  # outputs by the parameters whose gradients they are

    def _value(self, version: Version, blob: Named) -> Node:
        """What a layer before these made: it lies in a blob, or is computed again."""
        if version not in self.values:
            made_by = self.row_of(version[0])
            if self.kept(version) and not self.held(version, blob):
                key = kept_name(blob, version)
                self.saved[key] = version
                self.values[version] = self.made.input(key, blob.shape)
            elif self.held(version, blob) or made_by.entry.hosted:
                self.data.add(blob.name)
                self.values[version] = self.made.input(blob.name, blob.shape)
            else:
                self._again(made_by)
        return self.values[version]

    def _again(self, row: Row) -> None:
        tops = self.made.place(row, self._bottoms(row))
        self.values |= {(row.number, i): node for i, node in enumerate(tops)}

    def _bottoms(self, row: Row) -> list[Node]:
        pairs = zip(row.entry.reads, row.bottoms, strict=True)
        return [self._value(version, blob) for version, blob in pairs]

    def graph(self) -> Graph | None:
        """The graph; None where no gradient is wanted."""
        wrt: dict[str, Node] = {}
        written: set[BlobMemory] = set()
        consumed: set[Version] = set()
        for row in self.rows:
            nodes = self._bottoms(row)
            for i, (blob, version, node) in enumerate(zip(row.bottoms, row.entry.reads, nodes, strict=True)):
                if row.entry.need and row.entry.needs[i]:
                    consumed.add(version)
                    key = f"d:{blob.name}"
                    if blob.gradients not in written:  # the first layer is the last to write it
                        written.add(blob.gradients)
                        wrt[key] = node
                        self.results[f"{key}{GRADIENT}"] = blob.name
                else:
                    nodes[i] = expr.stop(node)
            tops = self.made.place(row, nodes)
            self.values |= {(row.number, i): node for i, node in enumerate(tops)}
        objective = self._objective(consumed)
        for row in self.rows:
            for slot in row.slots if row.entry.need else ():
                key = f"p:{slot.owner.key}"
                if slot.gets_gradient and key not in wrt and slot.owner.key in self.made.params:
                    wrt[key] = self.made.params[slot.owner.key]
                    self.learned[f"{key}{GRADIENT}"] = slot.owner.key
        if objective is None or not wrt:
            return None
        found = gradient(tuple(wrt), values=wrt)(Graph({OBJECTIVE: objective, **self._held()}))
        return self._cut(found)

    def _objective(self, consumed: set[Version]) -> Node | None:
        """What has the given gradients by the tops: each top times its gradient, summed."""
        total: Node | None = None
        for row in self.rows:
            for i, blob in enumerate(row.tops if row.entry.need else ()):
                node = self.values[row.number, i]
                if (row.number, i) in consumed or not node.type.is_float:
                    continue
                key = f"{blob.name}{GRADIENT}"
                self.seeds[key] = blob.name
                term = expr.sum(node * self.made.input(key, blob.shape))
                total = term if total is None else total + term
        return total

    def _held(self) -> Mapping[str, Node]:
        """The values that are there and need not be computed again, by names of outputs."""
        found = {}
        for row in self.rows:
            for i, blob in enumerate(row.tops):
                version = row.number, i
                if not self.values[version].type.is_float:
                    continue
                if self.held(version, blob):
                    found[f"v:{blob.name}"] = self.values[version]
                elif self.kept(version):
                    found[f"v:{kept_name(blob, version)}"] = self.values[version]
                    self.saved[kept_name(blob, version)] = version
        return found

    def _cut(self, found: Graph) -> Graph:
        """Read what lies in blobs instead of computing it."""
        cut: dict[Node, Node] = {}
        for key, node in found.outputs.items():
            if key.startswith("v:") and node not in cut and node.op is not ops.input_:
                name = key.removeprefix("v:")
                if name not in self.saved:
                    self.data.add(name)
                cut[node] = found.inputs.get(name) or self.made.input(name, node.shape)
        wanted = {name: node for name, node in found.outputs.items() if name in self.results or name in self.learned}
        return Graph(wanted).rebuild(cut)
