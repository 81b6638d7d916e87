"""Language detection, and Caffe's texts read: a prototxt of a net or of a solver as the tree of a `.net`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...grammar import tree
from ...grammar.caffe.message import Message
from ...grammar.caffe.schema import fields_of
from ...grammar.caffe.text_format import read, top_fields
from ...grammar.caffe.upgrade import upgraded_net
from ...grammar.parse import parse
from ...grammar.source import Source, SourceError, SourceErrors, UserError
from .nets import net_of


@dataclass(frozen=True)
class Reading:
    """How a text of Caffe's is read. shapes: of what data layers bring. lenient: unknown fields are passed over."""

    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    lenient: bool = False


@dataclass(frozen=True)
class Text:
    """A file's tree. foreign: it is Caffe's. refused: why a net cannot be had in a mode, by net and mode."""

    file: tree.File
    foreign: bool = False
    warnings: tuple[SourceError, ...] = ()
    refused: Mapping[tuple[str, str], tuple[SourceError, ...]] = field(default_factory=dict)


def is_prototxt(source: Source) -> bool:
    """Whether a text is Caffe's: by its first fields, unless its name says that it is a `.net`."""
    if source.path.endswith(".net"):
        return False
    return source.path.endswith(".prototxt") or type_of(source) != ""


def type_of(source: Source) -> str:
    """`NetParameter` or `SolverParameter`, whichever has more of the fields outside of all brackets; else empty."""
    names = top_fields(source)
    counts = {type_: sum(name in fields_of(type_) for name in names) for type_ in ("NetParameter", "SolverParameter")}
    best = max(counts, key=lambda type_: counts[type_])
    return best if counts[best] else ""


def tree_of(source: Source, settings: Mapping[str, Any], how: Reading) -> Text:
    """The tree of a source in either language. settings: `level` and `stage` choose layers of Caffe's nets.

    Raises SourceErrors with all that is wrong in it.
    """
    if not is_prototxt(source):
        return Text(parse(source))
    if type_of(source) == "SolverParameter":
        raise UserError(f"{source.path}: solvers are not read yet")
    return _net(source, settings, how)


def _net(source: Source, settings: Mapping[str, Any], how: Reading) -> Text:
    message, warnings = read(source, "NetParameter", lenient=how.lenient)
    errors: list[SourceError] = []
    net = upgraded_net(message, errors.append)
    found = net_of(net, Path(source.path).stem, shapes=how.shapes, **state_of(net, settings))
    errors += found.errors
    if errors:
        raise SourceErrors(errors)
    file = tree.File(source.span(0, len(source.text)), (found.definition,))
    name = found.definition.name.name
    refused = {(name, mode): why for mode, why in found.refused.items()}
    return Text(file, True, (*warnings, *found.warnings), refused)


def state_of(net: Message, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The level and the stages of a net: what is set, else what its own `state` says."""
    own = net.sub("state")
    level, stages = settings.get("level", own.get("level")), settings.get("stage", own.all("stage"))
    if isinstance(level, bool) or not isinstance(level, int):
        raise UserError(f"`level` takes a whole number, not {level}")
    return {"level": level, "stages": tuple(map(str, [stages] if isinstance(stages, str | int) else stages))}
