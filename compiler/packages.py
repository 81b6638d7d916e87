"""Entry points: what installed packages add to netc's tables of layers, ops, solvers and sources of data.

    [project.entry-points."netc.layers"]
    wave = "netc_waves.layers:wave"

The metadata of packages is read when a name is met that netc has not itself, or when names are listed; a package's code
is imported when its name is used. So a `.net` file can name what somebody installed, and never load anything else: the
folder in which netc is called is not searched, though Python would. A name of netc's own always means netc's own.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

from ..grammar.source import UserError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

V = TypeVar("V")
# The groups of entry points, and what stands in them.
GROUPS = {"netc.layers": "layer", "netc.ops": "op", "netc.solvers": "solver", "netc.sources": "data source"}


@dataclass(frozen=True)
class Declared:
    """An entry point, the name and version of its package, and why it cannot be used, if it cannot."""

    package: str
    entry: EntryPoint
    fault: str = ""


@cache
def declared() -> Mapping[str, Mapping[str, Declared]]:
    """What all installed packages declare, by group and name; what is wrong with a name is said when it is used."""
    from importlib.metadata import distributions

    here = os.path.realpath(".")
    found: dict[str, dict[str, Declared]] = {group: {} for group in GROUPS}
    names: set[str] = set()
    for package in distributions(path=[place for place in sys.path if os.path.realpath(place) != here]):
        entries = [entry for entry in package.entry_points if entry.group in GROUPS]
        if not entries or package.name in names:  # the first on the path is the one that Python imports
            continue
        names.add(package.name)
        for entry in entries:
            table, title, fault = found[entry.group], f"{package.name} {package.version}", ""
            if entry.name in table:
                fault = _twice(entry.group, entry.name, table[entry.name].package, title)
            elif not entry.pattern.match(entry.value):
                what = f"the {GROUPS[entry.group]} `{entry.name}` of the package {title}"
                fault = f"{what} is no `module:name`: {entry.value}"
            table[entry.name] = Declared(title, entry, fault)
    return found


def _twice(group: str, name: str, one: str, other: str) -> str:
    return f"the {GROUPS[group]} `{name}` is declared by {one} and by {other}; uninstall one, or ask for another name"


_loading: list[str] = []  # the packages whose code is being imported


class Registry(Mapping[str, V]):
    """A table of netc's own, and behind it what packages declare in a group of entry points.

    own: what netc has. brought: what was asked of packages. take: makes an entry of what an entry point names; without
    it, importing that is enough.
    """

    def __init__(self, group: str, own: Mapping[str, V] | None = None, take: Callable[[Any], V] | None = None) -> None:
        self.group = group
        self.own: dict[str, V] = dict(own or {})
        self.brought: dict[str, V] = {}
        self.take = take

    def enter(self, name: str, value: V) -> None:
        """A new entry; a name can be taken once."""
        what = GROUPS[self.group]
        if name in self.own or name in self.brought:
            raise ValueError(f"{what} {name} is defined twice")
        if _loading and (name not in self.outside() or self.package(name) != _loading[-1]):
            raise ValueError(f"the {what} `{name}` is none of its entry points")
        (self.brought if _loading else self.own)[name] = value

    def outside(self) -> Mapping[str, Declared]:
        """What packages declare here, without what netc has itself."""
        return {name: one for name, one in declared()[self.group].items() if not self._shadows(name, one)}

    def _shadows(self, name: str, one: Declared) -> bool:
        # Somebody may have imported the package's module without asking here.
        imported = self.take is None and not one.fault and one.entry.module in sys.modules
        return name in self.own and not imported

    def refusal(self, name: str) -> str:
        """Why what packages declare under a name is not taken, if it is not."""
        one = declared()[self.group].get(name)
        if one is None or not self._shadows(name, one):
            return one.fault if one else ""
        return _twice(self.group, name, "netc itself", one.package)

    def package(self, name: str) -> str:
        """The package that declares a name, and its version; nothing for netc's own."""
        found = self.outside().get(name)
        return found.package if found else ""

    def credited(self, hint: str) -> str:
        """A hint, with the packages of the names in it."""
        of = [
            f"`{name}` is of the package {one.package}" for name, one in self.outside().items() if f"`{name}`" in hint
        ]
        return f"{hint} ({'; '.join(of)})" if of else hint

    def __getitem__(self, name: str) -> V:
        if self.met(name) is None:
            self._load(name, self.outside()[name])
        return self.own[name] if name in self.own else self.brought[name]

    def met(self, name: str) -> V | None:
        """What is here already; no package is looked at."""
        return self.own.get(name, self.brought.get(name))

    def __contains__(self, name: object) -> bool:
        return name in self.own or name in self.outside()

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys([*self.own, *self.outside()]))

    def __len__(self) -> int:
        return len(list(iter(self)))

    def _load(self, name: str, found: Declared) -> None:
        """Import what declares a name; UserError, in a line, for whatever goes wrong there."""
        if found.fault:
            raise UserError(found.fault)
        _loading.append(found.package)
        try:
            value = found.entry.load()
            if self.take is not None:
                self.brought[name] = self.take(value)
            if name not in self.brought:
                raise ValueError(f"{found.entry.value} makes no {GROUPS[self.group]} of that name")
        except (Exception, SystemExit) as error:
            said = " ".join(str(error).split()) or "without a word"
            what = f"the {GROUPS[self.group]} `{name}` of the package {found.package} cannot be loaded"
            raise UserError(f"{what}: {type(error).__name__}: {said}") from error
        finally:
            _loading.pop()
