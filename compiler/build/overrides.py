"""Overrides: settings from outside over what a file says, of its nets, constants, data and `train` blocks.

`lr` is whatever bears that name: a net's parameter, a number of `train` blocks, a constant; else a setting of their
solvers. `solver.momentum`, `schedule.gamma`, `data.batch` say which is meant, `heldout.batch` one data alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ...grammar import tree
from ...grammar.source import UserError, suggest
from ..schema.schema import public, signature_of
from ..schema.settings import UNKNOWN, Mismatch, describe, kind_of
from ..schema.solvers import SCHEDULES, SOLVERS
from ..schema.sources import SOURCES
from ..spec import DataSpec, Use
from .constants import is_number
from .module import Module
from .nets import plain

DATA, TABLES = "data", {"solver": SOLVERS, "schedule": SCHEDULES}
Settings = Mapping[str, Any]


def check_overrides(module: Module, settings: Settings, numbers: Iterable[str]) -> None:
    """UserError for a setting that nothing of a file takes. numbers: those of `train` blocks."""
    names = [*_known(module, numbers)]
    for key in settings:
        if key not in names:
            bare = [name for name in names if name.partition(".")[2] == key and "." in name]
            shown = [name for name in names if "." not in name]
            near = f"say which: {' or '.join(bare[:3])}" if bare else suggest(key, names)
            near = near or (f"there are {', '.join(shown)}" if shown else "there are none")
            raise UserError(f"{module.source.path} has no setting `{key}`; {near}")


def _known(module: Module, numbers: Iterable[str]) -> dict[str, None]:
    """All that can be set, as it is written."""
    trains = [item for item in module.file.definitions if isinstance(item, tree.TrainDef)]
    found = dict.fromkeys(sorted(name for entry in module.nets.values() for name in entry.value.formals))
    found |= dict.fromkeys(numbers if trains else ())
    found |= dict.fromkeys(module.consts)
    used = [(key, name) for item in trains for key, name in _uses(item)]
    found |= dict.fromkeys(name for key, use in used if key == "solver" for name in _takes(TABLES[key][use]))
    found |= dict.fromkeys(f"{key}.{name}" for key, use in used for name in _takes(TABLES[key][use]))
    for name, entry in module.data.items():
        if entry.value is not None:
            takes = _takes(SOURCES[entry.value.source])
            found |= dict.fromkeys(f"{one}.{key}" for one in (DATA, name) for key in takes)
    return found


def _uses(item: tree.TrainDef) -> list[tuple[str, str]]:
    """The solver and the schedule of a block, as far as they are known."""
    found = []
    for setting in item.settings:
        key, value = setting.key.name, setting.value
        callee = value.callee if isinstance(value, tree.Call) else value
        if key in TABLES and isinstance(callee, tree.Name) and callee.name in TABLES[key]:
            found.append((key, callee.name))
    return found


def _takes(entry: Any) -> list[str]:
    return [public(name) for name in signature_of(entry).parameters]


def constant(settings: Settings, name: str, value: Any) -> Any:
    """A constant of a file: what is set, of the kind that the file has there, else its own value."""
    if name not in settings:
        return value
    given = plain(settings[name])
    if value is UNKNOWN or (is_number(value) and is_number(given)) or type(value) is type(given):
        return given
    raise UserError(f"the constant `{name}` is {describe(value)}, so it cannot become {describe(given)}")


def data_of(settings: Settings, spec: DataSpec) -> DataSpec:
    """A data block with what is set for it, or for all data."""
    parameters = signature_of(SOURCES[spec.source]).parameters
    given = _prefixed(settings, DATA) | _prefixed(settings, spec.name)
    # What is set for all data is of those that take it.
    own = {key: value for key, value in given.items() if key in parameters}
    return replace(spec, settings=_over(spec.settings, own, parameters, spec.name))


def use_of(settings: Settings, what: str, use: Use, taken: Iterable[str]) -> Use:
    """A solver or schedule with what is set for it. taken: names that mean something else where they stand alone."""
    parameters = signature_of(TABLES[what][use.name]).parameters
    bare = {key: value for key, value in settings.items() if what == "solver" and key not in taken}
    given = {key: value for key, value in (bare | _prefixed(settings, what)).items() if key in parameters}
    return Use(use.name, _over(use.settings, given, parameters, use.name))


def _prefixed(settings: Settings, what: str) -> dict[str, Any]:
    return {key.partition(".")[2]: value for key, value in settings.items() if key.startswith(f"{what}.")}


def _over(
    before: tuple[tuple[str, Any], ...], given: Settings, parameters: Mapping[str, inspect.Parameter], title: str
) -> tuple[tuple[str, Any], ...]:
    found = dict(before)
    for key, value in given.items():
        kind = kind_of(parameters[key].annotation)
        value = plain(value)
        try:
            word = kind.word(value) if isinstance(value, str) else None
            found[key] = kind.convert(word[0] if word is not None else value)
        except Mismatch as mismatch:
            found_it = mismatch.text or f"not {describe(value)}"
            raise UserError(f"{title}: `{key}` takes {kind.text}, {found_it}") from None
    return tuple(found.items())
