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
from ...grammar.caffe.upgrade import upgraded_net, upgraded_solver
from ...grammar.parse import parse, read_source
from ...grammar.source import Source, SourceError, SourceErrors, UserError
from .files import located
from .nets import Translated, net_of
from .options import Reading
from .solvers import Experiment, Wanted, definitions


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
    return _Reader(source, settings, how).text(type_of(source))


class _Reader:
    """The reading of a prototxt, with the files that it names."""

    def __init__(self, source: Source, settings: Mapping[str, Any], how: Reading) -> None:
        self.source, self.settings, self.how = source, settings, how
        self.errors: list[SourceError] = []
        self.warnings: list[SourceError] = []

    def text(self, type_: str) -> Text:
        span = self.source.span(0, len(self.source.text))
        if type_ == "SolverParameter":
            solver = upgraded_solver(self._message(self.source, type_), self.errors.append)
            items: tuple[tree.Definition, ...]
            items, refused = definitions(solver, self._wanted, self.errors.append)
        else:
            message = self._message(self.source, "NetParameter")
            found = self._net(message, self.source, Message("NetState", span))
            name = found.definition.name.name
            refused = {(name, mode): why for mode, why in found.refused.items()}
            made = Experiment()
            for mode, feeds in found.feeds.items():
                made.add_data(feeds, "test" if mode == "test" else "", [])
            items = (found.definition, *made.data)
        if self.errors:
            raise SourceErrors(self.errors)
        return Text(tree.File(span, items), True, tuple(self.warnings), refused)

    def _message(self, source: Source, type_: str) -> Message:
        message, warnings = read(source, type_, lenient=self.how.lenient)
        self.warnings += warnings
        return message

    def _wanted(self, wanted: Wanted) -> Translated | None:
        """A net that the solver names; None (reported) where it cannot be had."""
        if isinstance(wanted.item, Message):
            return self._net(wanted.item, self.source, wanted.state)
        name, span = wanted.item.value, wanted.item.span
        path = located(name, Path(self.source.path).parent)
        if path is None or not path.is_file():
            hint = "looked for here, beside this file, and in the folders above it"
            self.errors.append(SourceError("E721", f'there is no file "{name}"', span, hint))
            return None
        try:
            source = read_source(path)
            return self._net(self._message(source, "NetParameter"), source, wanted.state)
        except UserError as error:
            self.errors.append(SourceError("E721", str(error), span))
        except SourceError as error:
            self.errors.append(error)
        except SourceErrors as found:
            self.errors += found.errors
        return None

    def _net(self, message: Message, source: Source, state: Message) -> Translated:
        """A net in a state: what is set, else what the state says, else what the net's own does."""
        net = upgraded_net(message, self.errors.append)
        if self.errors:  # of which others would follow
            raise SourceErrors(self.errors)
        own = net.sub("state")
        level = state.get("level") if state.has("level") else own.get("level")
        stages = [*own.all("stage"), *state.all("stage")]
        level, given = self.settings.get("level", level), self.settings.get("stage", stages)
        if isinstance(level, bool) or not isinstance(level, int):
            raise UserError(f"`level` takes a whole number, not {level}")
        named = tuple(map(str, [given] if isinstance(given, str | int) else given))
        path = Path(source.path)
        found = net_of(net, path.stem, level=level, stages=named, reading=self.how, folder=path.parent)
        self.errors += found.errors
        self.warnings += found.warnings
        return found
