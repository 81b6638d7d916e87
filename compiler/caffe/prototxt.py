"""Caffe's texts read: a prototxt of a net or of a solver, with the files that it names, as the tree of a `.net`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...grammar import tree
from ...grammar.caffe.message import Message
from ...grammar.caffe.text_format import read
from ...grammar.caffe.upgrade import upgraded_net, upgraded_solver
from ...grammar.parse import read_source
from ...grammar.source import Source, SourceError, SourceErrors, UserError
from .files import located
from .nets import Translated, net_of
from .options import Reading
from .solvers import Experiment, Wanted, definitions
from .text import Text


class Reader:
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
