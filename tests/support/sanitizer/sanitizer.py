"""A race detector and bounds checker (a sanitizer) for kernels in Triton's interpreter.

Each pointer of a launch gets an address space of its own, so that an access tells by its address which buffer is meant
and where in it, however far it is off; the hooks in the interpreter's builder put the real addresses in. Lanes that
miss their buffer are reported and left out. SeenFault are:

- race: a byte that one program of a launch writes and another one reads or writes;
- order: a byte that two threads of one program access, one of them to write, without a barrier between them;
- lanes: a byte that a store writes from two lanes with different values (the same value is how a value without an axis
  is stored by a tile that has it, and harmless);
- bounds: an access beside the elements of the buffer that the argument names, or a store through one that is only read.

A read by some lanes is in order with a write by the same lanes, as when a value is updated where it lies: what a thread
stores depends on what it has loaded. But a block of few elements, a single one above all, is loaded by all threads, of
which each may use its own, and stored over by some: that is in order only if no store of more elements follows the
load, since a late thread may put into that what others have stored already.
"""

from __future__ import annotations

import linecache
import sys
from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from .findings import SeenFault
from .shadow import Conflict, Lanes, Now, Shadow
from .spans import SPACE, Elements, SeenAccess, virtual

Array = npt.NDArray[Any]
TEXT = "<netc triton"  # how the names of modules' texts begin, see `run.launch.functions_of`

Program = tuple[int, ...]
Calls = Sequence[Sequence[Elements]]


@dataclass
class _Running:
    """A launch that runs."""

    phase: str
    call: int
    spans: Sequence[Elements]
    starts: Array  # real addresses
    shadows: list[Shadow]
    of: list[list[Shadow]]  # of each argument
    lanes: Lanes
    programs: list[Program] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)  # the first turn of each
    turn: int = 0
    stores: int = 0
    # Of this program: the last store of so many lanes, of which so many took place; and where was stored over what was
    # loaded in the same turn, by argument, lanes of the load and those that took place, and stores before it.
    sizes: dict[tuple[int, int], int] = field(default_factory=dict)
    shared: dict[tuple[int, int, int, int], list[Array]] = field(default_factory=dict)

    @property
    def now(self) -> Now:
        return Now(self.turn, self.begins[-1], self.stores)


