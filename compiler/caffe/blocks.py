"""Blocks for what a net repeats, and their uses: the second half of the compression that `repeats` begins.

Numbers that differ between the uses are settings of the block, equal columns one setting; what most uses have is its
default. Values lose the name of the use; settings have the names that the layers know them by.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import takewhile

from ...grammar import tree
from ...grammar.actions import RESERVED
from ...grammar.unparse import expression
from ..layers import LAYERS
from ..schema.fillers import FILLERS
from . import writer
from .repeats import Names, Search, shared, usual
from .steps import Bodies, Body, Step, Value, Window, is_chain, is_fixed, nodes, part_of
from .templates import HOLE, put

# The most blocks of a net, and the largest net that is looked at: what it takes grows with both.
ROUNDS, LARGEST = 40, 1000
# Words that open a statement begin no bind.
OPENING = {"input", "param", "loss", "metric", "output"}
# What a block calls the values that enter it.
ENTERING = ("x", "y")

Column = tuple[int, str, tuple[tree.Expr, ...]]  # a place in the block, a setting there, and its value in each use


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
        title = self._title(first, windows[0].entering, names)
        entering = dict(zip(windows[0].entering, ENTERING, strict=False))
        formals, settings, given = self._formals(uses, names)
        hole = [tree.Formal(self.place, writer.name(HOLE, self.place), None)] if names.templates else []
        formals = [*hole, *formals]
        words = _words(first, names.uses[0], {*entering.values(), *(one.name.name for one in formals), title})
        values = {**{one: words[one[0]] for step in first for one in step.binds}, **entering}
        inner: list[tree.AnyStatement] = []
        for place, step in enumerate(first):
            rest, template = names.rests.get(place), names.templates.get(place)
            label = writer.text(rest, self.place) if rest is not None else None
            if template is not None:
                label = None if step.given else writer.text("/" + put(template, f"{{{HOLE}}}"), self.place)
            free = {key: value for (at, key), value in settings.items() if at == place}
            args = [writer.arg("", writer.name(values[one], self.place), self.place) for one in step.reads]
            if template is not None and step.given:
                free[HOLE] = self._put(put(template, f"{{{HOLE}}}"))
            named = [(arg.name.name, arg.value) for arg in step.call.args if arg.name is not None]
            args += [writer.arg(key, free.pop(key, value), self.place) for key, value in named]
            args += [writer.arg(key, value, self.place) for key, value in free.items()]
            targets = [writer.name(values[one], self.place) for one in step.binds]
            inner.append(writer.bind(targets, replace(step.call, args=tuple(args), label=label), self.place))
        result = writer.name(values[first[-1].binds[0]], self.place)
        inner.append(tree.Return(self.place, (), (result,)))
        heads = [tree.Formal(self.place, writer.name(one, self.place), None) for one in entering.values()]
        if any(step.callee in self.branching for step in first) or not is_chain(first):
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
            use = names.uses[number] or ""
            if names.templates:
                args.append(writer.arg(HOLE, self._put(use), self.place))
            args += [writer.arg(key, value, self.place) for key, value in given[number].items()]
            last = uses[number][-1].statement
            call = writer.call(title, args, last.span, "" if names.templates else use)
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
    ) -> tuple[list[tree.Formal], dict[tuple[int, str], tree.Expr], list[dict[str, tree.Expr]]]:
        """The block's settings, what stands for them by place and setting, and what each use gives beside defaults."""
        columns = self.columns(uses)
        different: dict[tuple[str, ...], list[Column]] = {}
        for one in columns:
            different.setdefault(tuple(map(expression, one[2])), []).append(one)
        multiples = _multiples({texts: same[0] for texts, same in different.items()})
        heads = [(texts, *same[0]) for texts, same in different.items() if texts not in multiples]
        often = Counter(setting for _, _, setting, _ in heads)
        words: dict[tuple[str, ...], str] = {}
        for texts, place, setting, _ in heads:
            rest = names.rests.get(place)
            word = setting if often[setting] == 1 or rest is None else f"{setting}_{_word(rest)}"
            words[texts] = _free(word, {*words.values(), *ENTERING})
        found, given = [], [dict[str, tree.Expr]() for _ in uses]
        for texts, place, setting, column in heads:
            most, times = usual(texts)
            default = column[texts.index(most)] if 2 * times > len(texts) else None
            if default is None or not is_fixed(default):
                default = self._default(uses[0][place].callee, setting)  # such as a stride of 1
                most = expression(default) if default is not None else ""
            if setting == "out" or most not in texts:
                default = None
            found.append(tree.Formal(self.place, writer.name(words[texts], self.place), default))
            for number, use in zip(column, given, strict=True):
                if default is None or expression(number) != most:
                    use[words[texts]] = number
        values: dict[tuple[str, ...], tree.Expr] = {key: writer.name(word, self.place) for key, word in words.items()}
        for texts, (factor, other) in multiples.items():
            number = writer.constant(factor, self.place)
            values[texts] = tree.Binary(self.place, "*", number, values[other], self.place)
        places = {(place, setting): values[texts] for texts, same in different.items() for place, setting, _ in same}
        return sorted(found, key=_rank), places, given

    def _put(self, text: str) -> tree.Expr:
        """What is put into the names of a block; that of the block around as it is."""
        return writer.name(HOLE, self.place) if text == f"{{{HOLE}}}" else writer.text(text, self.place)

    def _title(self, steps: tuple[Step, ...], entering: Sequence[Value], names: Names) -> str:
        """The block's name: the word that the names of its uses begin with or all its layers have, or what it calls."""
        uses = [one for one in names.uses if one is not None]
        word = (
            "".join(takewhile(lambda one: one.isalpha() or one == "_", uses[0][: shared(uses)])).strip("_")
            if len(steps) > 3 and uses
            else ""
        )
        sums = [step for step in steps if step.callee == "eltwise"]
        callees = list(dict.fromkeys(step.callee for step in steps))
        if len(word) < 3 and names.templates and sums:
            word = "residual" if set(sums[-1].reads) & set(entering) else "projected"
        elif len(word) < 3 and len(names.templates) > 1:
            parts = [set(re.findall("[a-z]+", put(one, "."))) for one in names.templates.values()]
            word = max(sorted(set.intersection(*parts)), key=len, default="")
        if len(word) < 3:
            word = "_".join(callees) if len(callees) <= 3 else f"{callees[0]}_to_{steps[-1].callee}"
        elif word in LAYERS:
            word = f"{word}_block"
        title = _free(word, self.taken)
        self.taken.add(title)
        return title


