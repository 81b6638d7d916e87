"""Blocks for what a net repeats, and their uses: the second half of the compression that `repeats` begins.

Numbers that differ between the uses are settings of the block, equal columns one setting; what most uses have is its
default. Values lose the name of the use; settings have the names that the layers know them by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise, takewhile

from ...grammar import tree
from ...grammar.actions import RESERVED
from ...grammar.unparse import expression
from ..layers import LAYERS
from ..schema.fillers import FILLERS
from . import writer
from .repeats import Bodies, Body, Names, Search, Step, Window, nodes, part_of, shared, usual

# The most blocks of a net, and the largest net that is looked at: what it takes grows with both.
ROUNDS, LARGEST = 40, 1000
# Words that open a statement begin no bind.
OPENING = {"input", "param", "loss", "metric", "output"}
# What a block calls the values that enter it.
ENTERING = ("x", "y")


@dataclass
class Repeats(Search):
    """The search for what a net repeats, and the blocks that it becomes."""

    def fold(self, body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
        """The body with blocks for what it repeats; those are in `blocks`."""
        bodies = {"": tuple(body)}
        if len(body) > LARGEST:
            return bodies[""]
        for _ in range(ROUNDS):
            steps = {name: self.steps(name, part) for name, part in bodies.items()}
            found = self.best(steps)
            if found is None:
                break
            self._apply(bodies, steps, *found)
        return bodies[""]

    def _apply(self, bodies: dict[str, Body], steps: Bodies, windows: list[Window], names: Names, width: int) -> None:
        """A block for windows of one kind, and its uses in their place."""
        uses = [part_of(steps, one, width) for one in windows]
        first = uses[0]
        title = self._title(first, [one for one in names.uses if one is not None])
        entering = dict(zip(windows[0].entering, ENTERING, strict=False))
        formals, settings, given = self._formals(uses, names)
        words = _words(first, names.uses[0], {*entering.values(), *(one.name.name for one in formals), title})
        values = {**{one: words[one[0]] for step in first for one in step.binds}, **entering}
        inner: list[tree.AnyStatement] = []
        for place, step in enumerate(first):
            rest = names.rests.get(place)
            label = writer.text(rest, self.place) if rest is not None else None
            free = {key: writer.name(word, self.place) for (at, key), word in settings.items() if at == place}
            args = [writer.arg("", writer.name(values[one], self.place), self.place) for one in step.reads]
            named = [(arg.name.name, arg.value) for arg in step.call.args if arg.name is not None]
            args += [writer.arg(key, free.pop(key, value), self.place) for key, value in named]
            args += [writer.arg(key, value, self.place) for key, value in free.items()]
            targets = [writer.name(values[one], self.place) for one in step.binds]
            inner.append(writer.bind(targets, replace(step.call, args=tuple(args), label=label), self.place))
        result = writer.name(values[first[-1].binds[0]], self.place)
        inner.append(tree.Return(self.place, (), (result,)))
        heads = [tree.Formal(self.place, writer.name(one, self.place), None) for one in entering.values()]
        if any(step.callee in self.branching for step in first) or any(
            step.reads != before.binds for before, step in pairwise(first)
        ):
            self.branching.add(title)
        if any(self.is_learned(step.callee) for step in first):
            self.learned.add(title)
        block = tree.BlockDef(self.place, writer.name(title, self.place), (*heads, *formals), tuple(inner))
        called = {step.callee for step in first}
        before = _closure(self.blocks, called)
        after = {key: one for key, one in self.blocks.items() if key not in before}
        self.blocks = {**{key: self.blocks[key] for key in before}, title: block, **after}
        bodies[title] = block.body
        for number, window in reversed([*enumerate(windows)]):
            args = [writer.arg("", writer.name(one[0], self.place), self.place) for one in window.entering]
            args += [writer.arg(key, value, self.place) for key, value in given[number].items()]
            last = uses[number][-1].statement
            call = writer.call(title, args, last.span, names.uses[number] or "")
            body = bodies[window.body]
            bodies[window.body] = (
                *body[: window.start],
                replace(last, value=call),
                *body[window.start + width :],
            )
        for key, body in bodies.items():
            if key:
                self.blocks[key] = replace(self.blocks[key], body=body)

    def _formals(
        self, uses: list[tuple[Step, ...]], names: Names
    ) -> tuple[list[tree.Formal], dict[tuple[int, str], str], list[dict[str, tree.Expr]]]:
        """The block's settings, their words by place and setting, and what each use gives beside defaults."""
        columns = self.columns(uses)
        different: dict[tuple[str, ...], list[tuple[int, str, tuple[tree.Expr, ...]]]] = {}
        for one in columns:
            different.setdefault(tuple(map(expression, one[2])), []).append(one)
        heads = [(texts, *same[0]) for texts, same in different.items()]
        often = Counter(setting for _, _, setting, _ in heads)
        words: dict[tuple[str, ...], str] = {}
        for texts, place, setting, _ in heads:
            rest = names.rests.get(place)
            word = setting if often[setting] == 1 or rest is None else f"{setting}_{_word(rest)}"
            words[texts] = _free(word, {*words.values(), *ENTERING})
        found, given = [], [dict[str, tree.Expr]() for _ in uses]
        for texts, _, setting, column in heads:
            most, times = usual(texts)
            value = column[texts.index(most)]
            common = 2 * times > len(texts) and setting != "out" and not isinstance(value, tree.Name)
            default = value if common else None
            found.append(tree.Formal(self.place, writer.name(words[texts], self.place), default))
            for number, use in zip(column, given, strict=True):
                if default is None or expression(number) != most:
                    use[words[texts]] = number
        places = {(place, setting): words[texts] for texts, same in different.items() for place, setting, _ in same}
        return sorted(found, key=lambda one: one.default is not None), places, given

    def _title(self, steps: tuple[Step, ...], uses: list[str]) -> str:
        """The block's name: the word that the names of its uses begin with, or what it calls."""
        word = (
            "".join(takewhile(lambda one: one.isalpha() or one == "_", uses[0][: shared(uses)])).strip("_")
            if len(steps) > 3 and uses
            else ""
        )
        callees = list(dict.fromkeys(step.callee for step in steps))
        if len(word) < 3:
            word = "_".join(callees) if len(callees) <= 3 else f"{callees[0]}_to_{callees[-1]}"
        elif word in LAYERS:
            word = f"{word}_block"
        title = _free(word, self.taken)
        self.taken.add(title)
        return title


