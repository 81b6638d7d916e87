"""Grammar-based compression (as Re-Pair does it) of a net's statements: structure that is repeated becomes blocks.

A window of successive calls can be a block where at most two values enter it, and one leaves it, its last. Windows of
one kind have equal callees and settings, but for numbers, and equal wiring. Numbers that differ become settings of the
block. Layers keep their names: all those of a window begin with one text up to a `/` or `.`, which names the use, or
one layer alone has a name, and the use has it, or one text in all names is what the use gives (`templates`). The window
that saves most text is taken, and all is looked at again.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

from ...grammar import tree
from ...grammar.source import Span
from ...grammar.unparse import expression
from ..layers import LAYERS
from . import writer
from .steps import (
    Bodies,
    Step,
    Value,
    Window,
    apart_of,
    bound,
    is_chain,
    is_fixed,
    is_number,
    last_reads,
    nodes,
    part_of,
    roots_of,
)
from .templates import HOLE, Template, templates

# The longest window in calls.
WIDTH = 60
# What a setting, a block and templates of names in it cost beside a call, in text.
SETTING = 0.35
TEMPLATE = 4
BLOCK = 4
# Fewer calls with fewer settings are as short as the use of a block.
SHORT = 3
TENSORS = ("by", "static", "h0", "c0")


@dataclass(frozen=True)
class Names:
    """The name of each use, and what a block calls its layers, by their place; None: the use's name is theirs.

    templates: of each name, where the block is given what stands in its hole, which is then the name of the use.
    """

    uses: list[str | None]
    rests: dict[int, str | None]
    templates: dict[int, Template] = field(default_factory=dict)


@dataclass
class Search:
    """The search for what a net repeats.

    taken: names that no block may have. blocks: by name, those that others use first. branching: blocks that are no
    chains. unnamed: two names of layers that no block can give.
    """

    taken: set[str]
    place: Span
    blocks: dict[str, tree.BlockDef] = field(default_factory=dict)
    learned: set[str] = field(default_factory=set)
    branching: set[str] = field(default_factory=set)
    unnamed: tuple[str, str] | None = None

    def steps(self, name: str, body: Sequence[tree.AnyStatement]) -> list[Step | tree.AnyStatement]:
        """The statements, those of one call as steps, in static single assignment."""
        settings = {one.name.name for one in self.blocks[name].formals} if name else set()
        counts: Counter[str] = Counter()
        found: list[Step | tree.AnyStatement] = []
        for item in body:
            step = self._step(item, counts, settings)
            found.append(item if step is None else step)
            for target in bound(item):
                counts[target] += 1
        return found

    def _step(self, item: tree.AnyStatement, counts: Counter[str], settings: set[str]) -> Step | None:
        call = item.value if isinstance(item, tree.Bind) else None
        if not isinstance(item, tree.Bind) or item.directives or not isinstance(call, tree.Call):
            return None
        if call.callee.name not in LAYERS and call.callee.name not in self.blocks:
            return None
        reads, numbers, others = [], {}, []
        given = None
        for arg in call.args:
            if arg.name is None:
                if not isinstance(arg.value, tree.Name):
                    return None
                reads.append((arg.value.name, counts[arg.value.name]))
            elif arg.name.name == HOLE and call.callee.name in self.blocks:
                given = arg.value.value if isinstance(arg.value, tree.String) else f"{{{HOLE}}}"
            elif arg.name.name in TENSORS or any(isinstance(one, tree.Path | tree.String) for one in nodes(arg.value)):
                return None
            elif is_number(arg.value, settings):
                numbers[arg.name.name] = arg.value
            else:
                others.append((arg.name.name, expression(arg.value)))
        label = None if call.label is None else getattr(call.label, "value", None) or getattr(call.label, "name", None)
        whole = given is not None or (label is not None and label.startswith("/"))
        label = given if given is not None else label
        needed = sorted(one for one in numbers if self._default(call.callee.name, one) is None)
        kind = (call.callee.name, *sorted(others), *needed, len(item.targets), label is None)
        binds = tuple((one.name, counts[one.name] + 1) for one in item.targets)
        return Step(call.callee.name, tuple(reads), binds, numbers, kind, label, whole, given is not None, item, call)

    def _default(self, callee: str, setting: str) -> tree.Expr | None:
        """The number that holds where a setting is not given; None where there is none."""
        if callee in self.blocks:
            return next((one.default for one in self.blocks[callee].formals if one.name.name == setting), None)
        found = LAYERS[callee].signature.parameters.get(setting)
        default = found.default if found is not None else None
        if isinstance(default, bool) or not isinstance(default, int | float):
            return None
        return writer.constant(default, self.place)

    def _value(self, step: Step, setting: str) -> tree.Expr:
        value = step.numbers.get(setting) or self._default(step.callee, setting)
        assert value is not None  # else it would be of the kind of all
        return value

    def best(self, bodies: Bodies) -> tuple[list[Window], Names, int] | None:
        """The windows of one kind, apart from each other, that save most text as a block; their names, and length."""
        found: defaultdict[tuple[int, ...], list[Window]] = defaultdict(list)
        kinds: dict[object, int] = {}
        for name, body in bodies.items():
            for key, window in self._windows(name, body, kinds):
                found[key].append(window)
        best, most = None, 0.0
        self.unnamed = None
        for key, windows in found.items():
            width, apart = key[0], apart_of(windows, key[0])
            if len(apart) < 2 or 2 * sum(one.cut for one in apart) > len(apart):
                continue
            uses = [part_of(bodies, one, width) for one in apart]
            gain = self._gain(uses)
            blocks = any(step.callee in self.blocks for step in uses[0])
            if gain <= 0 or gain < most or (blocks and width < 3 and is_chain(uses[0])):
                continue
            names = self._names(uses, _other_labels(bodies, apart, width))
            if names is None:
                found_names = self._templates(uses, [not one.body for one in apart])
                if found_names is not None:
                    names, kept = found_names
                    apart = [apart[number] for number in kept]
                    gain = self._gain([uses[number] for number in kept]) - TEMPLATE - SETTING * len(kept)
                    if gain <= 0 or gain < most:
                        continue
            if names is None and (blocks or sum(not one.body for one in apart) < 2):
                continue
            if names is None:
                labels = [next(step.label for step in use if step.label is not None) for use in uses[:2]]
                self.unnamed = self.unnamed or (labels[0], labels[1])
            else:
                best, most = (apart, names, width), gain
        return best

    def _windows(
        self, name: str, body: Sequence[Step | tree.AnyStatement], kinds: dict[object, int]
    ) -> Iterator[tuple[tuple[int, ...], Window]]:
        """All windows that can be blocks, each with its kind."""
        last, roots = last_reads(body), roots_of(body)
        every: dict[tuple[int, int], tuple[tuple[int, ...], Window, bool]] = {}
        for start in range(len(body)):
            entering: dict[Value, int] = {}
            inside: dict[Value, tuple[int, int]] = {}
            parts: list[int] = []
            # The last reads of what was bound before the last call, and before the last but one.
            until, earlier, branching = -1, -1, False
            forks, fork = 0, False  # how many are closed again, and whether one is open
            for width, step in enumerate(body[start : start + WIDTH], 1):
                if not isinstance(step, Step):
                    break
                refs = [inside.get(one) or (-1, entering.setdefault(one, len(entering))) for one in step.reads]
                if len(entering) > 2:
                    break
                chained = width == 1 or refs == [(width - 2, 0)]
                if chained and max([earlier, *(last.get(one, -1) for one in entering)]) < start + width - 1:
                    forks, fork = forks + fork, False
                fork |= step.callee in self.branching or not chained
                branching |= fork
                parts.append(kinds.setdefault((step.kind, tuple(refs)), len(kinds)))
                end = start + width
                whole = bool(name) and width == len(body) - 1
                several = forks + fork > 1  # one after the other: rather two blocks
                cut = len(entering) == 2 and len({roots.get(one, one) for one in entering}) == 1
                leaves = until < end and len(step.binds) == 1 and last.get(step.binds[0], -1) >= end
                if leaves and not whole and not several:
                    every[start, width] = (width, *parts), Window(name, start, tuple(entering), cut), branching
                inside |= {value: (width - 1, place) for place, value in enumerate(step.binds)}
                earlier, until = until, max([until, *(last.get(value, -1) for value in step.binds)])
        ends = _twice(every, len(body))
        for (start, width), (key, window, _) in every.items():
            periodic = any(key[1:] == key[1 : 1 + one] * (width // one) for one in _divisors(width))
            if width > 1 and ends[start] > start + width and not periodic:
                yield key, window

    def _gain(self, uses: list[tuple[Step, ...]]) -> float:
        """The text that a block saves, in calls."""
        settings = [sum(arg.name is not None for step in use for arg in step.call.args) for use in uses]
        if len(uses[0]) < SHORT and max(settings) < SHORT:
            return 0.0
        sizes = [sum(1 + SETTING * len(step.call.args) for step in use) for use in uses]
        columns = {tuple(map(expression, column)) for _, _, column in self.columns(uses)}
        given = sum(len(one) - (usual(one)[1] if 2 * usual(one)[1] > len(one) else 0) for one in columns)
        return sum(sizes) - max(sizes) - len(uses) - SETTING * (given + len(columns)) - BLOCK

    def columns(self, uses: list[tuple[Step, ...]]) -> list[tuple[int, str, tuple[tree.Expr, ...]]]:
        """The numbers that are settings of the block: place, setting, and the value in each use."""
        found = []
        for place, steps in enumerate(zip(*uses, strict=True)):
            for setting in dict.fromkeys(one for step in steps for one in step.numbers):
                column = tuple(self._value(step, setting) for step in steps)
                if len(set(map(expression, column))) > 1 or not all(map(is_fixed, column)):
                    found.append((place, setting, column))
        return found

    def _names(self, uses: list[tuple[Step, ...]], others: set[str]) -> Names | None:
        """Names of uses and of what is in the block, so that all layers keep theirs; None if there are none."""
        places = [place for place, step in enumerate(uses[0]) if step.label is not None]
        if not places:
            return Names([None] * len(uses), {})
        labels = [[use[place].label or "" for place in places] for use in uses]
        if any(step.given or (step.whole and len(places) > 1) for use in uses for step in use):
            return None
        if len(places) == 1:
            # One name is for one layer and what follows it.
            first, *more = uses[0]
            inside = {value for step in uses[0] for value in step.binds}
            after = places == [0] and len(set(first.reads)) == 1 and all(inside.issuperset(step.reads) for step in more)
            return Names([one[0] for one in labels], {0: None}) if after and self.is_learned(first.callee) else None
        names, rests = [], []
        for one in labels:
            parts = [re.split(r"[/.]", label) for label in one]
            common = shared(part[:-1] for part in parts)
            if not common:
                return None
            size = len("/".join(parts[0][:common]))
            names.append(one[0][:size])
            rests.append([label[size + 1 :] for label in one])
        if any(one != rests[0] for one in rests) or any(one.replace("/", ".") in others for one in names):
            return None
        return Names([*names], dict(zip(places, rests[0], strict=True)))

    def _templates(self, uses: list[tuple[Step, ...]], outside: list[bool]) -> tuple[Names, list[int]] | None:
        """Names by what a use puts into templates, and the uses that have them; None if there are not two.

        outside: a use is in no block. In one, only names that are whole are known.
        """
        places = [place for place, step in enumerate(uses[0]) if step.label is not None]
        fit = [
            number for number, use in enumerate(uses) if outside[number] or all(use[place].whole for place in places)
        ]
        if not places or len(fit) < 2:
            return None
        labels = [[(uses[number][place].label or "").removeprefix("/") for place in places] for number in fit]
        found = templates(labels)
        if found is None:
            return None
        by_place = dict(zip(places, found.names, strict=True))
        rests: dict[int, str | None] = {
            place: after if re.search("[A-Za-z]", after) else before for place, (before, after) in by_place.items()
        }
        return Names([*found.windows.values()], rests, by_place), [fit[number] for number in found.windows]

    def is_learned(self, callee: str) -> bool:
        """Whether a call of that name has parameters."""
        return callee in self.learned or (callee in LAYERS and bool(LAYERS[callee].params))


def shared(texts: Iterable[Sequence[str]]) -> int:
    """How long a beginning all have."""
    return len([*takewhile(lambda column: len(set(column)) == 1, zip(*texts, strict=False))])


def _twice(every: Mapping[tuple[int, int], tuple[tuple[int, ...], Window, bool]], size: int) -> list[float]:
    """From each place on, the first end of two branching windows of one kind in a row: no block goes over it."""
    ends: list[float] = [float("inf")] * (size + 1)
    for (start, width), (key, _, branching) in every.items():
        following = every.get((start + width, width))
        if branching and following is not None and following[0] == key:
            ends[start] = min(ends[start], start + 2 * width)
    for start in reversed(range(size)):
        ends[start] = min(ends[start], ends[start + 1])
    return ends


def _divisors(number: int) -> list[int]:
    return [one for one in range(1, number // 2 + 1) if number % one == 0]


def _other_labels(bodies: Bodies, windows: list[Window], width: int) -> set[str]:
    """Labels beside the windows in the bodies where these are: a use has none of them."""
    found = set()
    for name in {one.body for one in windows}:
        inside = {one.start + at for one in windows if one.body == name for at in range(width)}
        for number, step in enumerate(bodies[name]):
            if isinstance(step, Step) and step.label is not None and number not in inside:
                found.add(step.label.replace("/", "."))
    return found


def usual(texts: tuple[str, ...]) -> tuple[str, int]:
    return Counter(texts).most_common(1)[0]