def _rank(formal: tree.Formal) -> tuple[bool, bool]:
    """What a use must give comes first, widths before all."""
    return formal.default is not None, formal.default is None and not formal.name.name.startswith("out")


def _multiples(columns: Mapping[tuple[str, ...], Column]) -> dict[tuple[str, ...], tuple[int, tuple[str, ...]]]:
    """Widths that are so many times another width in all uses, of which there are enough to be no chance."""
    widths = {
        texts: [part for part in map(_factor, column) if part is not None]
        for texts, (_, setting, column) in columns.items()
        if setting in ("out", "group")
    }
    found: dict[tuple[str, ...], tuple[int, tuple[str, ...]]] = {}
    for texts, values in sorted(widths.items(), key=lambda one: [factor for factor, _ in one[1]]):
        for other, parts in widths.items():
            if len(values) != len(texts) or len(parts) != len(texts) or other in found:
                continue
            factor = values[0][0] // parts[0][0]
            enough = len(texts) >= 3 or any(word for _, word in parts)
            if factor > 1 and enough and values == [(factor * part, word) for part, word in parts]:
                found[texts] = factor, other
                break
    return found


def _factor(value: tree.Expr) -> tuple[int, str] | None:
    """A width as a number of times a setting of the block around, or of 1."""
    match value:
        case tree.Number(value=int(number)) if number > 0:
            return number, ""
        case tree.Name(name=word):
            return 1, word
        case tree.Binary(sign="*", left=tree.Number(value=int(number)), right=tree.Name(name=word)):
            return number, word
    return None


def _free(word: str, taken: set[str]) -> str:
    """The word, or with a number, so that it is no other."""
    free, number = word, 1
    while free in taken or free in RESERVED or free in OPENING or free in FILLERS:
        number += 1
        free = f"{word}_{number}"
    return free


def _word(text: str) -> str:
    return re.sub(r"[\W_]+", "_", text, flags=re.ASCII).strip("_")


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