class Sanitizer:
    """A program that is looked at: the spans of its launches, and the bytes of its memories."""

    def __init__(self, phases: Mapping[str, Calls], memories: Mapping[str, Array]) -> None:
        self._phases, self._memories = phases, memories
        self._running: _Running | None = None
        self._found: dict[tuple[Any, ...], SeenFault] = {}
        self.accesses = 0
        # Of each launch, by argument and whether it reads: which elements were touched.
        self.touched: dict[tuple[str, int], dict[tuple[int, bool], Array]] = {}

    def traffic(self) -> list[tuple[str, int, int]]:
        """Of each launch, by phase and number, the bytes of the elements that it has touched."""
        found = []
        for (phase, call), of in self.touched.items():
            spans = self._phases[phase][call]
            found.append((phase, call, sum(int(np.count_nonzero(seen)) * spans[a].item for (a, _), seen in of.items())))
        return found

    def _touch(self, access: SeenAccess, item: int, reads: bool) -> None:
        here = self._now
        of = self.touched.setdefault((here.phase, here.call), {})
        seen = of.setdefault((access.argument, reads), np.zeros(here.spans[access.argument].reach, np.bool_))
        seen[access.offsets // item] = True

    def taken(self) -> list[dict[str, Any]]:
        """What was found since the last call."""
        found, self._found = [asdict(one) for one in self._found.values()], {}
        return found

    def launch(self, phase: str, call: int) -> None:
        """A launch begins."""
        spans = self._phases[phase][call]
        starts = [self._memories[span.memory].ctypes.data + span.start for span in spans]
        lanes = Lanes()
        shadows = [
            Shadow(of[0].memory, min(s.start for s in of), max(s.stop for s in of), min(s.item for s in of), lanes)
            for of in _together(spans)
        ]
        of = [
            [one for one in shadows if one.memory == span.memory and one.low < span.stop and span.start < one.high]
            for span in spans
        ]
        self._running = _Running(phase, call, spans, np.array(starts, np.uint64), shadows, of, lanes)

    def launched(self) -> None:
        """It is done."""
        self._program_ends()
        self._running = None

    # Called by the interpreter.

    @property
    def _now(self) -> _Running:
        assert self._running is not None
        return self._running

    def program(self, number: Program) -> None:
        """A program begins."""
        here = self._now
        self._program_ends()
        here.turn += 1
        here.programs.append(number)
        here.begins.append(here.turn)

    def barrier(self) -> None:
        """All threads of the program have come so far."""
        self._now.turn += 1

    def _program_ends(self) -> None:
        here = self._now
        for (argument, block, count, before), places in here.shared.items():
            larger = [last for (lanes, active), last in here.sizes.items() if lanes > block and active > count]
            if any(last > before for last in larger):
                self._fault("order", "shared", argument, np.concatenate(places))
        here.sizes, here.shared = {}, {}

    def load(self, addresses: Array, mask: Array, item: int) -> tuple[Array, Array]:
        """The real addresses of a load, and the lanes that may take place."""
        here = self._now
        real, mask, accesses = self._resolved(addresses, mask, item, "reads")
        for access in accesses:
            self._touch(access, item, True)
            for shadow in here.of[access.argument]:
                self._shadowed(shadow, access, item, shadow.read)
        return real, mask

    def store(self, addresses: Array, mask: Array, item: int, values: Array) -> tuple[Array, Array]:
        """The same of a store."""
        here = self._now
        real, mask, accesses = self._resolved(addresses, mask, item, "writes")
        here.stores += 1
        here.sizes[addresses.size, sum(access.lanes.size for access in accesses)] = here.stores
        given = np.broadcast_to(values, addresses.shape)
        for access in accesses:
            if not here.spans[access.argument].written:
                self._fault("bounds", "only read", access.argument, access.offsets // item)
            self._touch(access, item, False)
            bits = given.reshape(-1)[access.lanes].view(f"u{item}")
            for shadow in here.of[access.argument]:
                self._check_lanes(shadow, access, item, bits)
                self._shadowed(shadow, access, item, shadow.write, bits)
        return real, mask

    def atomic(self, addresses: Array, mask: Array, item: int) -> tuple[Array, Array]:
        """The same of an atomic operation, which has an order with others, but none with loads and stores."""
        here = self._now
        real, mask, accesses = self._resolved(addresses, mask, item, "writes")
        for access in accesses:
            if not here.spans[access.argument].written:
                self._fault("bounds", "only read", access.argument, access.offsets // item)
            for shadow in here.of[access.argument]:
                for note in (shadow.read, shadow.write):
                    self._shadowed(shadow, access, item, note, atomic=True)
        return real, mask

    # What an access means.

    def _resolved(self, addresses: Array, mask: Array, item: int, does: str) -> tuple[Array, Array, list[SeenAccess]]:
        """Real addresses, lanes, and the accesses by argument; what lies beside its buffer is reported and left out."""
        here = self._now
        flat = addresses.reshape(-1)
        truths = np.broadcast_to(np.asarray(mask, np.bool_), addresses.shape).reshape(-1)
        active = np.flatnonzero(truths)
        if not active.size:
            return addresses, mask, []
        named = flat if active.size == flat.size else flat[active]
        self.accesses += active.size
        low, high = int(named.min()), int(named.max())
        argument = (low >> SPACE) - 1
        if argument == (high >> SPACE) - 1 and 0 <= argument < len(here.spans):
            span, base = here.spans[argument], virtual(argument)
            plain = span.own is None and span.item == item and (low - base) % item == 0
            if plain and low >= base and high - base <= (span.reach - 1) * item:
                real = addresses + np.uint64((int(here.starts[argument]) - base) % (1 << 64))
                return real, mask, [SeenAccess(argument, active, named, addresses.shape)]
        return self._apart(addresses, active, item, does)

    def _apart(self, addresses: Array, active: Array, item: int, does: str) -> tuple[Array, Array, list[SeenAccess]]:
        """The same where lanes have to be looked at one by one."""
        here = self._now
        real = np.zeros(addresses.size, np.uint64)
        allowed = np.zeros(addresses.size, np.bool_)
        named = addresses.reshape(-1)[active]
        spaces = (named >> np.uint64(SPACE)).astype(np.int64) - 1
        accesses = []
        for argument in map(int, np.unique(spaces)):
            chosen = np.flatnonzero(spaces == argument)
            if not 0 <= argument < len(here.spans):
                self._fault("bounds", does, -1, np.zeros(chosen.size, np.int64))
                continue
            span = here.spans[argument]
            access = SeenAccess(argument, active[chosen], named[chosen], addresses.shape)
            offsets = access.offsets
            good = (offsets >= 0) & (offsets + item <= span.reach * span.item) & (offsets % item == 0)
            if span.own is not None:
                good[good] = span.own[offsets[good] // span.item]
            if not good.all():
                self._fault("bounds", does, argument, offsets[~good] // span.item)
                access = SeenAccess(argument, access.lanes[good], access.addresses[good], addresses.shape)
            allowed[access.lanes] = True
            real[access.lanes] = access.offsets.view(np.uint64) + here.starts[argument]
            if access.lanes.size:
                accesses.append(access)
        return real.reshape(addresses.shape), allowed.reshape(addresses.shape), accesses

    def _check_lanes(self, shadow: Shadow, access: SeenAccess, item: int, bits: Array) -> None:
        """Report bytes that a store writes from two lanes with different values."""
        start = self._now.spans[access.argument].start
        units, each = shadow.places(access.offsets + start, item)
        if units.size < 2 or bool((units[1:] > units[:-1]).all()):
            return
        values = bits if each is None else bits[each]
        last, other = shadow.repeated(units)
        wrong = other & (values[last] != values)
        if wrong.any():
            self._fault("lanes", "", access.argument, access.offsets[elements(wrong, each)] // item)

    def _shadowed(
        self,
        shadow: Shadow,
        access: SeenAccess,
        item: int,
        note: Any,
        bits: Array | None = None,
        *,
        atomic: bool = False,
    ) -> None:
        """Note an access where programs of the launch write, and report conflicts."""
        here = self._now
        units, each = shadow.places(access.offsets + here.spans[access.argument].start, item)
        if not units.size:
            return
        lanes = here.lanes.numbers(access.shape, access.lanes)
        lanes = lanes if each is None else lanes[each]
        for conflict in note(units, lanes, here.now, atomic=atomic):
            if conflict.where.any():
                there = elements(conflict.where, each)
                turns = conflict.turns[conflict.where]
                if conflict.what == "shared":
                    places = np.unique(access.offsets[there] // item)
                    key = access.argument, conflict.block, places.size, int(turns.min())
                    here.shared.setdefault(key, []).append(places)
                else:
                    self._conflict(access, conflict, there, int(turns[0]), None if bits is None else bits[there])

    def _conflict(self, access: SeenAccess, conflict: Conflict, there: Array, turn: int, bits: Array | None) -> None:
        """Report a conflict of the elements `there`; bits: what is stored to them."""
        here = self._now
        span = here.spans[access.argument]
        offsets = access.offsets[there]
        same = False
        if bits is not None and conflict.what in ("writes", "twice"):
            memory = self._memories[span.memory]
            before = memory[: memory.size // span.item * span.item].view(f"u{span.item}")
            changed = before[(offsets + span.start) // span.item] != bits
            same = not changed.any()
            if same and conflict.what == "twice":
                return
        other = here.programs[bisect(here.begins, turn) - 1] if conflict.kind == "race" else None
        self._fault(conflict.kind, conflict.what, access.argument, offsets // span.item, other=other, same=same)

    # Reports.

    def _fault(
        self,
        kind: str,
        what: str,
        argument: int,
        places: Array,
        *,
        other: Program | None = None,
        same: bool = False,
    ) -> None:
        here = self._now
        program = here.programs[-1]
        found = SeenFault(kind, what, here.phase, here.call, argument, int(places[0]), program, other, same)
        key = (kind, what, found.phase, found.call, argument)
        if key not in self._found:
            found.line = _line()
            self._found[key] = found
        self._found[key].count += places.size


def elements(units: Array, each: Array | None) -> Array:
    """The numbers of the elements that these units belong to, see `Shadow.places`."""
    return np.flatnonzero(units) if each is None else np.unique(each[units])


def _together(spans: Sequence[Elements]) -> Iterator[list[Elements]]:
    """The written arguments of a launch, those together that reach over common bytes; and their smallest element."""
    groups: list[list[Elements]] = []
    for span in sorted((s for s in spans if s.written and s.count), key=lambda s: (s.memory, s.start)):
        last = groups[-1] if groups else []
        if last and last[0].memory == span.memory and span.start < max(s.stop for s in last):
            last.append(span)
        else:
            groups.append([span])
    yield from groups


def _line() -> str:
    """The line of a kernel's text that is being interpreted."""
    frame = sys._getframe()
    while frame is not None and not frame.f_code.co_filename.startswith(TEXT):
        frame = frame.f_back  # type: ignore[assignment]
    return "" if frame is None else linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
