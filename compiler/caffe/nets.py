"""A NetParameter as a `net` of the language: both phases in one body, with `if train` where they differ."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ...grammar import tree
from ...grammar.caffe.message import Message
from ...grammar.caffe.rules import NetState, asks_for, check_rules
from ...grammar.source import SourceError, Span
from . import writer
from .data import Feed
from .options import Reading
from .phase import Phase, phase

MODES = {"train": "TRAIN", "test": "TEST"}


@dataclass(frozen=True)
class Translated:
    """A net with its data layers by mode. refused: why a mode cannot be built, where one is not complete."""

    definition: tree.NetDef
    feeds: Mapping[str, list[Feed]]
    refused: Mapping[str, tuple[SourceError, ...]]
    errors: tuple[SourceError, ...]
    warnings: tuple[SourceError, ...]


def net_of(
    net: Message,
    title: str,
    *,
    level: int = 0,
    stages: tuple[str, ...] = (),
    reading: Reading,
    folder: Path,
) -> Translated:
    """A net of the last version. title: its name, where it has none. folder: that of its file, for paths in it."""
    errors: list[SourceError] = []
    check_rules(net, errors.append)
    found = {
        "train": phase(net, NetState("TRAIN", level, stages), reading, folder),
        "test": phase(net, NetState("TEST", level, stages), reading, folder),
    }
    for one in found.values():
        errors += one.errors
    refused = {mode: tuple(one.missing) for mode, one in found.items() if one.missing}
    if len(refused) == len(found):
        errors += [error for one in found.values() for error in one.missing]
    whole = [one for mode, one in found.items() if mode not in refused]
    body = _merged(*(whole * 2)[:2]) if whole else ()
    span = net.place("name")
    name = writer.name(identifier(net.get("name") or title), span)
    definition = tree.NetDef(net.span, name, _formals(net, level, stages, span), body)
    return Translated(
        definition,
        {mode: one.feeds for mode, one in found.items()},
        refused,
        _unique(errors),
        _unique([warning for one in found.values() for warning in one.warnings]),
    )


def identifier(text: str) -> str:
    """A name as a word: what is no letter, digit or `_` becomes `_`."""
    word = re.sub(r"\W+", "_", text, flags=re.ASCII).strip("_") or "net"
    return f"net_{word}" if word[0].isdigit() else word


def _unique(errors: list[SourceError]) -> tuple[SourceError, ...]:
    """The mistakes, those found in both phases once."""
    return tuple({(e.code, e.span.source, e.span.start, e.message): e for e in errors}.values())


def _formals(net: Message, level: int, stages: tuple[str, ...], span: Span) -> tuple[tree.Formal, ...]:
    """`level` and `stage` as settings of the net, where its rules ask for them."""
    found = []
    if asks_for(net, "min_level", "max_level"):
        found.append(tree.Formal(span, writer.name("level", span), writer.constant(level, span)))
    if asks_for(net, "stage", "not_stage"):
        texts = tuple(writer.text(stage, span) for stage in stages)
        found.append(tree.Formal(span, writer.name("stage", span), tree.List(span, texts)))
    return tuple(found)


def _merged(train: Phase, test: Phase) -> tuple[tree.AnyStatement, ...]:
    """The statements of both phases in the order of the layers; those of one phase alone behind `if train`."""
    body: list[tree.AnyStatement] = []
    apart: tuple[list[tree.AnyStatement], list[tree.AnyStatement]] = ([], [])

    def flush() -> None:
        if apart[0] == apart[1]:  # also where layers of each phase say the same
            body.extend(apart[0])
        else:
            first = (apart[0] or apart[1])[0]
            condition = writer.name("train", first.span)
            arm = tree.Arm(first.span, condition, tuple(apart[0]))
            body.append(tree.If(first.span, (), (arm,), tuple(apart[1]) or None))
        apart[0].clear()
        apart[1].clear()

    sides = [_by_layer(train), _by_layer(test)]
    for number in sorted({*sides[0], *sides[1]}):
        ours, others = (side.get(number, []) for side in sides)
        if ours == others:
            flush()
            body += ours
        else:
            apart[0].extend(ours)
            apart[1].extend(others)
    flush()
    return tuple(body)


def _by_layer(one: Phase) -> dict[int, list[tree.AnyStatement]]:
    grouped = groupby(one.statements, key=lambda pair: pair[0])
    return {number: [statement for _, statement in pairs] for number, pairs in grouped}
