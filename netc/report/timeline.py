"""Memory timeline: which layers' values lie in the arena at each launch of a step, as text, as a picture, as JSON.

Lives are those of the memory plan: a value is there from the launch that writes it to the last that reads it. Scratch
of kernels and the gaps between blocks make the arena larger than what lies in it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from .tables import Table, size, width

if TYPE_CHECKING:
    from ..driver import Compilation

ROWS, BAR = 40, 40  # lines of the text, characters of a bar where there is room
BESIDE = 45  # columns of what stands before a bar
OWNERS = 12  # with a colour of their own
COLOURS = ("#4e79a7", "#f28e2b", "#59a14f", "#e15759", "#76b7b2", "#edc948", "#b07aa1", "#ff9da7", "#9c755f", "#86bcb6",
           "#d37295", "#a0cbe8", "#bab0ac")  # fmt: skip
WIDTH, HEIGHT, LEFT, TOP, LINE = 900, 320, 70, 40, 16


@dataclass(frozen=True)
class Moment:
    """A launch: what it computes, and the bytes that each layer has in the arena meanwhile."""

    kind: str
    layers: tuple[str, ...]
    held: Mapping[str, int]

    @property
    def bytes(self) -> int:
        return sum(self.held.values())


@dataclass(frozen=True)
class Timeline:
    """The moments of a step in order. arena: the bytes of the arena."""

    net: str
    arena: int
    moments: tuple[Moment, ...]

    @property
    def peak(self) -> int:
        """The number of the launch at which most is held; the first of several."""
        return max(range(len(self.moments)), key=lambda i: self.moments[i].bytes)

    @property
    def owners(self) -> list[str]:
        """The layers that hold something, those with most at a time first."""
        most: dict[str, int] = {}
        for moment in self.moments:
            for owner, held in moment.held.items():
                most[owner] = max(most.get(owner, 0), held)
        return sorted(most, key=lambda owner: (-most[owner], owner))

    def as_dict(self) -> dict[str, Any]:
        """The form of `netc profile --json`."""
        return {
            "arena_bytes": self.arena,
            "peak": self.peak if self.moments else None,
            "launches": [
                {"kind": m.kind, "layers": list(m.layers), "bytes": m.bytes, "owners": dict(m.held)}
                for m in self.moments
            ],
        }

    def table(self) -> Table:
        """The launches with a bar each; of many the fullest of some that follow each other."""
        each = max(1, -(-len(self.moments) // ROWS))
        top = max((m.bytes for m in self.moments), default=0)
        rows, long = [], max(10, min(BAR, width() - BESIDE))
        for first in range(0, len(self.moments), each):
            i = max(range(first, min(first + each, len(self.moments))), key=lambda k: self.moments[k].bytes)
            m = self.moments[i]
            bar = "█" * round(long * m.bytes / max(1, top))
            rows.append([f"{i}", f"{m.kind} of {_few(m.layers)}", size(m.bytes), bar])
        return Table(f"values in the arena of {size(self.arena)}", [">launch", "kernel", ">held", ""], rows)

    def owners_table(self) -> Table:
        """What is held when most is."""
        held = self.moments[self.peak].held if self.moments else {}
        ranked = sorted(held.items(), key=lambda pair: (-pair[1], pair[0]))
        rows = [[owner, size(count), f"{100 * count / max(1, sum(held.values())):.0f} %"] for owner, count in ranked]
        return Table(f"at launch {self.peak if self.moments else 0}, the fullest", ["layer", ">held", ">"], rows)

    def svg(self) -> str:
        """The picture: launches from left to right, the bytes of the largest owners stacked, all others on top."""
        named, top = self.owners[:OWNERS], max((m.bytes for m in self.moments), default=0) or 1
        wide = WIDTH / max(1, len(self.moments))
        height = TOP + HEIGHT + 30 + LINE * (len(named) + 1)
        title = f"{self.net}: memory at each launch, at most {size(top)} of values in {size(self.arena)}"
        lines = [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + WIDTH + 20}" height="{height}" '
            f'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11">',
            f"<title>{escape(title)}</title>",
            '<rect width="100%" height="100%" fill="#fff"/>',
            f'<text x="{LEFT}" y="20" font-weight="bold">{escape(title)}</text>',
            f'<text x="{LEFT - 6}" y="{TOP + 4}" text-anchor="end">{size(top)}</text>',
            f'<path d="M{LEFT},{TOP} V{TOP + HEIGHT} H{LEFT + WIDTH}" fill="none" stroke="#556"/>',
        ]
        for i, moment in enumerate(self.moments):
            y = float(TOP + HEIGHT)
            rest = sum(held for owner, held in moment.held.items() if owner not in named)
            parts = [(owner, moment.held.get(owner, 0)) for owner in named]
            for colour, (owner, held) in zip(COLOURS, [*parts, ("all others", rest)], strict=False):
                tall = HEIGHT * held / top
                y -= tall
                if held:
                    said = escape(f"launch {i}, {moment.kind} of {_few(moment.layers)}: {owner} {size(held)}")
                    lines.append(
                        f'<rect x="{LEFT + i * wide:.1f}" y="{y:.1f}" width="{max(wide, 0.5):.2f}" '
                        f'height="{tall:.2f}" fill="{colour}"><title>{said}</title></rect>'
                    )
        for k, owner in enumerate([*named, "all others"]):
            y = TOP + HEIGHT + 24 + k * LINE
            lines.append(f'<rect x="{LEFT}" y="{y - 9:.0f}" width="10" height="10" fill="{COLOURS[k]}"/>')
            lines.append(f'<text x="{LEFT + 16}" y="{y:.0f}">{escape(owner)}</text>')
        return "\n".join([*lines, "</svg>", ""])


def timeline(made: Compilation) -> Timeline:
    """The timeline of a program of one part; UserError where Python stands between several."""
    from ..compiler.codegen.names import origins
    from ..compiler.plan import parts_of
    from ..passes.lowering.memory import size_of

    placed = made.lowering[-1].after.plan
    assert placed is not None
    held: list[dict[str, int]] = [{} for _ in placed.kernels]
    for value, (first, last) in placed.lives.items():
        owner = (made.whose((value.scope,) if value.scope else (), ())[0] or ("(no layer)",))[0]
        count = int(value.type.count)
        for start, stop, since in parts_of(placed.begins.get(value, ((0, first),)), count):
            share = int(size_of(value)) * (stop - start) // max(1, count)
            for there in held[max(since, first) : last + 1]:
                there[owner] = there.get(owner, 0) + share
    moments = []
    for kernel, there in zip(placed.kernels, held, strict=True):
        layers = made.whose(origins(kernel.attrs["body"])[0], ())[0]
        moments.append(Moment(kernel.attrs["kind"], layers, there))
    return Timeline(made.net.name, made.program.arena_bytes, tuple(moments))


def _few(names: tuple[str, ...], most: int = 2) -> str:
    return ", ".join(names[:most]) + (f" +{len(names) - most}" if len(names) > most else "") or "no layer"