def _free(word: str, taken: set[str]) -> str:
    """The word, or with a number, so that it is no other."""
    free, number = word, 1
    while free in taken or free in RESERVED or free in OPENING or free in FILLERS:
        number += 1
        free = f"{word}_{number}"
    return free


def _word(text: str) -> str:
    return re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_")


def _words(steps: tuple[Step, ...], use: str | None, taken: set[str]) -> dict[str, str]:
    """What a block calls its values, by their names before: without the use's name, or by letters."""
    found: dict[str, str] = {}
    letters = iter("abcdefghijklmnopqrstuvw")
    for step in steps:
        for name, _ in step.binds:
            if name in found:
                continue
            head = f"{_word(use)}_" if use else ""
            word = name.removeprefix(head) if head else ""
            if not word or word == name:
                word = next(letters, "value")
            elif not word[0].isalpha():
                word = f"{step.callee}_{word}"
            found[name] = _free(word, {*taken, *found.values()})
    return found


def _closure(blocks: Mapping[str, tree.BlockDef], called: set[str]) -> list[str]:
    """Of blocks in order those that the called ones need."""
    needed = {one for one in called if one in blocks}
    waiting = list(needed)
    while waiting:
        for part in nodes(blocks[waiting.pop()]):
            if isinstance(part, tree.Call) and part.callee.name in blocks and part.callee.name not in needed:
                needed.add(part.callee.name)
                waiting.append(part.callee.name)
    return [one for one in blocks if one in needed]
