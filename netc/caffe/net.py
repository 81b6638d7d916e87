"""`caffe.Net`: a net of Caffe's under the names that pycaffe has for what it holds and does."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..grammar.source import UserError
from .blob import BlobVec, ParamBlob
from .core import Core
from .files import copy_trained, read_hdf5, write_net
from .hosts import MemoryData
from .layer import Layer, NetLayer
from .process import PHASES, TRAIN
from .rows import Named
from .table import read_net, table

Array = npt.NDArray[Any]
AnyLayer = NetLayer | Layer


class PycaffeNet:
    """A net of a prototxt in a phase, with weights of a file if one is named.

    `Net(network_file, phase, level=0, stages=[], weights=None)`, or as before `Net(network_file, weights, phase)`.
    RuntimeError for a prototxt that is not there, SourceErrors for what is wrong in it, UserError for other mistakes.
    """

    def __init__(
        self,
        network_file: str | Path,
        *given: Any,
        phase: int | None = None,
        level: int = 0,
        stages: Sequence[str] | None = None,
        weights: str | Path | None = None,
    ) -> None:
        rest = list(given)
        if rest and isinstance(rest[0], str | Path):
            weights = rest.pop(0)
        for name, value in zip(("phase", "level", "stages", "weights"), rest, strict=False):
            phase = value if name == "phase" else phase
            level = value if name == "level" else level
            stages = value if name == "stages" else stages
            weights = value if name == "weights" else weights
        if phase not in PHASES:
            raise UserError(f"a net takes the phase caffe.TRAIN or caffe.TEST, not {phase!r}")
        self._core = Core(table(read_net(network_file), PHASES[phase], level, stages or ()), phase)
        self._wrap()
        if weights is not None:
            self.copy_from(weights)

    @classmethod
    def of(cls, core: Core) -> PycaffeNet:
        """The net of layers that were set up already."""
        made = cls.__new__(cls)
        made._core = core
        made._wrap()
        return made

    def _wrap(self) -> None:
        rows = self._core.rows
        self._layer_names = [row.entry.name for row in rows]
        self._named: OrderedDict[str, Named] = self._core.named
        self._params = OrderedDict((row.entry.name, row.blobs.blobs) for row in rows if row.slots)
        self._blob_names = names = list(self._named)
        self._blobs = list(self._named.values())
        self._blob_loss_weights = list(self.blob_loss_weights.values())
        self._inputs = [names.index(name) for name in self._core.table.inputs]
        self._outputs = [names.index(name) for name in self._core.table.outputs]

    # What it holds --------------------------------------------------------------------------------------------------

    @property
    def blobs(self) -> OrderedDict[str, Named]:
        """Blobs by name, in the order in which they are made; copies for several readers among them."""
        return self._named

    @property
    def params(self) -> OrderedDict[str, BlobVec]:
        """The parameters of each layer that has any, by its name."""
        return self._params

    @property
    def layers(self) -> list[AnyLayer]:
        """The layers in order."""
        return [row.blobs for row in self._core.rows]

    @property
    def layer_dict(self) -> OrderedDict[str, AnyLayer]:
        """The layers by name."""
        return OrderedDict(zip(self._layer_names, self.layers, strict=True))

    @property
    def blob_loss_weights(self) -> OrderedDict[str, float]:
        """What each blob weighs in the loss, by name."""
        found = OrderedDict.fromkeys(self._named, 0.0)
        for row in self._core.rows:
            for top, weight in zip(row.tops, row.entry.weights, strict=False):
                found[top.name] = weight or found[top.name]
        return found

    @property
    def bottom_names(self) -> OrderedDict[str, list[str]]:
        """The blobs that each layer reads."""
        return OrderedDict((row.entry.name, [blob.name for blob in row.bottoms]) for row in self._core.rows)

    @property
    def top_names(self) -> OrderedDict[str, list[str]]:
        """The blobs that each layer makes."""
        return OrderedDict((row.entry.name, [blob.name for blob in row.tops]) for row in self._core.rows)

    @property
    def inputs(self) -> list[str]:
        """The tops of Input layers."""
        return list(self._core.table.inputs)

    @property
    def outputs(self) -> list[str]:
        """The blobs that no layer reads, sorted by name as Caffe does."""
        return list(self._core.table.outputs)

    def _bottom_ids(self, layer: int) -> list[int]:
        """The blobs that a layer reads, by number."""
        return [self._blob_names.index(blob.name) for blob in self._core.rows[layer].bottoms]

    def _top_ids(self, layer: int) -> list[int]:
        """The blobs that a layer makes, by number."""
        return [self._blob_names.index(blob.name) for blob in self._core.rows[layer].tops]

    # Passes ---------------------------------------------------------------------------------------------------------

    def _place(self, name: str) -> int:
        if name not in self._layer_names:
            raise ValueError(f"the net has no layer {name!r}; it has {', '.join(self._layer_names)}")
        return self._layer_names.index(name)

    def _forward(self, start: int, end: int) -> float:
        """Run layers by number: the loss."""
        return self._core.forward_rows(start, end)

    def _backward(self, start: int, end: int) -> None:
        self._core.backward_rows(start, end)

    def forward(
        self, blobs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Array]:
        """Run the layers from `start` to `end`: the data of the net's outputs (or of `end`'s tops), and of `blobs`.

        kwargs: what inputs are set to before, each of which has as many records as the blob.
        """
        first = self._place(start) if start is not None else 0
        last = self._place(end) if end is not None else len(self._layer_names) - 1
        names = self.top_names[end] if end is not None else self.outputs
        self._set(kwargs, self.inputs, "data")
        self._forward(first, last)
        return {name: self._named[name].data for name in dict.fromkeys((*names, *(blobs or ())))}

    def backward(
        self, diffs: Sequence[str] | None = None, start: str | None = None, end: str | None = None, **kwargs: Any
    ) -> dict[str, Array]:
        """Run the layers back from `start` to `end`: diffs of the net's inputs (or `end`'s bottoms), and `diffs`.

        kwargs: what the diffs of outputs are set to before.
        """
        first = self._place(start) if start is not None else len(self._layer_names) - 1
        last = self._place(end) if end is not None else 0
        names = self.bottom_names[end] if end is not None else self.inputs
        self._set(kwargs, self.outputs, "diff")
        self._backward(first, last)
        return {name: self._named[name].diff for name in dict.fromkeys((*names, *(diffs or ())))}

    def _set(self, given: Mapping[str, Any], names: Sequence[str], what: str) -> None:
        if not given:
            return
        if set(given) != set(names):
            raise Exception(
                f"{what} is given for {', '.join(given)}; the net takes all of {', '.join(names) or 'none'}"
            )
        for name, value in given.items():
            blob, array = self._named[name], np.asarray(value)
            if not array.shape or not blob.shape or array.shape[0] != blob.shape[0]:
                raise Exception(f"{name}: {array.shape} is given, the blob has {blob.shape[:1]} records")
            getattr(blob, what)[...] = array

    def forward_all(self, blobs: Sequence[str] | None = None, **kwargs: Any) -> dict[str, Array]:
        """Run the net on any number of records, batch by batch: what it made of them, as new arrays."""
        found: dict[str, list[Array]] = {name: [] for name in dict.fromkeys((*self.outputs, *(blobs or ())))}
        for batch in self._batch(kwargs):
            for name, array in self.forward(blobs=blobs, **batch).items():
                found[name].extend(array.copy())
        return self._whole(found, kwargs)

    def forward_backward_all(
        self, blobs: Sequence[str] | None = None, diffs: Sequence[str] | None = None, **kwargs: Any
    ) -> tuple[dict[str, Array], dict[str, Array]]:
        """Run the net forward and back on any number of records: what it made of them, and the diffs.

        kwargs: inputs, and diffs of outputs, by name.
        """
        made: dict[str, list[Array]] = {name: [] for name in dict.fromkeys((*self.outputs, *(blobs or ())))}
        back: dict[str, list[Array]] = {name: [] for name in dict.fromkeys((*self.inputs, *(diffs or ())))}
        ahead = self._batch({name: kwargs[name] for name in self.inputs if name in kwargs})
        behind = self._batch({name: kwargs[name] for name in self.outputs if name in kwargs})
        for batch in ahead:
            for name, array in self.forward(blobs=blobs, **batch).items():
                made[name].extend(array.copy())
            for name, array in self.backward(diffs=diffs, **next(behind, {})).items():
                back[name].extend(array.copy())
        return self._whole(made, kwargs), self._whole(back, kwargs)

    @staticmethod
    def _whole(found: Mapping[str, list[Array]], given: Mapping[str, Any]) -> dict[str, Array]:
        """Arrays of as many records as were given, without those that filled the last batch."""
        count = len(next(iter(given.values()))) if given else None
        return {name: np.asarray(arrays)[:count] for name, arrays in found.items()}

    def _batch(self, given: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        """Records in batches of the net's size, the last filled with zeros."""
        if not given:
            return
        size = next(iter(self._named[name].num for name in given))
        count = len(next(iter(given.values())))
        for at in range(0, count, size):
            batch = {}
            for name, values in given.items():
                part = np.asarray(values[at : at + size])
                filled = np.zeros((size, *part.shape[1:]), part.dtype)
                filled[: len(part)] = part
                batch[name] = filled
            yield batch

    def set_input_arrays(self, data: Array, labels: Array) -> None:
        """Give a MemoryData layer, which is the net's first, its records; the arrays are kept and not copied."""
        host = self._core.rows[0].host if self._core.rows else None
        if not isinstance(host, MemoryData):
            raise UserError("set_input_arrays is for a net whose first layer is a MemoryData")
        if labels.ndim == 1:
            labels = np.ascontiguousarray(labels[:, np.newaxis, np.newaxis, np.newaxis])
        host.give(data, labels)

    def reshape(self) -> None:
        """Give all blobs the shapes that follow from those of the inputs; `forward` does it by itself."""
        self._core.fit(self._core.rows)

    def clear_param_diffs(self) -> None:
        """Set the diffs of all parameters to 0, in their place."""
        state = self._core.state
        names = [slot.diff for row in self._core.rows for slot in row.slots]
        state.writing(names)
        for name in names:
            state.buffers[name][...] = 0
        state.touch()

    # Hooks ----------------------------------------------------------------------------------------------------------

    def before_forward(self, call: Callable[[int], object]) -> None:
        """Call a function with the number of each layer before it runs; layers are then run one by one."""
        self._core.hooks["before_forward"].append(call)

    def after_forward(self, call: Callable[[int], object]) -> None:
        """Call a function after each layer ran."""
        self._core.hooks["after_forward"].append(call)

    def before_backward(self, call: Callable[[int], object]) -> None:
        """Call a function before each layer runs backward."""
        self._core.hooks["before_backward"].append(call)

    def after_backward(self, call: Callable[[int], object]) -> None:
        """Call a function after each layer ran backward."""
        self._core.hooks["after_backward"].append(call)

    # Files and other nets -------------------------------------------------------------------------------------------

    def copy_from(self, weights: str | Path) -> None:
        """Take the weights of a `.caffemodel` or `.caffemodel.h5`, by the names of layers; others keep what they have.

        UserError where a layer's blobs are of another number or shape.
        """
        copy_trained(self, Path(weights))

    def save(self, path: str | Path) -> None:
        """Write all parameters as a `.caffemodel`."""
        write_net(self, Path(path), hdf5=False)

    def save_hdf5(self, path: str | Path) -> None:
        """Write all parameters as a `.caffemodel.h5`."""
        write_net(self, Path(path), hdf5=True)

    def load_hdf5(self, path: str | Path) -> None:
        """Take the weights of a `.caffemodel.h5`."""
        read_hdf5(self, Path(path))

    def share_with(self, other: PycaffeNet) -> None:
        """Have another net's parameters, by the names of layers, in the place of one's own; diffs stay apart."""
        own = self.layer_dict
        moved: list[tuple[ParamBlob, ParamBlob]] = []
        for name, layer in other.layer_dict.items():
            if name not in own:
                continue
            pairs = list(zip(own[name].blobs, layer.blobs, strict=False))
            if len(own[name].blobs) != len(layer.blobs) or any(a.shape != b.shape for a, b in pairs):
                raise UserError(f"`{name}` has other parameters in the other net, and cannot share them")
            for mine, theirs in pairs:
                assert isinstance(mine, ParamBlob)
                assert isinstance(theirs, ParamBlob)
                if mine.address != theirs.address:
                    moved.append((mine, theirs))
        if moved:
            self._core.fill()  # with the parameters that the last pass had
            self._core.shared = object()
        for mine, theirs in moved:
            mine.share(theirs)

    def __repr__(self) -> str:
        phase = "TRAIN" if self._core.phase == TRAIN else "TEST"
        return f"<caffe.Net {self._core.table.message.get('name')!r}, {phase}: {len(self.layers)} layers>"


Net = PycaffeNet  # the name that scripts know
