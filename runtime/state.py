"""The state of a net under its logical names: parameters, statistics, histories of the solver, counters.

Memory is a few flat buffers, which programs read and write; names are views into them, so nothing is kept twice. A
program that prepares something from the parameters (folded weights, packed copies) remakes it when `version` changes.
Where programs run on a device with its own memory, a copy lies there; what they wrote is fetched when it is read here.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, MutableMapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.kinds import refuse, table, truth, whole, words
from ..compiler.program import StateInfo, UserError, path_of, shown
from .buffers import Buffers, Owner, Source, StateReader, allocate
from .fillers import fill
from .handed import Handed
from .loading import Loaded, Matching, is_fresh, listed, match, shown_shape
from .sharing import ReadersWriter

Array = npt.NDArray[Any]

PARAMETERS = ".parameters"


class NoSuchState(UserError, KeyError):
    """A name that the net has no state under."""


class OtherState(UserError, ValueError):
    """A value that does not fit a tensor of state."""


class State(MutableMapping[str, Array]):
    """Logical name -> array, read and written in place; iterates over parameters and statistics.

    Histories and counters (names that begin with a point) can be asked for too, but are not listed. `buffers` is the
    memory by physical name; to read it is free, whoever writes to it calls `touch`. `copies` holds those on devices: an
    array from `buffers` is asked for again after a program ran there; one from the state itself follows by itself, at
    the price of a copy a run. `sharing` is held by a program while it runs, so that threads do not disturb each other.
    given: memory for buffers, in the place of new.
    """

    def __init__(self, infos: Sequence[StateInfo], given: Mapping[str, Array] | None = None) -> None:
        self.infos: dict[str, StateInfo] = {info.name: info for info in infos}
        if len(self.infos) < len(infos):
            raise ValueError("two tensors of state have the same name")
        given = given or {}
        self.buffers = Buffers({**allocate([i for i in infos if (i.buffer or i.name) not in given]), **given})
        self.copies: dict[Any, Source] = {}
        self._views = {info.name: self._view(info) for info in infos}
        # What `keep` remembered: a copy here, or the source that has it.
        self._kept: dict[str, Array | Source] = {}
        self.sharing = ReadersWriter()
        self._owner = Owner()
        self._version = 0
        self._handed = Handed()
        self.moments: weakref.WeakSet[StateReader] = weakref.WeakSet()
        self._lent: dict[int, weakref.ref[State]] = {}  # states that have memory in common with this one

    @property
    def version(self) -> int:
        """A number that is new whenever values may have been written since it was last asked for, programs apart.

        An array that was handed out may be written at any time: it is compared with what it was.
        """
        others = (held() for held in self._lent.values())
        return self._own_version() + sum(other._own_version() for other in others if other is not None)

    def _own_version(self) -> int:
        self._version += self._handed.changed()
        return self._version

    def touch(self) -> None:
        """Say that a buffer was written."""
        self._version += 1

    def writing(self, names: Iterable[str] | None = None) -> None:
        """Say that buffers (without names: any) are about to be written."""
        for moment in list(self.moments):
            for name in self.buffers if names is None else names:
                moment.about_to_write(name)

    def held(self) -> list[tuple[str, Array]]:
        """The arrays that somebody holds, each with its buffer."""
        return self._handed.held()

    def written(self, source: Source, names: Collection[str]) -> None:
        """Say that buffers were written in a copy, from which they are fetched when somebody reads them."""
        self._version += 1
        self.buffers.newer.update(dict.fromkeys(names, source))
        for name in {name for name, _ in self._handed.held() if name in names}:
            self.buffers[name]

    def newer(self, name: str) -> Source | None:
        """The copy that holds newer values of a buffer than the host."""
        return self.buffers.newer.get(name)

    def refresh(self) -> None:
        """Fetch everything that was written in a copy."""
        for name in list(self.buffers.newer):
            self.buffers[name]

    def __getitem__(self, name: str) -> Array:
        """The array itself, not a copy; NoSuchState for a name that the net does not have."""
        if not isinstance(name, str) or name not in self._views:
            import difflib

            near = difflib.get_close_matches(name, self._views, n=1) if isinstance(name, str) else []
            raise NoSuchState(
                f"{shown(name)}: the net has no such state" + (f"; did you mean {near[0]}?" if near else "")
            )
        view = self._fresh(name)
        if not view.size:
            return view
        # Through a memoryview, so that views of the array keep it alive and not the buffer behind it: see `version`.
        flat: Array = np.frombuffer(view.reshape(-1).data.cast("B"), view.dtype)
        for moment in list(self.moments):
            moment.about_to_hand(self._buffer(name), flat)
        self._handed.add(self._buffer(name), flat)
        self._version += 1
        return flat.reshape(view.shape)

    def __setitem__(self, name: str, value: npt.ArrayLike) -> None:
        """Copy values in; shape and element type stay, OtherState where these are others."""
        self[name]  # names the mistake in the name
        view = self._views[name]
        try:
            array = np.asarray(value)
        except (ValueError, TypeError, RuntimeError):
            raise OtherState(f"{name} is {self.infos[name].type}, the value is no array of numbers") from None
        if array.shape != view.shape:
            raise OtherState(f"{name} is {self.infos[name].type}, the value has shape {shown_shape(array.shape)}")
        if not np.can_cast(array.dtype, view.dtype, "same_kind"):
            raise OtherState(f"{name} is {self.infos[name].type}, the value holds {array.dtype}")
        np.copyto(view, array, casting="same_kind")
        self.touch()

    def __delitem__(self, name: str) -> None:
        raise TypeError("a net's state cannot be removed")

    def __iter__(self) -> Iterator[str]:
        return (name for name in self.infos if not name.startswith("."))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __contains__(self, name: object) -> bool:
        return name in self._views

    def __repr__(self) -> str:
        count = sum(info.type.count for info in self.infos.values() if info.kind == "parameter")
        return f"<State of {len(self)} tensors, {count:,} parameters>"

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><td>{escape(name)}</td><td>{escape(str(self.infos[name].type))}</td></tr>" for name in self
        )
        return f"<table><caption style='text-align:left'>{escape(repr(self))}</caption>{rows}</table>"

    def extend(self, infos: Sequence[StateInfo], seed: int) -> None:
        """Hold these tensors as well, those that are new with their first values; ValueError where one is another."""
        new = [info for info in infos if info.name not in self.infos]
        for info in infos:
            held = self.infos.get(info.name, info)
            if (held.type, held.buffer or held.name, held.offset) != (info.type, info.buffer or info.name, info.offset):
                raise ValueError(f"{info.name} lies elsewhere in this state")
        if wrong := [info.name for info in new if (info.buffer or info.name) in self.buffers]:
            raise ValueError(f"{', '.join(wrong)} would lie in a buffer that is there already")
        self.buffers.arrays.update(allocate(new))
        self.infos |= {info.name: info for info in new}
        self._views |= {info.name: self._view(info) for info in new}
        # What is 0 at first is so in new memory already, which need not be touched then.
        self._fill([info for info in new if info.kind != "history"], seed)

    def adopt(self, name: str, other: State, theirs: str) -> None:
        """Hold another state's tensor in the place of one's own: the same memory, and with it what moves its version.

        Both lie in buffers of their own. Programs on this state are bound anew by whoever has them. ValueError where
        the tensors are not alike.
        """
        if self.infos[name].type.count != other.infos[theirs].type.count or self.buffers[name].dtype != np.float32:
            raise ValueError(f"{name} is {self.infos[name].type}, {theirs} is {other.infos[theirs].type}")
        self.buffers.arrays[name] = other.buffers[theirs].reshape(self.buffers[name].shape)
        self._views[name] = self._view(self.infos[name])
        if other is not self:
            self._lent[id(other)], other._lent[id(self)] = weakref.ref(other), weakref.ref(self)
            # Each is told before the other writes; names are those of Caffe's layers in both.
            self.moments |= other.moments
            other.moments |= self.moments
        self.touch()

    def fill(self, seed: int) -> None:
        """First values: by their fillers, of histories 0, counters 0 but `.seed`."""
        seed = whole("seed", seed, 0, 1 << 64)
        self.refresh()
        self.writing()
        self._fill(list(self.infos.values()), seed)

    def _fill(self, infos: Sequence[StateInfo], seed: int) -> None:
        for info in infos:
            name = info.name
            if info.kind in ("parameter", "statistic", "carried"):
                self._views[name][...] = fill(info, seed)
            else:
                self._views[name][...] = 0
        if any(info.name == ".seed" for info in infos):
            self._views[".seed"][...] = np.uint64(seed % (1 << 64)).astype(np.int64)
        self.touch()

    def keep(self) -> None:
        """Remember all values but histories as they are, for `undo`; where they were written on a device, there."""
        left = ("history", "gradient")
        for name in {info.buffer or info.name for info in self.infos.values() if info.kind not in left}:
            source, before = self.newer(name), self._kept.get(name)
            if source is not None:
                source.keep(name, self._owner)
                self._kept[name] = source
            elif isinstance(before, np.ndarray):
                np.copyto(before, self.buffers[name])
            else:
                self._kept[name] = self.buffers[name].copy()

    def undo(self) -> None:
        """Bring back what `keep` remembered."""
        self.writing(self._kept)
        for name, kept in self._kept.items():
            if isinstance(kept, np.ndarray):
                self.buffers.newer.pop(name, None)
                np.copyto(self.buffers[name], kept)
            else:
                kept.undo(name, self._owner)
                self.buffers.newer[name] = kept
        self.touch()

    def finite(self, name: str) -> bool:
        """Whether no value of a tensor is infinite or NaN."""
        view = self._fresh(name)
        return view.dtype.kind != "f" or bool(np.isfinite(view).all())

    def save(self, path: str | Path) -> None:
        """Write parameters and statistics under their logical names, whole or not at all.

        As safetensors; as Caffe's weights where the name ends as theirs do (`.caffemodel`, `.h5`).
        """
        from .weight_files import write_weights

        write_weights(path_of("path", path), [(self.infos[name], self._fresh(name)) for name in self])

    def load(
        self,
        path: str | Path | Sequence[str | Path],
        fresh: Collection[str] = (),
        *,
        renamed: Mapping[str, str] | None = None,
        strict: bool = False,
    ) -> Loaded:
        """Read parameters and statistics; of several files a later one wins. Nothing changes if anything is wrong.

        `/` and `.` in names count as the same. A layer that the files lack, or hold in another shape, is a `UserError`
        that lists all of them, unless it is one of the layers (or blocks) in `fresh`: those keep their values. So do
        those that files of Caffe's lack, which is reported, or with `strict` an error. renamed: layers (or blocks) of
        the files by their names in the net.
        """
        paths = [path_of("path", one) for one in (path if isinstance(path, list | tuple) else [path])]
        self.refresh()
        how = Matching(
            words("fresh", fresh), {} if renamed is None else table("renamed", renamed), truth("strict", strict)
        )
        matched = match(paths, [self.infos[name] for name in self], how)
        self.writing()
        for name, array in matched.arrays.items():
            with np.errstate(over="ignore"):
                np.copyto(self._views[name], array, casting="unsafe")
        self.touch()
        return matched.report

    def take(self, other: State, fresh: Collection[str] = ()) -> None:
        """Copy parameters and statistics of another net's state; UserError for those it lacks, layers in `fresh` apart.

        Nothing changes then.
        """
        if not isinstance(other, State):
            raise refuse("other", "the state of an executable", other)
        wanted = [name for name in self if not is_fresh(self.infos[name], words("fresh", fresh))]
        problems = [f"{name} is missing" for name in wanted if name not in other]
        for name in (name for name in wanted if name in other):
            if (held := other.infos[name].type) != self.infos[name].type:
                problems.append(f"{name} is {held}, the net wants {self.infos[name].type}")
        if problems:
            raise UserError(f"the state is of another net: {listed(problems, '; ')}")
        self.writing()
        for name in wanted:
            np.copyto(self._fresh(name), other._fresh(name))
        self.touch()

    def logical(self) -> dict[str, Array]:
        """All that a step leaves to the next, in an order and under names that do not depend on the flat layout.

        The history `.history0` of the parameter `conv1.weight` is `.history0/conv1.weight`. These are views: copy or
        write them before the next step.
        """
        self.refresh()
        found: dict[str, Array] = {}
        for name, info in self.infos.items():
            if info.kind != "gradient":
                parts = self._parts(info)
                found.update(parts if parts else {name: self._views[name]})
        return found

    def restore(self, tensors: Mapping[str, Array]) -> None:
        """Take back what `logical` gave; a `UserError` that says what is missing or differs. Nothing changes if so."""
        own = self.logical()
        problems = [f"{name} is missing" for name in own if name not in tensors]
        sums = [f"{info.name}/" for info in self.infos.values() if info.kind == "gradient"]  # of older snapshots
        strange = [name for name in tensors if name not in own and not name.startswith(tuple(sums))]
        problems += [f"{name} is not of this net" for name in strange]
        for name, array in own.items():
            if name in tensors and (tensors[name].shape != array.shape or tensors[name].dtype != array.dtype):
                other = tensors[name]
                held, wanted = f"{other.dtype}{shown_shape(other.shape)}", f"{array.dtype}{shown_shape(array.shape)}"
                problems.append(f"{name} is {held}, not {wanted}")
        if problems:
            raise UserError(f"the snapshot is of another net or solver: {listed(problems, '; ')}")
        self.writing()
        for name, array in own.items():
            array[...] = tensors[name]
        self.drop_gradients()
        self.touch()

    def drop_gradients(self) -> None:
        """Forget gradients that wait for their update."""
        for info in self.infos.values():
            if info.kind == "gradient":
                self._fresh(info.name)[...] = 0
        self.touch()

    def _buffer(self, name: str) -> str:
        """The name of the buffer that a tensor lies in."""
        return self.infos[name].buffer or name

    def _fresh(self, name: str) -> Array:
        """A tensor, fetched if it was written in a copy."""
        self.buffers[self._buffer(name)]
        return self._views[name]

    def _view(self, info: StateInfo) -> Array:
        buffer = self.buffers[info.buffer or info.name].reshape(-1)
        return buffer[info.offset : info.offset + info.type.count].reshape([int(size) for size in info.type.shape])

    def _parts(self, info: StateInfo) -> dict[str, Array]:
        """A flat history cut into the parameters it belongs to; nothing if it is not of that kind."""
        if info.kind != "history" or info.type.rank != 1:
            return {}
        parts: dict[str, Array] = {}
        covered = 0
        for name, other in self.infos.items():
            end = other.offset + other.type.count
            if other.kind == "parameter" and other.buffer == PARAMETERS and end <= info.type.count:
                flat = self._views[info.name][other.offset : end]
                parts[f"{info.name}/{name}"] = flat.reshape([int(size) for size in other.type.shape])
                covered += other.type.count
        return parts if covered == info.type.count else {}
