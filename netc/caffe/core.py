"""A net set up and run as Caffe does it: layer by layer in shapes and data, in compiled segments where it can.

Set up once: blobs, parameters, hosts. A pass goes over the layers asked for; those in a row that are compiled are one
program. Shapes are looked at before each layer or segment runs, since blobs may have been reshaped.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..compiler.build import entered
from ..compiler.caffe import writer
from ..compiler.caffe.parameters import owners
from ..compiler.caffe.rows import ROWS
from ..compiler.net import SEED, STEP
from ..compiler.program import StateInfo
from ..compiler.spec import Filler
from ..compiler.types import TensorType
from ..driver import Compilation
from ..grammar import tree
from ..grammar.source import SourceError, SourceErrors
from ..request import request
from ..runtime.moment import Moment
from ..runtime.state import State
from .blob import BlobMemory, BlobVec, ParamBlob, check_memory
from .hosts import HOSTS, Python
from .layer import NetLayer
from .piece import Piece, build_layer
from .process import HERE, PHASES, new_seed
from .rows import Named, ParamSlot, Row, Version
from .segment import Returning, Segment
from .table import LayerEntry, LayerTable, flow

Array = npt.NDArray[Any]
ALIASES = ("Split", "Reshape", "Flatten")  # whose tops lie in the memory of their bottom
ZERO = Filler("constant", (("value", 0.0),))
PROGRAMS = 32  # of segments that are held at a time
SIZES = 8  # of each layer's bottoms, whose graphs are held
Hook = Callable[[int], object]


class Core:
    """A net's layers, blobs and state."""

    def __init__(self, found: LayerTable, phase: int) -> None:
        self.table, self.phase = found, phase
        self.seed = new_seed()
        self.state = State([])
        self.moment = Moment(self.state)
        self.named: OrderedDict[str, Named] = OrderedDict()
        self.rows: list[Row] = []
        self.saved: dict[Version, Array] = {}
        self.learning = False  # a backward pass was asked for
        self.shared: object = None  # another one when parameters moved
        self.hooks: dict[str, list[Hook]] = {"before_forward": [], "after_forward": []}
        self.hooks |= {"before_backward": [], "after_backward": []}
        self._target, self._device = HERE.target, HERE.device
        self._bytes = 0  # of the values of all blobs
        self._pieces: dict[tuple[Any, ...], Piece] = {}
        self._segments: dict[tuple[Any, ...], Segment] = {}
        self._returns: dict[tuple[Any, ...], Returning] = {}
        self._infos: dict[str, StateInfo] = {}
        self._compilation: Compilation | None = None
        self._named_slots: dict[str, ParamSlot] = {}
        self._owners = owners(((e.message, ROWS[e.type].params) for e in found.entries if e.type in ROWS), _ignored)
        for entry in found.entries:
            self._enter(entry)
        flow(found, [any(slot.info.lr and slot.info.kind == "parameter" for slot in row.slots) for row in self.rows])
        self._parameters()
        self._passes = [0] * len(self.rows)
        self._before: dict[str, Array] = {}

    # Set up ---------------------------------------------------------------------------------------------------------

    def _enter(self, entry: LayerEntry) -> None:
        """One layer with its blobs."""
        bottoms = [self.named[name] for name in entry.bottoms]
        tops = []
        for i, name in enumerate(entry.tops):
            if i < len(bottoms) and bottoms[i].name == name:
                tops.append(bottoms[i])
            else:
                title = name if name not in self.named else f"{name} {entry.number}"  # of losses without a top
                tops.append(self.named.setdefault(title, Named(title)))
        row = Row(entry, bottoms, tops)
        self.rows.append(row)
        if entry.type in ALIASES:
            for top in tops:
                top.values = bottoms[0].values
                if entry.type != "Split":
                    top.gradients = bottoms[0].gradients
        if entry.hosted:
            row.host = HOSTS[entry.type](row, self.phase, self.seed)
        self._set_up(row)
        self._bytes += sum(4 * top.count for top in tops if entry.type not in ALIASES)
        check_memory(self._bytes, "a net")
        if isinstance(row.host, Python):
            types = [TensorType(blob.shape, "f32") for blob in row.host.layer.blobs]
            infos = [StateInfo(f"{entry.name}.{i}", type_, layer=entry.name) for i, type_ in enumerate(types)]
            self._slots(row, infos)

    def _set_up(self, row: Row) -> None:
        """Give a layer's tops their shapes, for those of its bottoms."""
        shapes = [blob.shape for blob in row.bottoms]
        if row.entry.hosted:
            row.host.reshape()
        elif row.entry.type == "Split":
            for top in row.tops:
                top.reshape(*shapes[0])
        else:
            key = (row.number, *shapes)
            piece = self._pieces.pop(key, None)
            if piece is None:
                names = [blob.name for blob in row.bottoms], [blob.name for blob in row.tops]
                piece = build_layer(row.entry.message, *names, shapes, PHASES[self.phase])  # type: ignore[arg-type]
            _kept(self._pieces, key, piece, SIZES * max(len(self.table.entries), 1))
            self._take(row, piece)
            for top, shape in zip(row.tops, piece.shapes, strict=True):
                if top.shape != shape:
                    if top in row.bottoms:
                        place = row.entry.message.place("top")
                        message = f"{row.entry.type}: it cannot give `{top.name}` another shape in its place"
                        raise SourceErrors([SourceError("E711", message, place, "give the top a name of its own")])
                    top.reshape(*shape)
        for top, weight in zip(row.tops, row.entry.weights, strict=False):
            if weight and (row.built is None or row.built != shapes):
                top.diff[...] = weight
        row.built = shapes

    def _take(self, row: Row, piece: Piece) -> None:
        """The state of a layer's piece, new or that of before."""
        infos = [info for info in piece.state if info.kind in ("parameter", "statistic")]
        if row.piece is None:
            self._slots(row, infos)
        elif [info.type.shape for info in infos] != [slot.shape for slot in row.slots]:
            place = row.entry.message.place("name")
            message = f"`{row.entry.name}`: its parameters do not fit the new shape of what it reads"
            raise SourceErrors([SourceError("E424", message, place)])
        row.piece = piece
        row.named = {info.name: slot for info, slot in zip(infos, row.slots, strict=True)}
        row.carried = {info.name: f"{row.number}/{info.name}" for info in piece.state if info.kind == "carried"}
        more = [replace(i, name=row.carried[i.name]) for i in piece.state if i.kind == "carried"]
        more += [info for info in piece.state if info.name in (SEED, STEP)]
        self.hold(more)

    def hold(self, infos: Sequence[StateInfo]) -> None:
        """Have these tensors in the state, each in a buffer of its own."""
        new = [replace(info, buffer=info.name, offset=0) for info in infos if info.name not in self._infos]
        check_memory(sum(info.type.nbytes for info in new), "a layer's state")
        self._infos |= {info.name: info for info in new}
        if new:
            self.state.extend(new, self.seed)
            self._compilation = None

    def _slots(self, row: Row, infos: Sequence[StateInfo]) -> None:
        """The parameters of a layer; one with a name that was met before is that one."""
        specs = row.entry.message.messages("param")
        for i, info in enumerate(infos):
            spec = specs[i] if i < len(specs) else None
            name = spec.get("name") if spec is not None else ""
            if spec is not None and row.host is not None:
                info = replace(info, lr=spec.get("lr_mult"), decay=spec.get("decay_mult"))
            if info.kind == "statistic":  # to Caffe a parameter that decays, though at a rate of 0
                info = replace(info, lr=0.0, decay=spec.get("decay_mult") if spec is not None else 1.0)
            if (owner := self._owners.get(name)) is not None:
                info = replace(info, lr=owner.lr, decay=owner.decay)
            key = info.name if info.name not in self._infos else f"{info.name}/{row.number}"
            shape = tuple(map(int, info.type.shape))
            slot = ParamSlot(key, shape, replace(info, name=key))
            slot.gets_gradient = row.host is None and info.kind == "parameter" and (bool(info.lr) or self.table.force)
            row.slots.append(slot)
            other = self._named_slots.setdefault(name, slot) if name else slot
            if other is slot:
                diff = StateInfo(slot.diff, info.type, "history", ZERO)
                self.hold([slot.info, diff])
                continue
            slot.owned = other
            permissive = spec is not None and spec.get("share_mode") == "PERMISSIVE"
            fits = np.prod(shape) == np.prod(other.shape) if permissive else shape == other.shape
            if not fits:
                sizes = f"{list(shape)} here, {list(other.shape)} in `{other.info.layer}`"
                place = row.entry.message.place("param")
                raise SourceErrors([SourceError("E713", f"the parameter `{name}` is {sizes}", place)])

    def _parameters(self) -> None:
        """Blobs for all parameters; those of layers in Python go on with the values that `setup` gave them."""
        for row in self.rows:
            blobs = BlobVec(ParamBlob(self.state, s.owner.key, s.diff, s.shape) for s in row.slots)
            if isinstance(row.host, Python):
                for new, old in zip(blobs, row.host.layer.blobs, strict=True):
                    new.data[...] = old.data
                row.host.layer.blobs = blobs
                row.blobs = row.host.layer
            else:
                row.blobs = NetLayer(row.entry.type, blobs)

    @property
    def infos(self) -> list[StateInfo]:
        """The state, each tensor in a buffer of its own."""
        return list(self._infos.values())

    @property
    def compilation(self) -> Compilation:
        """What compiles the net's segments."""
        if self._compilation is None:
            message = self.table.message
            title = writer.name("net", message.span)
            empty = tree.File(message.span, (tree.NetDef(message.span, title, (), ()),))
            mode: Any = PHASES[self.phase].lower()
            want = request(mode=mode, net="net", target=self._target, device=self._device)
            self._compilation = Compilation(entered(message.source, empty), want, layout=self.infos)
        return self._compilation

    def base(self, version: Version) -> Version:
        """The value that lies in memory for one that is another's alias."""
        row = self.rows[version[0]]
        return self.base(row.entry.reads[0]) if row.entry.type in ALIASES else version

    def read_later(self, memory: BlobMemory, after: int) -> bool:
        """Whether layers behind one, or the caller of a pass, read it."""
        if any(self.named[name].values is memory for name in self.table.outputs):
            return True
        weighed = (t for row in self.rows for t, w in zip(row.tops, row.entry.weights, strict=False) if w)
        if any(top.values is memory for top in weighed):
            return True
        return any(blob.values is memory for row in self.rows[after + 1 :] for blob in row.bottoms)

    # Passes ---------------------------------------------------------------------------------------------------------

    def forward_rows(self, start: int, end: int) -> float:
        """Run layers from one to another, both included: the weighted sum of their losses."""
        for row in (*self.rows[:start], *self.rows[end + 1 :]):
            for blob in row.tops:
                blob.values.filled()  # what was left out belongs to the pass before
        self._count(max(self._passes, default=0) + 1, range(start, end + 1))
        if self.learning:  # then everything is kept, and there is nothing to look for afterwards
            self.moment.forget()
        else:
            self.moment.begin()
        self._before = {
            info.name: self.state.buffers[info.name].copy() for info in self.infos if info.kind == "carried"
        }
        loss, at = 0.0, start
        while at <= end:
            last = self._reach(at, end, "forward")
            self._called("before_forward", at, last)
            row = self.rows[at]
            if row.entry.hosted:
                self._set_up(row)
                row.host.forward()
                for i, blob in enumerate(row.tops):
                    blob.values.holds, blob.values.pending = self.base((at, i)), None
            else:
                self._segment(at, last).run()
            for each in self.rows[at : last + 1]:
                loss += self._loss(each)
            self._called("after_forward", at, last)
            at = last + 1
        if all(blob.values.pending is None for blob in self.named.values()):
            self.moment.forget()
        return loss

    def fill(self) -> None:
        """Make everything that the last pass left out."""
        for blob in self.named.values():
            blob.values.filled()

    def backward_rows(self, start: int, end: int) -> None:
        """Run layers back from `start` to `end`, which comes before it; both included."""
        self.learning = True
        at = start
        with self._as_before():
            while at >= end:
                first = at
                while first > end and self._joins(first - 1, at):
                    first -= 1
                self._called("before_backward", at, first)
                row = self.rows[at]
                if not row.entry.hosted:
                    self._count(self._passes[at], ())
                    self._returning(first, at).run()
                elif row.entry.need:
                    row.host.backward()
                self._called("after_backward", at, first)
                at = first - 1

    def _joins(self, first: int, last: int) -> bool:
        """Whether a layer goes into one program with those behind it."""
        apart = self.hooks["before_backward"] or self.hooks["after_backward"]
        rows = self.rows[first], self.rows[last]
        same = self._passes[first] == self._passes[last]
        return not apart and same and not any(row.entry.hosted for row in rows)

    def _reach(self, at: int, end: int, which: str) -> int:
        """The last layer of the segment that begins at one."""
        if self.rows[at].entry.hosted or self.hooks[f"before_{which}"] or self.hooks[f"after_{which}"]:
            return at
        while at < end and not self.rows[at + 1].entry.hosted:
            at += 1
        return at

    def _called(self, hook: str, first: int, last: int) -> None:
        for call in self.hooks[hook]:
            for number in range(first, last + 1) if first <= last else range(first, last - 1, -1):
                call(number)

    def _loss(self, row: Row) -> float:
        found = 0.0
        for top, weight in zip(row.tops, row.entry.weights, strict=False):
            if weight:
                values, weights = top.view(top.values.filled()), top.view(top.gradients.flat)
                found += float(np.dot(values.ravel().astype(np.float64), weights.ravel()))
        return found

    def _segment(self, first: int, last: int) -> Segment:
        rows = self.rows[first : last + 1]
        self.fit(rows)
        key = (first, last, *(tuple(row.built or ()) for row in rows))
        found = self._segments.pop(key, None) or Segment(self, rows)
        return _kept(self._segments, key, found)

    def _returning(self, first: int, last: int) -> Returning:
        rows = self.rows[first : last + 1]
        for row in rows:
            for blob in (*row.bottoms, *row.tops):
                blob.values.filled()
        held = [blob.values.holds for row in rows for blob in (*row.bottoms, *row.tops)]
        saved = [version in self.saved for row in rows for version in row.entry.reads]
        key = (first, last, *(tuple(row.built or ()) for row in rows), *held, *saved)
        found = self._returns.pop(key, None) or Returning(self, rows)
        return _kept(self._returns, key, found)

    def fit(self, rows: Sequence[Row]) -> None:
        """Set up those layers again whose bottoms have other shapes than before."""
        for row in rows:
            if row.built != [blob.shape for blob in row.bottoms]:
                self._set_up(row)

    def _count(self, number: int, rows: Sequence[int]) -> None:
        """Random numbers are those of a pass of this number from now on."""
        for row in rows:
            self._passes[row] = number
        if STEP in self._infos and int(self.state.buffers[STEP]) != number:
            self._write({STEP: np.asarray(number)})

    @contextmanager
    def _as_before(self) -> Iterator[None]:
        """Inside, what a pass leaves to the next is what the last one began with."""
        now = {name: self.state.buffers[name].copy() for name in self._before}
        self._write(self._before)
        try:
            yield
        finally:
            self._write(now)

    def _write(self, values: Mapping[str, Array]) -> None:
        """Put values into the state."""
        if values:
            self.state.writing(values)
            for name, array in values.items():
                self.state.buffers[name][...] = array
            self.state.touch()


def _ignored(error: SourceError) -> None:
    """Mistakes in sharing were reported when the table was made."""


Kept = TypeVar("Kept")


def _kept(held: dict[tuple[Any, ...], Kept], key: tuple[Any, ...], found: Kept, most: int = PROGRAMS) -> Kept:
    """Put it last, and let those go that were not used for longest."""
    held[key] = found
    while len(held) > most:
        held.pop(next(iter(held)))
    return found
