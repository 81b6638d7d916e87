"""Forward substitution on the syntax tree: a value that one statement alone reads goes into that, as a pipe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ...grammar import tree


def flat(body: Sequence[tree.AnyStatement]) -> Iterator[tree.AnyStatement]:
    """All statements, those of choices and loops in their place."""
    for item in body:
        if isinstance(item, tree.For):
            yield from flat(item.body)
        elif isinstance(item, tree.If):
            for part in [*(arm.body for arm in item.arms), item.otherwise or ()]:
                yield from flat(part)
        else:
            yield item


def reads(body: Sequence[tree.AnyStatement]) -> Counter[int]:
    """How often the value that each statement of a body binds is read."""
    bound: dict[str, int] = {}
    found: Counter[int] = Counter()

    def read(part: tree.Node, times: int) -> None:
        waiting = [part]
        while waiting:
            one = waiting.pop()
            if isinstance(one, tree.Name) and one.name in bound:
                found[bound[one.name]] += times
            waiting += tree.children(one)

    for number, item in enumerate(body):
        if isinstance(item, tree.If | tree.For):
            for one in flat([item]):
                read(one, 2)
            continue
        if isinstance(item, tree.Bind | tree.Role):
            read(item.value, 1)
            for target in item.targets if isinstance(item, tree.Bind) else (item.name,):
                bound[target.name] = number
    return found


def joined(found: list[tree.AnyStatement], item: tree.AnyStatement) -> tree.AnyStatement:
    """A statement with the one before it, taken off `found`, in the place of its first operand; else itself."""
    before = found[-1]
    if not isinstance(item, tree.Bind | tree.Role) or not isinstance(before, tree.Bind) or len(before.targets) != 1:
        return item
    name, value = before.targets[0].name, item.value
    if isinstance(value, tree.Name) and value.name == name:
        found.pop()
        return replace(item, value=before.value)
    if not isinstance(value, tree.Call) or not isinstance(before.value, tree.Call | tree.Pipe):
        return item
    first = value.args[0] if value.args else None
    alone = [arg for arg in value.args if arg.name is None and isinstance(arg.value, tree.Name | tree.Call)]
    if first is None or first.name is not None or not isinstance(first.value, tree.Name) or first.value.name != name:
        return item
    if len(alone) != 1:
        return item
    found.pop()
    step = replace(value, args=value.args[1:])
    piped = _piped(before.value)
    if isinstance(piped, tree.Pipe):
        return replace(item, value=replace(piped, calls=(*piped.calls, step)))
    return replace(item, value=tree.Pipe(item.span, piped, (step,)))


def _piped(value: tree.Call | tree.Pipe) -> tree.Call | tree.Pipe:
    """A call of one tensor as a pipe."""
    if isinstance(value, tree.Pipe) or not value.args:
        return value
    tensors = [arg for arg in value.args if arg.name is None and isinstance(arg.value, tree.Name | tree.Call)]
    if len(tensors) != 1 or tensors[0] is not value.args[0] or not isinstance(tensors[0].value, tree.Name):
        return value
    return tree.Pipe(value.span, tensors[0].value, (replace(value, args=value.args[1:]),))


def returned(body: tuple[tree.AnyStatement, ...]) -> tuple[tree.AnyStatement, ...]:
    """A block's body whose last value is returned as it is."""
    last = body[-1] if body else None
    before = body[-2] if len(body) > 1 else None
    if not isinstance(last, tree.Return) or not isinstance(before, tree.Bind):
        return body
    return (*body[:-2], replace(last, values=(before.value,)))


def unlabelled(value: tree.Expr, call: tree.Call) -> tree.Expr:
    """A value with one of its calls without its label."""
    if value is call:
        return replace(call, label=None)
    if isinstance(value, tree.Pipe):
        calls = tuple(replace(one, label=None) if one is call else one for one in value.calls)
        return replace(value, value=unlabelled(value.value, call), calls=calls)
    return value
