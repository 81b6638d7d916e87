"""Tuning tables: schedules that were measured, in files that people read, commit and merge.

A file is JSON with an entry a line, sorted. The name of an entry says for which GPU it was measured (architecture and
device) and what was (the kernel's kind, the shape that it works on, a hash of all that it computes, but not of its
tile sizes); behind it stand these, the measured microseconds, and for readers the layers. Each entry ends in a comma,
since the version comes last, so git may merge two files by keeping the lines of both: of two equal names the faster
counts.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ...compiler.kernel import Blocks
from ...grammar.source import UserError

VERSION = 1
LARGEST_FILE = 1 << 24  # bytes
MOST_ENTRIES = 100_000
# The numbers of `Blocks` that are data, with the largest of each. How products are rounded is the caller's wish.
NUMBERS = {"rows": 65536, "columns": 65536, "depth": 65536, "split": 1024, "warps": 32, "stages": 8}
MOST_ELEMENTS = 1 << 16  # of a block
NAME = re.compile(
    r"(?P<arch>cuda:\d{2,3}|hip:gfx[0-9a-f]{3,5}) / (?P<device>[^/\n]{1,80}) / "
    r"(?P<kind>[a-z]{1,16}) (?P<space>[0-9x]{1,80}) / (?P<key>[0-9a-f]{16})",
    re.ASCII,
)


@dataclass(frozen=True)
class TuningKey:
    """What an entry is about: a kernel by its hash, on a GPU."""

    arch: str
    device: str
    key: str


@dataclass(frozen=True)
class TuningEntry:
    """Measured blocks. us: microseconds of a launch. layers: those that the kernel was found in, for readers."""

    kind: str
    space: str
    blocks: Blocks
    us: float
    layers: str = ""


@dataclass(frozen=True)
class TuningTable:
    """Entries by place."""

    entries: Mapping[TuningKey, TuningEntry] = field(default_factory=dict)

    def find(self, key: str, arch: str, device: str = "") -> TuningEntry | None:
        """The entry of a kernel on a device; without one there, that of another device of the same architecture."""
        exact = self.entries.get(TuningKey(arch, plain(device), key))
        if exact is not None:
            return exact
        others = [place for place in self._by_key.get(key, ()) if place.arch == arch]
        return self.entries[min(others, key=lambda place: place.device)] if others else None

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
            f"{_quoted(_name(place, entry))}: {json.dumps(_content(entry), ensure_ascii=False)},"
            for place, entry in self.entries.items()
        )
        return "\n".join(["{", *lines, f'"version": {VERSION}', "}"]) + "\n"


@dataclass(frozen=True)
class Measured:
    """The table that is asked before the cost model. frozen: UserError for kernels that it lacks.

    trial: schedules by a kernel's hash, before the table: what a tuner tries. device: the GPU's name, where known.
    """

    table: TuningTable = field(default_factory=TuningTable)
    frozen: bool = False
    device: str = ""
    trial: Mapping[str, Blocks] = field(default_factory=dict)

    def find(self, key: str, arch: str) -> Blocks | None:
        """The schedule of a kernel, if there is one."""
        entry = self.table.find(key, arch, self.device)
        return self.trial.get(key) or (entry.blocks if entry is not None else None)


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
    name = NAME.fullmatch(title)
    if name is None:
        raise ValueError("has no name of the form `ARCH / DEVICE / KIND SHAPE / HASH`")
    if not isinstance(content, tuple):
        raise ValueError("is no object")
    given = dict(content)
    unknown = given.keys() - {*NUMBERS, "us", "layers"}
    missing = [key for key in (*NUMBERS, "us") if key not in given]
    if unknown or missing:
        raise ValueError(f"{'has an unknown' if unknown else 'lacks'} `{[*sorted(unknown), *missing][0][:40]}`")
    numbers = dict(_numbers(given))
    if numbers["rows"] * numbers["columns"] > MOST_ELEMENTS or numbers["rows"] * numbers["depth"] > MOST_ELEMENTS:
        raise ValueError(f"has a block of more than {MOST_ELEMENTS} elements")
    us, layers = given["us"], given.get("layers", "")
    if isinstance(us, bool) or not isinstance(us, int | float) or not 0 < us < math.inf:
        raise ValueError("has no time in `us`")
    if not isinstance(layers, str) or len(layers) > 200:
        raise ValueError("has no names in `layers`")
    return (
        TuningKey(name["arch"], name["device"], name["key"]),
        TuningEntry(name["kind"], name["space"], replace(Blocks(), **numbers), float(us), layers),  # type: ignore[arg-type]
    )


def _numbers(given: Mapping[str, Any]) -> Iterator[tuple[str, int]]:
    for key, most in NUMBERS.items():
        value = given[key]
        if type(value) is not int or not 1 <= value <= most:
            raise ValueError(f"has `{key}` not as a whole number from 1 to {most}")
        if key not in ("split", "stages") and value & (value - 1):
            raise ValueError(f"has `{key}` {value}, which is no power of two")
        yield key, value


def _name(place: TuningKey, entry: TuningEntry) -> str:
    return f"{place.arch} / {place.device} / {entry.kind} {entry.space} / {place.key}"


def _content(entry: TuningEntry) -> dict[str, Any]:
    numbers = {key: getattr(entry.blocks, key) for key in NUMBERS}
    return {**numbers, "us": round(entry.us, 3), "layers": entry.layers}


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def shape_text(space: Iterable[int]) -> str:
    """A shape as it stands in an entry's name."""
    return ("x".join(map(str, space)) or "1")[:80]
