"""Which tensor of a weight file goes to which tensor of a net: names, shapes, and the message when they do not fit."""

from __future__ import annotations

import difflib
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.program import StateInfo, UserError
from .tensors import printable
from .weight_files import Contents, Stored, contents, layer_of, plain

Array = npt.NDArray[Any]
SHOWN = 20  # problems listed in one message
MISSING = "is missing"
Shapes = Mapping[str, Sequence[tuple[int, ...]]]  # of the arrays of layers, by their names in a file
# What each element type of a file is called in a net.
DTYPES = {"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16", "I64": "i64", "I32": "i32", "U8": "u8"}
FLOATS = ("f64", "f32", "f16", "bf16")


@dataclass(frozen=True)
class Matching:
    """How the layers of files and of a net are held against each other.

    fresh: layers (or blocks) of the net that are not taken from a file. renamed: layers (or blocks) of the files by
    what the net calls them. strict: nothing may be left over, neither in a file nor in the net.
    """

    fresh: Collection[str] = ()
    renamed: Mapping[str, str] = field(default_factory=dict)
    strict: bool = False


@dataclass(frozen=True)
class Loaded:
    """What `State.load` did: layers only in the files, layers left fresh, conversions (`conv1.weight: F16 to f32`).

    absent: layers that Caffe's files lack, which kept their values. taken: a line about each of Caffe's files.
    """

    unused: tuple[str, ...] = ()
    fresh: tuple[str, ...] = ()
    converted: tuple[str, ...] = ()
    absent: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The same in sentences, one line each; none if all fitted."""
        found = list(self.taken)
        if self.fresh:
            found.append(f"start from their fillers: {listed(self.fresh)}")
        if self.absent:
            found.append(f"not in the file, so these start from their fillers: {listed(self.absent)}")
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


def match(paths: Sequence[Path], infos: Sequence[StateInfo], how: Matching, *, values: bool = True) -> Matched:
    """Find each tensor in the files (a later file wins) and read it; a `UserError` lists what is missing or differs.

    values: without them names and shapes are compared, and nothing is read.

    Of files of which one is Caffe's, layers that are in none keep their values, as in Caffe, unless `how` is strict.
    """
    _check_fresh(infos, how.fresh)
    files = [contents(path, infos, how.renamed) for path in paths]
    _check_renamed(files, how.renamed)
    sources: dict[str, tuple[Contents, Stored]] = {}
    for file in files:
        sources |= {key: (file, stored) for key, stored in file.tensors.items()}
    wanted = {plain(info.name): info for info in infos if not is_fresh(info, how.fresh)}
    layers = {layer_of(info.name) for info in wanted.values()}
    problems = [item for file in files for item in file.problems if item[0] in layers]
    wrong = {layer for layer, _ in problems}
    partial = any(file.partial for file in files) and not how.strict
    absent: dict[str, list[str]] = {}
    for key, info in wanted.items():
        layer = layer_of(info.name)
        if key in sources:
            problems += [(layer, text) for text in _misfit(info, sources[key][1])]
        elif partial and layer not in wrong:
            absent.setdefault(layer, []).append(info.name.rpartition(".")[2])
        elif layer not in wrong:
            problems.append((layer, f"{info.name} {MISSING}"))
    others = {name: shapes for file in files for name, shapes in file.shapes.items()}
    unused = list(dict.fromkeys(printable(name) for file in files for name in file.others))
    names = ", ".join(map(str, paths))
    if problems:
        raise UserError(f"{names}: {_explained(problems, wanted.values(), others)}")
    if how.strict and unused:
        raise UserError(f"{names}: in the file, but not in the net: {listed(unused)}")
    taken = {key: found for key, found in sources.items() if key in wanted}
    if wanted and not taken:
        held = f"it holds {listed(unused)}" if unused else "it holds no arrays"
        raise UserError(f"{names}: has no layer of the net, such as {next(iter(absent))}; {held}")
    arrays: dict[str, Array] = {}
    for file in files if values else ():
        arrays |= file.arrays({key: wanted[key].name for key, (source, _) in taken.items() if source is file})
    if broken := _broken(arrays, wanted.values()):
        what = f"NaN, infinity, or numbers too large for f32 in {listed(broken)}"
        raise UserError(f"{names}: there is {what}; take weights of an earlier step")
    converted = [
        f"{wanted[key].name}: {DTYPES[stored.dtype]} to {wanted[key].type.dtype}"
        for key, (_, stored) in taken.items()
        if DTYPES[stored.dtype] != wanted[key].type.dtype
    ]
    met = {layer_of(wanted[key].name) for key in taken}
    report = Loaded(
        tuple(unused),
        tuple(dict.fromkeys(layer_of(info.name) for info in infos if is_fresh(info, how.fresh))),
        tuple(converted),
        tuple(
            _lacking(layer, parts if layer in met else [], wanted.values(), others) for layer, parts in absent.items()
        ),
        tuple(_count(file, taken) for file in files if file.partial),
    )
    return Matched(arrays, report)


def _misfit(info: StateInfo, stored: Stored) -> list[str]:
    """Why a tensor of a file cannot be this one of the net."""
    name = info.name if stored.array is None else f"{printable(stored.name)} of {info.name}"
    if stored.shape != tuple(info.type.shape):
        return [f"{name} is {shown_shape(stored.shape)}, the net wants {shown_shape(info.type.shape)}"]
    if stored.dtype not in DTYPES or (DTYPES[stored.dtype] in FLOATS) != (info.type.dtype in FLOATS):
        return [f"{info.name} holds {stored.dtype}, the net wants {info.type.dtype}"]
    return []


def _broken(arrays: Mapping[str, Array], infos: Iterable[StateInfo]) -> list[str]:
    """The tensors that hold what is no finite number in the net's type."""
    found = []
    for info in infos:
        if info.name in arrays:
            with np.errstate(over="ignore"):
                if not np.isfinite(arrays[info.name].astype(info.type.numpy_dtype, copy=False)).all():
                    found.append(info.name)
    return found


