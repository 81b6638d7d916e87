"""A net as a NetParameter's text: both phases gathered, named, written and merged.

The two phases are built for batches of their own, as those of training and of test data differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from ..compiler.build import Experiment
from ..compiler.build.nets import gathered
from ..compiler.build.state import NetState
from ..compiler.caffe.export.making import Style, put
from ..compiler.caffe.export.merging import in_place, merged, ordered
from ..compiler.caffe.export.values import Values, unify, values_of
from ..compiler.caffe.export.walk import Naming, Rewritten, Walk, input_layers, shared_names
from ..compiler.graph import Node
from ..compiler.net import find_tensor
from ..grammar.caffe.message import Message
from ..grammar.caffe.unparse import text_of
from ..grammar.source import SourceError, SourceErrors, Span, UserError

Mode: TypeAlias = Literal["train", "test"]
Wanted: TypeAlias = dict[str, tuple[str, Node, float]]
Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
# The layers that bring inputs in a mode.
Feeds: TypeAlias = Callable[[Mode, Shapes, Span], list[Message]]


@dataclass(frozen=True)
class Phase:
    """One mode of a net: how it was built, what is wanted of it, and what is said otherwise in Caffe's."""

    state: NetState
    dims: Mapping[str, int]
    wanted: Wanted
    rewritten: tuple[Rewritten, ...] = ()
    titles: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class NetFile:
    """A net as a prototxt. phases: by mode; where there is one alone, the layers hold in both of Caffe's.

    learning: with fillers and multipliers. moved: names of parameters that are others than in the net, by these.
    layers: the last layer that each call was written as, by its name. place: of the net's name in its source. python:
    layers in Python may run.
    """

    name: str
    text: str
    phases: Mapping[Mode, Phase]
    learning: bool
    moved: Mapping[str, str]
    layers: Mapping[str, str]
    place: Span
    python: bool = False

    @property
    def notes(self) -> list[str]:
        """What layers compute in another way, each with the first that does."""
        found: dict[str, list[str]] = {}
        for part in (part for one in self.phases.values() for part in one.rewritten):
            names = found.setdefault(part.said, [])
            names += [part.name] if part.name not in names else []
        more = {said: f" and {len(names) - 1} more" if len(names) > 1 else "" for said, names in found.items()}
        return [f"{said} ({names[0]}{more[said]})" for said, names in found.items()]


@dataclass(frozen=True)
class Whole:
    """Which of a net is written: its name, its settings, and the sizes of its symbols by mode.

    outputs: the values of a net that is deployed; None: all of both modes. python: whether layers in Python may run.
    """

    experiment: Experiment
    name: str
    settings: Mapping[str, Any]
    dims: Mapping[Mode, Mapping[str, int]]
    outputs: tuple[str, ...] | None = None
    deployed: bool = False
    python: bool = False

    def phase(self, mode: Mode) -> Phase:
        """A mode, built."""
        dims = self.dims[mode]
        state, env, _ = gathered(
            self.experiment, self.name, mode=mode, dims=dims, settings=self.settings, python=self.python
        )
        roles: Wanted = {key: (kind, node, w) for key, (kind, node, w) in state.roles.items() if node is not None}
        if self.outputs is not None:
            named = {key: node for key, (_, node, _) in roles.items()}
            named |= {key: one.value for key, one in env.items() if isinstance(one.value, Node) and key not in named}
            for row in state.rows:
                named |= {key: row.tops[0] for key in (row.info.name,) if key not in named and row.tops}
            return Phase(
                state, dims, {key: ("output", find_tensor(named, key, self.name), 1.0) for key in self.outputs}
            )
        if self.deployed:
            roles = {key: one for key, one in roles.items() if one[0] == "output"}
        elif mode == "train" and any(kind == "loss" for kind, _, _ in roles.values()):
            roles = {key: one for key, one in roles.items() if one[0] != "output"}
        return Phase(state, dims, roles)


def write_net(whole: Whole, feeds: Feeds | None = None) -> NetFile:
    """A net as a prototxt; SourceErrors with all that Caffe cannot say, UserError for a net that computes nothing."""
    alone = whole.deployed or whole.outputs is not None
    modes: tuple[Mode, ...] = ("test",) if alone else ("train", "test")
    refused = whole.experiment.net(whole.name).module.refused
    modes = tuple(mode for mode in modes if (whole.name, mode) not in refused)
    phases = {mode: whole.phase(mode) for mode in modes}
    if not any(one.wanted for one in phases.values()):
        raise UserError(f"the net `{whole.name}` has no output, so there is nothing to write; --output names a value")
    values = [values_of(one.state, one.wanted) for one in phases.values()]
    if len(values) == 2:
        unify(values[0], values[1])
    naming = Naming()
    naming.claim(*values)
    naming.keep(*values)
    style = Style(not alone, shared_names(values, naming))
    place = whole.experiment.net(whole.name).definition.name.span
    sides, errors = _written(phases, values, naming, style, feeds, place)
    if errors:
        raise SourceErrors(errors)
    layers = merged(*sides) if len(sides) == 2 else sides[0]
    message = Message("NetParameter", place)
    put(message, "name", whole.name, place)
    for layer in in_place(layers, {*naming.roles.values()}):
        message.add("layer", ordered(layer))
    moved = {name: new for name, new in style.owners.items() if new.replace("/", ".") != name.replace("/", ".")}
    made = {step.name: naming.layers[step.name] for side in values for step in side.steps}
    made |= {part.name: part.last for one in phases.values() for part in one.rewritten}
    return NetFile(whole.name, text_of(message), phases, style.learning, moved, made, place, whole.python)


def _written(
    phases: dict[Mode, Phase],
    values: list[Values],
    naming: Naming,
    style: Style,
    feeds: Feeds | None,
    place: Span,
) -> tuple[list[list[Message]], list[SourceError]]:
    """The layers of each phase, whose remarks are entered, and mistakes."""
    sides: list[list[Message]] = []
    errors: dict[tuple[object, ...], SourceError] = {}
    for (mode, phase), side in zip([*phases.items()], values, strict=True):

        def brought(shapes: Shapes, mode: Mode = mode) -> list[Message]:
            return feeds(mode, shapes, place) if feeds is not None else input_layers(shapes, place)

        found = Walk(side, naming, style, place).run(brought)
        sides.append(found.layers)
        errors |= {(one.span.source, one.span.start, one.message): one for one in found.errors}
        phases[mode] = Phase(phase.state, phase.dims, phase.wanted, tuple(found.rewritten), found.titles)
    return sides, [*errors.values()]
