"""Segments: layers in a row as one fused program, on the memory of the blobs around them.

The first passes keep every blob, as Caffe does. If nobody looks, later ones keep those that somebody ever looked at and
those that others read; one that was left out is made from what its pass was fed, on the state of that pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ..api.binding import written
from ..compiler.codegen.target import TARGETS, imported
from ..compiler.graph import Graph, Node
from ..compiler.net import Net as BuiltNet
from ..compiler.program import StateInfo
from ..driver import Compilation
from ..runtime.executable import ArrayEngine, Executable
from ..runtime.moment import Moment
from ..runtime.state import State
from .blob import BlobMemory
from .composing import TOP, Backward, forward, kept_name
from .rows import Named, Row, Version

Array = npt.NDArray[Any]
KEEPING = 3  # passes that keep everything, from the first on and after each look at what was left out


class Running(Protocol):
    """What a segment needs of its net."""

    state: State
    moment: Moment
    saved: dict[Version, Array]
    learning: bool
    shared: object

    @property
    def infos(self) -> list[StateInfo]: ...

    @property
    def compilation(self) -> Compilation: ...

    @property
    def rows(self) -> Sequence[Row]: ...

    def base(self, version: Version) -> Version: ...

    def read_later(self, memory: BlobMemory, after: int) -> bool: ...


def compiled(core: Running, rows: Sequence[Row], graph: Graph) -> Compilation:
    """The compilation of a graph of some layers of a net."""
    whole = core.compilation
    net = BuiltNet(
        whole.net.name,
        whole.net.mode,
        graph,
        {name: node.type for name, node in graph.inputs.items()},
        tuple(core.infos),
        tuple(info for row in rows if row.piece is not None for info in row.piece.rows),
        {},
        (),
        tuple(graph.outputs),
        {},
        named=dict(graph.outputs),
    )
    return whole.part(lambda _: net)


class Loaded:
    """A program whose outputs, and some of whose inputs, are the memory of blobs; bound anew where that has moved."""

    def __init__(
        self,
        core: Running,
        made: Compilation,
        outputs: Mapping[str, tuple[BlobMemory, Named]],
        inputs: Mapping[str, Named] | None = None,
    ) -> None:
        self.core = core
        self.outputs = outputs
        self.inputs = inputs or {}
        inside = imported(TARGETS[made.request.target].engine) is ArrayEngine
        self.executable = Executable(written(made, list(outputs) if inside else ()), core.state, made.request.device)
        self._bound: list[Any] = []

    def run(self, feeds: Mapping[str, Array]) -> None:
        memories = [
            *(memory.flat for memory, _ in self.outputs.values()),
            *(b.values.flat for b in self.inputs.values()),
        ]
        marks = [self.core.shared, *memories]
        if len(marks) != len(self._bound) or any(a is not b for a, b in zip(marks, self._bound, strict=True)):
            given = {name: blob.view(memory.flat) for name, (memory, blob) in self.outputs.items()}
            self.executable.bind({name: blob.view(blob.values.flat) for name, blob in self.inputs.items()}, given)
            self._bound = marks
        self.executable.run(feeds)


class Segment:
    """Compiled layers in a row, of the shapes that their blobs have now."""

    def __init__(self, core: Running, rows: Sequence[Row]) -> None:
        self.core, self.rows = core, rows
        made, self._nodes, values = forward(rows)
        self._updates = made.updates
        blobs = {blob.name: blob for row in rows for blob in (*row.bottoms, *row.tops)}
        self._entering = {name: blobs[name] for name in made.inputs}
        self._makes: dict[BlobMemory, tuple[Named, Version]] = {}
        for row in rows:
            for i, blob in enumerate(row.tops):
                if core.base((row.number, i)) == (row.number, i):
                    self._makes[blob.values] = blob, (row.number, i)
        self._overwritten = [
            (core.base(version), blob)
            for row in rows
            for version, blob in zip(row.entry.reads, row.bottoms, strict=True)
            if blob.name in self._entering and blob.values in self._makes and version[0] < rows[0].number
        ]
        # What a layer overwrites in its place here, though its gradient depends on it.
        self._hidden = {
            f"{kept_name(blob, version)}{TOP}": (BlobMemory(blob.count), blob, version, values[version])
            for row in rows
            for version, blob in zip(row.entry.reads, row.bottoms, strict=True)
            if row.entry.need and blob in row.tops and core.base(version) == version and version in values
        }
        last = rows[-1].number
        self._always = frozenset(memory for memory in self._makes if core.read_later(memory, last))
        self._inner = [(row.number, i) for row in rows for i in range(len(row.tops))]
        self._programs: dict[tuple[frozenset[BlobMemory], bool], Loaded] = {}
        self._looks: dict[frozenset[BlobMemory], Executable] = {}
        self._bound: object = core.shared
        self._last: Loaded | None = None
        self._fed: dict[str, Array] = {}
        self._runs = 0

    def run(self) -> None:
        """A pass through these layers."""
        for blob in self._entering.values():
            blob.values.filled()
        for version in self._inner:  # copies of what an earlier pass over other layers overwrote
            self.core.saved.pop(version, None)
        for version, blob in self._overwritten:
            self.core.saved[version] = blob.view(blob.values.flat).copy()
        kept, hidden = self._kept(), self.core.learning
        program = self._programs.get((kept, hidden))
        if program is None:
            program = self._programs[kept, hidden] = self._load(kept, hidden)
        inputs = program.executable.program.inputs
        feeds = {name: blob.view(blob.values.flat) for name, blob in self._entering.items()}
        for name in feeds.keys() - inputs.keys():
            self._remember(name, feeds.pop(name))
        program.run(feeds)
        self._last = program
        self._runs += 1
        for memory, blob, version, _ in self._hidden.values() if hidden else ():
            self.core.saved[version] = blob.view(memory.flat)
        for memory, (_, version) in self._makes.items():
            memory.holds = version
            memory.pending = None if memory in kept else self._make

    def _kept(self) -> frozenset[BlobMemory]:
        """The memory that this pass writes."""
        if self._runs < KEEPING or self.core.learning:
            return frozenset(self._makes)
        return self._always | {memory for memory in self._makes if memory.looked}

    def _load(self, kept: Iterable[BlobMemory], hidden: bool) -> Loaded:
        named = {f"{self._makes[memory][0].name}{TOP}": (memory, self._makes[memory][0]) for memory in kept}
        graph = self._graph(kept, self._updates)
        if hidden:
            named |= {name: (memory, blob) for name, (memory, blob, _, _) in self._hidden.items()}
            more = {name: node for name, (_, _, _, node) in self._hidden.items()}
            graph = graph.with_roots({**graph.outputs, **more})
        return Loaded(self.core, compiled(self.core, self.rows, graph), named)

    def _graph(self, memories: Iterable[BlobMemory], updates: Mapping[str, Node]) -> Graph:
        names = [self._makes[memory][0].name for memory in self._makes if memory in set(memories)]
        return Graph({f"{name}{TOP}": self._nodes[name] for name in names}, updates)

    def _remember(self, name: str, array: Array) -> None:
        """Keep what the program does not read, but what it left out may depend on."""
        held = self._fed.get(name)
        if held is None or held.shape != array.shape:
            self._fed[name] = array.copy()
        else:
            np.copyto(held, array)

    def _make(self) -> None:
        """Everything that the last pass left out."""
        if self._bound is not self.core.shared:
            self._bound = self.core.shared
            self._looks.clear()
        wanted = frozenset(memory for memory in self._makes if memory.pending is not None)
        for memory in wanted:
            memory.pending = None
        look = self._looks.get(wanted)
        if look is None:
            made = compiled(self.core, self.rows, self._graph(wanted, {}))
            look = self._looks[wanted] = Executable(made.program, self.core.state, made.request.device)
        assert self._last is not None
        last = self._last.executable
        fed = {**self._fed, **last.fed()}
        with last.alone(), self.core.moment.restored():
            found = look.run_alone({name: fed[name] for name in look.program.inputs}, {})
        for memory in wanted:
            blob = self._makes[memory][0]
            np.copyto(blob.view(memory.flat), found[f"{blob.name}{TOP}"])
        self._runs = 0


class Returning:
    """The backward pass through compiled layers in a row, for the values that lie in memory now."""

    def __init__(self, core: Running, rows: Sequence[Row]) -> None:
        self.core = core
        self._blobs = {blob.name: blob for row in core.rows for blob in (*row.bottoms, *row.tops)}
        made = Backward(rows, lambda number: core.rows[number], self._held, core.saved.__contains__)
        self._made = made
        graph = made.graph()
        self._loaded: Loaded | None = None
        if graph is None:
            return
        updates, outputs = {}, {}
        held = graph.params
        for key, node in graph.outputs.items():
            if key in made.learned:
                slot = next(s.owner for row in core.rows for s in row.slots if s.owner.key == made.learned[key])
                kept = held.get(slot.diff) or _param(slot.diff, slot.shape)
                updates[slot.diff] = kept + node
            else:
                outputs[key] = node
        whole = Graph(outputs, updates)
        targets = {key: self._blobs[made.results[key]] for key in outputs}
        read = whole.inputs
        self._loaded = Loaded(
            core,
            compiled(core, rows, whole),
            {key: (blob.gradients, blob) for key, blob in targets.items()},
            {name: self._blobs[name] for name in made.data if name in read},
        )
        self._saved = {name: version for name, version in made.saved.items() if name in read}
        self._seeds = {name: self._blobs[blob] for name, blob in made.seeds.items() if name in read}

    def _held(self, version: Version, blob: Named) -> bool:
        return blob.values.holds in (None, self.core.base(version))

    def run(self) -> None:
        if self._loaded is None:
            return
        for blob in self._loaded.inputs.values():
            blob.values.filled()
        feeds = {name: self.core.saved[version] for name, version in self._saved.items()}
        feeds |= {name: blob.view(blob.gradients.flat) for name, blob in self._seeds.items()}
        self._loaded.run(feeds)


def _param(name: str, shape: Sequence[int]) -> Node:
    from ..compiler import ops

    return ops.param(name=name, shape=tuple(shape), dtype="f32")
