"""Loop rerolling: successive uses of one block, each of what the one before gave, become a loop.

    x = x |> unit("3b", 128) |> unit("3c", 128) |> unit("3d", 128)

is `for c in ["b", "c", "d"] { x = unit(x, "3{c}", 128) }`. The uses differ in their names alone, for which there is one
template (`templates`). Their value has one name throughout: where the first of them alone reads what goes in, that has
it too; else the first stays before the loop.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from typing import Any, TypeVar

from ...grammar import tree
from ...grammar.source import Span
from ...grammar.unparse import expression
from . import writer
from .chains import reads
from .steps import nodes
from .templates import HOLE, Template, put, templates

# Fewer uses in a row stay as they are.
FEWEST = 3
NUMBER, LETTER = "i", "c"  # what loops count by, over numbers and over texts
VALUE = "x"  # what they compute

Item = TypeVar("Item", bound=tree.Node)


@dataclass(frozen=True)
class Use:
    """The use of a block on one value: of whose name, what it says beside that, and whether it is put into names."""

    target: str
    value: str
    name: str
    rest: tuple[str, ...]
    given: bool
    call: tree.Call


def looped(
    body: Sequence[tree.AnyStatement], blocks: Mapping[str, tree.BlockDef], *, outside: bool
) -> tuple[tree.AnyStatement, ...]:
    """A body with loops. outside: it is a net's, so a label in it is a whole name."""
    uses = [_use(item, blocks, outside) for item in body]
    times = reads(body)
    found: list[tree.AnyStatement] = []
    start = 0
    while start < len(body):
        end, template, holes = _run(uses, times, start)
        first = uses[start]
        if first is None or len(holes) < FEWEST:
            found.append(body[start])
            start += 1
            continue
        last = uses[end - 1]
        assert last is not None
        before = found[-1] if found else None
        plain = isinstance(before, tree.Bind) and [one.name for one in before.targets] == [first.value]
        if plain and times.get(start - 1) == 1 and isinstance(before, tree.Bind):
            found[-1] = replace(before, targets=(writer.name(last.target, before.span),))
        elif len(holes) > FEWEST:
            item = body[start]
            assert isinstance(item, tree.Bind)
            found.append(replace(item, targets=(writer.name(last.target, item.span),)))
            holes = holes[1:]
        else:
            found += body[start:end]
            start = end
            continue
        found.append(_loop(first, last.target, template, holes, _taken(body, blocks)))
        start = end
    return _renamed(found) if outside else tuple(found)


def _use(item: tree.AnyStatement, blocks: Mapping[str, tree.BlockDef], outside: bool) -> Use | None:
    """A statement as the use of a block; None where it is anything else."""
    call = item.value if isinstance(item, tree.Bind) and len(item.targets) == 1 and not item.directives else None
    if not isinstance(item, tree.Bind) or not isinstance(call, tree.Call) or call.callee.name not in blocks:
        return None
    tensors = [arg.value for arg in call.args if arg.name is None]
    if len(tensors) != 1 or not isinstance(tensors[0], tree.Name):
        return None
    named = {arg.name.name: arg.value for arg in call.args if arg.name is not None}
    given, label = named.pop(HOLE, None), call.label
    text = expression(given).strip('"') if given is not None else label.value if isinstance(label, tree.String) else ""
    whole = outside or given is not None or text.startswith("/")
    if not text or not whole or "{" in text:
        return None
    rest = (call.callee.name, *(f"{key}: {expression(value)}" for key, value in sorted(named.items())))
    return Use(item.targets[0].name, tensors[0].name, text.removeprefix("/"), rest, given is not None, call)


def _run(uses: Sequence[Use | None], times: Mapping[int, int], start: int) -> tuple[int, Template, list[str]]:
    """Where the uses end that go on from a place in one chain, with the template of their names and what is put in."""
    end, template, holes = start + 1, ("", ""), list[str]()
    first = uses[start]
    while first is not None and end < len(uses):
        one, before = uses[end], uses[end - 1]
        if one is None or before is None or one.rest != first.rest or one.given != first.given:
            break
        if one.value != before.target or times.get(end - 1) != 1:
            break
        names = [[use.name] for use in uses[start : end + 1] if use is not None]
        found = templates(names)
        if found is None or len(found.windows) < len(names):
            break
        end, template, holes = end + 1, found.names[0], [*found.windows.values()]
    return end, template, holes


