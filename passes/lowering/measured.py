"""Tuning tables: schedules and algorithms that were measured, in files that people read, commit and merge.

A file is JSON with an entry a line, sorted. The name of an entry says for which GPU it was measured (architecture and
device), or for which processor with how many threads, and what was (the kernel's kind, the shape that it works on, a
hash of all that it computes, but not of its tile sizes); behind it stand these, or the algorithm of a node on a CPU,
the measured microseconds, and for readers the layers. Each entry ends in a comma, since the version comes last, so git
may merge two files by keeping the lines of both: of two equal names the faster counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ...compiler.kernel import Blocks
from ...grammar.source import UserError

VERSION = 1
LARGEST_FILE = 1 << 24  # bytes
SHOWN = 4  # kernels that a message names
MOST_ENTRIES = 100_000
# The numbers of `Blocks` that are data, with the largest of each. How products are rounded is the caller's wish.
NUMBERS = {"rows": 65536, "columns": 65536, "depth": 65536, "split": 1024, "warps": 32, "stages": 8}
MOST_ELEMENTS = 1 << 16  # of a block
# What a node may be computed by on a CPU: direct sums, by rule or in tiles along some axes (`Blocks.axes`); Winograd's
# filtering, by the side of its tiles; weights in panels.
ALGORITHM = re.compile(r"direct(?: [a-z_]{1,16}/[a-z_]{1,16})?|winograd[24]|panels", re.ASCII)
CPU = "cpu"
_DEVICE = r"(?P<device>[^/\n]{1,80})"
_KERNEL = r"(?P<kind>[a-z_]{1,16}) (?P<space>[0-9x]{1,80}) / (?P<key>[0-9a-f]{16})"
_THREADS = r"(?P<threads>[1-9]\d{0,3}) threads"
ON_GPU = re.compile(rf"(?P<arch>cuda:\d{{2,3}}|hip:gfx[0-9a-f]{{3,5}}) / {_DEVICE} / {_KERNEL}", re.ASCII)
ON_CPU = re.compile(rf"(?P<arch>{CPU}) / {_DEVICE} / {_THREADS} / {_KERNEL}", re.ASCII)


@dataclass(frozen=True)
class TuningKey:
    """What an entry is about: a kernel by its hash, on a GPU, or on a processor with so many threads."""

    arch: str
    device: str
    key: str
    threads: int = 0


@dataclass(frozen=True)
class TuningEntry:
    """What was measured to be fastest. chosen: the blocks of a GPU's kernel, or the name of an algorithm on a CPU.

    us: microseconds of a launch. layers: those that the kernel was found in, for readers.
    """

    kind: str
    space: str
    chosen: Blocks | str
    us: float
    layers: str = ""


@dataclass(frozen=True)
class TuningTable:
    """Entries by place."""

    entries: Mapping[TuningKey, TuningEntry] = field(default_factory=dict)

    def find(self, key: str, arch: str, device: str = "", threads: int = 0) -> TuningEntry | None:
        """The entry of a kernel on a device with so many threads, else one of the same architecture.

        That is one of the device with another number of threads, the nearest, else that of another device.
        """
        name = plain(device)

        def far(place: TuningKey) -> tuple[object, ...]:
            return place.device != name, abs(place.threads - threads), place.threads, place.device

        there = [place for place in self._by_key.get(key, ()) if place.arch == arch]
        return self.entries[min(there, key=far)] if there else None

    @property
    def _by_key(self) -> dict[str, list[TuningKey]]:
        found: dict[str, list[TuningKey]] | None = self.__dict__.get("_index")
        if found is None:
            found = self.__dict__["_index"] = {}
            for place in self.entries:
                found.setdefault(place.key, []).append(place)
        return found

    def over(self, other: TuningTable) -> TuningTable:
        """Both, where this one says more than the other."""
        return TuningTable({**other.entries, **self.entries})

    def text(self) -> str:
        """The file."""
        lines = sorted(
            ": ".join(json.dumps(one, ensure_ascii=False) for one in (_name(place, entry), _content(entry))) + ","
            for place, entry in self.entries.items()
        )
        return "\n".join(["{", *lines, f'"version": {VERSION}', "}"]) + "\n"


@dataclass(frozen=True)
class Measured:
    """The table that is asked before the cost model. frozen: UserError for kernels that it lacks.

    trial: what a tuner tries, by a kernel's hash, before the table. device: the GPU's or the processor's name, where
    known. threads: of a processor.
    """

    table: TuningTable = field(default_factory=TuningTable)
    frozen: bool = False
    device: str = ""
    trial: Mapping[str, Blocks | str] = field(default_factory=dict)
    threads: int = 0

    def find(self, key: str, arch: str) -> Blocks | None:
        """The schedule of a kernel, if there is one."""
        found = self._found(key, arch)
        return found if isinstance(found, Blocks) else None

    def algorithm(self, key: str) -> str | None:
        """The algorithm of a node on a CPU, if there is one."""
        found = self._found(key, CPU)
        return found if isinstance(found, str) else None

    def _found(self, key: str, arch: str) -> Blocks | str | None:
        entry = self.table.find(key, arch, self.device, self.threads)
        return self.trial.get(key) or (entry.chosen if entry is not None else None)


def listed(names: Sequence[str]) -> str:
    """What messages about a table name: the first ones, and how many more."""
    return ", ".join(names[:SHOWN]) + (f" and {len(names) - SHOWN} more" if len(names) > SHOWN else "")


def read_table(text: str, name: str) -> TuningTable:
    """The table of a file's text; UserError, in a line, for anything else. name: of the file."""
    try:
        # An object as a tuple of pairs, so that equal names are seen.
        found = json.loads(text, object_pairs_hook=tuple)
    except (ValueError, RecursionError):
        raise UserError(f"{name}: is no schedule file: it is not JSON") from None
    if not isinstance(found, tuple) or ("version", VERSION) not in found:
        raise UserError(f'{name}: is no schedule file of this version of netc: `"version": {VERSION}` is missing')
    if len(found) > MOST_ENTRIES:
        raise UserError(f"{name}: has {len(found):,} entries, more than {MOST_ENTRIES:,}")
    entries: dict[TuningKey, TuningEntry] = {}
    for title, content in found:
        if title == "version":
            continue
        try:
            place, entry = _entry(title, content)
        except ValueError as error:
            raise UserError(f"{name}: the entry `{title[:120]}` {error}") from None
        if place not in entries or entry.us < entries[place].us:
            entries[place] = entry
    return TuningTable(entries)


