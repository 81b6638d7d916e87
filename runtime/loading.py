"""Which tensor of a weight file goes to which tensor of a net: names, shapes, and the message when they do not fit."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import StateInfo, UserError
from .tensors import Entry, entries, printable, read_tensors

Array = npt.NDArray[Any]
SHOWN = 20  # problems listed in one message
# What each element type of a file is called in a net.
DTYPES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "I64": "i64", "I32": "i32", "U8": "u8"}
FLOATS = ("f64", "f32", "f16", "bf16")


@dataclass(frozen=True)
class Loaded:
    """What `State.load` did: layers only in the files, layers left fresh, conversions (`conv1.weight: F16 to f32`)."""

    unused: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same in sentences, one line each; none if all fitted."""
        found = []
        if self.fresh:
            found.append(f"start from their fillers: {listed(self.fresh)}")
        if self.unused:
            found.append(f"in the file, but not in the net: {listed(self.unused)}")
        if self.converted:
            found.append(f"converted: {listed(self.converted)}")
        return found


@dataclass(frozen=True)
class Matched:
    """Arrays by the net's names, as the files hold them, and what is to be said about it."""

    arrays: dict[str, Array]
    report: Loaded


def match(paths: Sequence[Path], infos: Sequence[StateInfo], fresh: Collection[str]) -> Matched:
    """Find each tensor in the files (a later file wins) and read it; a `UserError` lists what is missing or differs."""
    _check_fresh(infos, fresh)
    sources: dict[str, tuple[Path, str, Entry]] = {}
    for path in paths:
        seen: dict[str, str] = {}
        for name, entry in entries(path).items():
            other = seen.setdefault(_plain(name), name)
            if other != name:
                raise UserError(f"{path}: `{printable(other)}` and `{printable(name)}` count as the same name")
            if not name.startswith("."):  # histories and counters of a snapshot
                sources[_plain(name)] = path, name, entry
    wanted = {info.name: info for info in infos if not is_fresh(info, fresh)}
    problems = []
    for name, info in wanted.items():
        if _plain(name) not in sources:
            problems.append(f"{name} is missing")
            continue
        _, _, entry = sources[_plain(name)]
        if entry.shape != tuple(info.type.shape):
            problems.append(f"{name} is {shown_shape(entry.shape)}, the net wants {shown_shape(info.type.shape)}")
        elif entry.dtype not in DTYPES or (DTYPES[entry.dtype] in FLOATS) != (info.type.dtype in FLOATS):
            problems.append(f"{name} holds {entry.dtype}, the net wants {info.type.dtype}")
    if problems:
        layers = dict.fromkeys(_layer(wanted[p.split(" ", 1)[0]].name) for p in problems)
        names = ", ".join(map(str, paths))
        anew = ", ".join(map(_quoted, layers))
        raise UserError(f"{names}: {listed(problems, '; ')} (to start such layers anew: fresh: [{anew}])")
    arrays: dict[str, Array] = {}
    converted, broken = [], []
    for path in dict.fromkeys(path for path, _, _ in sources.values()):
        names_here = {sources[_plain(name)][1]: name for name in wanted if sources[_plain(name)][0] == path}
        for stored, array in read_tensors(path, names_here).items():
            name = names_here[stored]
            arrays[name] = array
            with np.errstate(over="ignore"):
                if not np.isfinite(array.astype(wanted[name].type.numpy_dtype, copy=False)).all():
                    broken.append(name)
            held = DTYPES[sources[_plain(name)][2].dtype]
            if held != wanted[name].type.dtype:
                converted.append(f"{name}: {held} to {wanted[name].type.dtype}")
    if broken:
        what = f"NaN, infinity, or numbers too large for f32 in {listed(broken)}"
        raise UserError(f"{', '.join(map(str, paths))}: there is {what}; take weights of an earlier step")
    known = {_plain(info.name) for info in infos}
    unused = dict.fromkeys(printable(_layer(name)) for key, (_, name, _) in sources.items() if key not in known)
    left = dict.fromkeys(_layer(info.name) for info in infos if is_fresh(info, fresh))
    return Matched(arrays, Loaded(tuple(unused), tuple(left), tuple(converted)))


def _plain(name: str) -> str:
    """A name with `/` for `.`, as they count as the same."""
    return name.replace("/", ".")


def _layer(name: str) -> str:
    """The layer that a tensor belongs to: all but the last part of its name."""
    return name.rpartition(".")[0] or name


def is_fresh(info: StateInfo, fresh: Collection[str]) -> bool:
    """Whether `fresh` names the layer of a tensor, a block around it, or the tensor itself."""
    name = _plain(info.name)
    return any(name == _plain(word) or name.startswith(_plain(word) + ".") for word in fresh)


def _check_fresh(infos: Sequence[StateInfo], fresh: Collection[str]) -> None:
    """Each name in `fresh` must be one of the net's."""
    layers = list(dict.fromkeys(_layer(info.name) for info in infos))
    for word in fresh:
        if not any(is_fresh(info, [word]) for info in infos):
            near = difflib.get_close_matches(word, layers, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise UserError(f"fresh: the net has no layer `{word}` with parameters{hint}")


def _quoted(name: str) -> str:
    """A layer's name as it stands in a list of the language."""
    return name if name.replace("_", "a").isalnum() and name.isascii() else f'"{name}"'


def shown_shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Items in one line; of very many the first and how many more."""
    more = f"{separator}and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more