def _loop(first: Use, value: str, template: Template, holes: list[str], taken: set[str]) -> tree.For:
    """The loop over what is put into the names."""
    place = first.call.span
    counted = all(hole.isdigit() and hole == str(int(hole)) for hole in holes)
    numbers = [int(hole) for hole in holes] if counted else []
    in_order = counted and numbers == [*range(numbers[0], numbers[0] + len(numbers))]
    word = NUMBER if in_order else LETTER
    while word in taken:
        word += "_"
    items: tree.Range | tree.Expr = tree.List(place, tuple(writer.text(hole, place) for hole in holes))
    if in_order:
        ends = [writer.constant(number, place) for number in (numbers[0], numbers[-1])]
        items = tree.Range(place, *ends)
    name = put(template, f"{{{word}}}")
    args = [
        replace(arg, value=_name(name, place))
        if arg.name is not None and arg.name.name == HOLE
        else replace(arg, value=writer.name(value, place))
        if arg.name is None
        else arg
        for arg in first.call.args
    ]
    label = None if first.given else writer.text(f"/{name}", place)
    call = replace(first.call, args=tuple(args), label=label)
    inner = writer.bind([writer.name(value, place)], call, place)
    return tree.For(place, (), writer.name(word, place), items, (inner,))


def _renamed(body: Sequence[tree.AnyStatement]) -> tuple[tree.AnyStatement, ...]:
    """A net's body with one name for what loops compute, if one is read last where the next one begins."""
    loops = [item.body[0] for item in body if isinstance(item, tree.For)]
    words = [one.targets[0].name for one in loops if isinstance(one, tree.Bind)]
    places: dict[str, list[int]] = {}
    binds: list[str] = []
    for number, item in enumerate(body):
        for part in nodes(item):
            if isinstance(part, tree.Name):
                places.setdefault(part.name, []).append(number)
            elif isinstance(part, tree.Bind):
                binds += [one.name for one in part.targets]
    roles = {item.name.name for item in body if isinstance(item, tree.Role | tree.Input)}
    apart = all(max(places[one]) <= min(places[other]) for one, other in pairwise(words))
    if VALUE in places or not apart or roles & {*words} or any(binds.count(word) != 2 for word in words):
        return tuple(body)
    return tuple(_with_names(item, dict.fromkeys(words, VALUE)) for item in body)


def _with_names(item: Item, words: Mapping[str, str]) -> Item:
    """A tree with other names of values."""
    changes: dict[str, Any] = {}
    for field in fields(item):
        value = getattr(item, field.name)
        if (isinstance(item, tree.Call) and field.name != "args") or (
            isinstance(item, tree.Arg) and field.name == "name"
        ):
            continue  # the name of a layer or of a setting
        if isinstance(value, tree.Node):
            changes[field.name] = _with_names(value, words)
        elif isinstance(value, tuple):
            changes[field.name] = tuple(_with_names(x, words) if isinstance(x, tree.Node) else x for x in value)
        elif isinstance(item, tree.Name) and field.name == "name":
            changes[field.name] = words.get(item.name, item.name)
    return replace(item, **changes)


def _name(text: str, place: Span) -> tree.Expr:
    """A text that is given to a block, as short as it can be."""
    alone = text[1:-1] if text.startswith("{") and text.endswith("}") else ""
    return writer.name(alone, place) if alone == LETTER else writer.text(text, place)


def _taken(body: Sequence[tree.AnyStatement], blocks: Mapping[str, tree.BlockDef]) -> set[str]:
    """The words that a loop must not count by."""
    found = {part.name for item in body for part in nodes(item) if isinstance(part, tree.Name)}
    return found | {formal.name.name for block in blocks.values() for formal in block.formals}