def plain(device: str) -> str:
    """A device's name as it stands in a file."""
    return " ".join(re.sub(r"[^\x20-\x7e]|/", " ", device).split())[:80] or "unknown"


def _entry(title: str, content: Any) -> tuple[TuningKey, TuningEntry]:
    name = ON_GPU.fullmatch(title) or ON_CPU.fullmatch(title)
    if name is None:
        raise ValueError(
            "has no name of the form `ARCH / DEVICE / KIND SHAPE / HASH` or "
            f"`{CPU} / PROCESSOR / N threads / KIND SHAPE / HASH`"
        )
    if not isinstance(content, tuple):
        raise ValueError("is no object")
    given, on_cpu = dict(content), name["arch"] == CPU
    needed = ("algorithm", "us") if on_cpu else (*NUMBERS, "us")
    unknown = given.keys() - {*needed, "layers"}
    missing = [key for key in needed if key not in given]
    if unknown or missing:
        raise ValueError(f"{'has an unknown' if unknown else 'lacks'} `{[*sorted(unknown), *missing][0][:40]}`")
    chosen = _algorithm(given["algorithm"]) if on_cpu else _blocks(given)
    us, layers = given["us"], given.get("layers", "")
    if isinstance(us, bool) or not isinstance(us, int | float) or not 0 < us < math.inf:
        raise ValueError("has no time in `us`")
    if not isinstance(layers, str) or len(layers) > 200:
        raise ValueError("has no names in `layers`")
    place = TuningKey(name["arch"], name["device"], name["key"], int(name["threads"]) if on_cpu else 0)
    return place, TuningEntry(name["kind"], name["space"], chosen, float(us), layers)


def _algorithm(found: object) -> str:
    if not isinstance(found, str) or not ALGORITHM.fullmatch(found):
        raise ValueError("has none of direct, direct AXIS/AXIS, winograd2, winograd4, panels as its `algorithm`")
    return found


def _blocks(given: Mapping[str, Any]) -> Blocks:
    numbers = dict(_numbers(given))
    if numbers["rows"] * numbers["columns"] > MOST_ELEMENTS or numbers["rows"] * numbers["depth"] > MOST_ELEMENTS:
        raise ValueError(f"has a block of more than {MOST_ELEMENTS} elements")
    return replace(Blocks(), **numbers)  # type: ignore[arg-type]


def _numbers(given: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, most in NUMBERS.items():
        value = given[key]
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"has `{key}` not as a whole number from 1 to {most}")
        if key not in ("split", "stages") and value & (value - 1):
            raise ValueError(f"has `{key}` {value}, which is no power of two")
        yield key, value


def _name(place: TuningKey, entry: TuningEntry) -> str:
    threads = f" / {place.threads} threads" if place.arch == CPU else ""
    return f"{place.arch} / {place.device}{threads} / {entry.kind} {entry.space} / {place.key}"


def _content(entry: TuningEntry) -> dict[str, Any]:
    chosen = entry.chosen
    what = {"algorithm": chosen} if isinstance(chosen, str) else {key: getattr(chosen, key) for key in NUMBERS}
    us = max(round(entry.us, 3), 0.001)  # a clock may stand still, and what is written can be read
    return {**what, "us": us, "layers": entry.layers}


def shape_text(space: Iterable[int]) -> str:
    """A shape as it stands in an entry's name."""
    return ("x".join(map(str, space)) or "1")[:80]