def _count(file: Contents, taken: Mapping[str, tuple[Contents, Stored]]) -> str:
    """How much was taken from one of Caffe's files."""
    mine = [stored for source, stored in taken.values() if source is file]
    layers, numbers = len({stored.layer for stored in mine}), sum(math.prod(stored.shape) for stored in mine)
    return f"{layers:,} layers with {numbers:,} numbers taken from {file.path}"


def _lacking(layer: str, parts: Sequence[str], infos: Collection[StateInfo], others: Shapes) -> str:
    """A layer that a file lacks, or parts of it; and which of the file's others may be it."""
    shown = f"{layer} ({', '.join(parts)})" if parts else layer
    near = likely(layer, [i for i in infos if layer_of(i.name) == layer and (not parts or _last(i) in parts)], others)
    return f"{shown} (is it {_beside(near, others)}?)" if near else shown


def _last(info: StateInfo) -> str:
    return info.name.rpartition(".")[2]


def _beside(name: str, others: Shapes) -> str:
    """A layer of a file with the shapes of its arrays."""
    return f"{printable(name)} {' '.join(map(shown_shape, others[name]))}"


def likely(layer: str, infos: Sequence[StateInfo], others: Shapes) -> str:
    """Which layer of a file may be one that is missing: of those with its shapes that of the nearest name, or the only
    one; else one of a near name; "" if none is.
    """
    wanted = sorted(_squeezed(info.type.shape) for info in infos)
    alike = [name for name, shapes in others.items() if sorted(map(_squeezed, shapes)) == wanted]
    for names in (alike, [*others]):
        near = difflib.get_close_matches(plain(layer), names, n=1, cutoff=0.5)
        if near or (names is alike and len(alike) == 1):
            return near[0] if near else alike[0]
    return ""


def _squeezed(shape: Sequence[int]) -> tuple[int, ...]:
    """A shape without sides of 1, which Caffe's have in front."""
    return tuple(int(side) for side in shape if side != 1)


def _explained(problems: Sequence[tuple[str, str]], infos: Collection[StateInfo], others: Shapes) -> str:
    """What does not fit, what the file has instead, and what the `train` block can say about it."""
    layers = dict.fromkeys(layer for layer, _ in problems)
    missing = {text.removesuffix(f" {MISSING}") for _, text in problems if text.endswith(MISSING)}
    lacking = {layer: [i for i in infos if layer_of(i.name) == layer and i.name in missing] for layer in layers}
    near = {layer: likely(layer, of, others) for layer, of in lacking.items() if of}
    told, shown = [], set()
    for layer, text in problems:
        if near.get(layer) and layer not in shown and text.endswith(MISSING):
            text = f"{text} (is it {_beside(near[layer], others)}?)"
            shown.add(layer)
        told.append(text)
    ways = [f"to start such layers anew: fresh: [{', '.join(map(_quoted, layers))}]"]
    if pairs := [f'"{printable(name)}={layer}"' for layer, name in near.items() if name]:
        ways.append(f"if they are there by other names: rename: [{listed(pairs)}], or --map OLD=NEW")
    elif near and others:
        ways.append(f"the file has besides {listed([printable(name) for name in others])}")
    return f"{listed(told, '; ')} ({'; '.join(ways)})"


def is_fresh(info: StateInfo, fresh: Collection[str]) -> bool:
    """Whether `fresh` names the layer of a tensor, a block around it, or the tensor itself."""
    name = plain(info.name)
    return any(name == plain(word) or name.startswith(plain(word) + ".") for word in fresh)


def _check_fresh(infos: Sequence[StateInfo], fresh: Collection[str]) -> None:
    """Each name in `fresh` must be one of the net's."""
    layers = list(dict.fromkeys(layer_of(info.name) for info in infos))
    for word in fresh:
        if not any(is_fresh(info, [word]) for info in infos):
            near = difflib.get_close_matches(word, layers, n=1)
            hint = f"; did you mean `{near[0]}`?" if near else ""
            raise UserError(f"fresh: the net has no layer `{word}` with parameters{hint}")


def _check_renamed(files: Sequence[Contents], renamed: Mapping[str, str]) -> None:
    """Each layer that is renamed must be in a file."""
    held = {plain(name) for file in files for name in file.layers}
    for word in renamed:
        if not any(name == plain(word) or name.startswith(f"{plain(word)}.") for name in held):
            near = difflib.get_close_matches(plain(word), held, n=1)
            has = listed([printable(name) for name in dict.fromkeys(name for file in files for name in file.layers)])
            hint = f"did you mean `{printable(near[0])}`?" if near else f"it has {has}"
            raise UserError(f"{', '.join(str(file.path) for file in files)}: has no layer `{word}` to rename; {hint}")


def _quoted(name: str) -> str:
    """A layer's name as it stands in a list of the language."""
    return name if name.replace("_", "a").isalnum() and name.isascii() else f'"{name}"'


def shown_shape(shape: Sequence[int]) -> str:
    return f"[{','.join(map(str, shape))}]"


def listed(items: Sequence[str], separator: str = ", ") -> str:
    """Items in one line; of very many the first and how many more."""
    more = f"{separator}and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(items[:SHOWN]) + more
