"""An imported net, built: its state, and ONNX Runtime on the model beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ..driver import Compilation, compilation
from ..grammar.source import Source, UserError
from ..request import Request
from ..runtime.atomic import write_text
from ..runtime.state import State
from .comparing import Array, Difference, difference, run
from .importing import Imported, import_model

# More than rounding, in units of the largest value; of nets in 16 bits, which are f32 here.
TOO_FAR, TOO_FAR_NARROW = 1e-3, 0.05
RECORDS = 2


@dataclass(frozen=True)
class Built:
    """The program of an imported net for a few records, with the weights in its state."""

    net: Imported
    program: Compilation
    state: State

    def compare(self, path: Path, seed: int = 0) -> list[Difference]:
        """The differences of the outputs on random input. UserError where one is no rounding."""
        rng = np.random.default_rng(seed)
        feeds: dict[str, Array] = {}
        for name, type_ in self.program.net.inputs.items():
            shape = tuple(map(int, type_.shape))
            drawn = rng.standard_normal(shape) if type_.is_float else rng.integers(0, 2, shape)
            feeds[name] = drawn.astype(type_.numpy_dtype)
        ours = self.program.executables(self.state)[0].run(feeds)
        given = {old: feeds[new].astype(self.net.types[old]) for old, new in self.net.inputs.items() if new in feeds}
        unread = {old: np.zeros(self.shape_of(old), self.net.types[old]) for old in self.net.inputs if old not in given}
        theirs = run(path, {**given, **unread})
        found = [Difference(new, difference(theirs[old], ours[new])) for old, new in self.net.outputs.items()]
        narrow = any(dtype.itemsize == 2 for dtype in self.net.types.values())
        for one in found:
            if not one.size < (TOO_FAR_NARROW if narrow else TOO_FAR):
                raise UserError(f"{path}: the output {one} from what ONNX Runtime computes; nothing is written")
        return found

    def shape_of(self, name: str) -> tuple[int, ...]:
        """The shape of an input of the model that the net does not read."""
        return tuple(RECORDS if size == "N" else int(size) for size in self.net.shapes[name])

    def save(self, target: Path) -> Path:
        """Write the text, and the weights beside it; where these lie."""
        weights = target.with_suffix(".safetensors")
        self.state.save(weights)
        write_text(target, self.net.text)
        return weights


def read(path: Path, want: Request) -> Imported:
    """The net of a model; see `import_model`."""
    shapes: Mapping[str, Sequence[int]] = want.reading.shapes
    return import_model(path, dims=want.dims, shapes=shapes)


def build(net: Imported, want: Request, path: Path) -> Built:
    """The net of a text that was made of a model, built by the one builder, with its weights."""
    dims = {"N": net.batch or RECORDS} if net.free else {}
    asked = replace(want, mode="test", deployed=True, update=False, dims=dims, outputs=None, net=None)
    program = compilation(Source(f"{path.stem}.net", net.text), asked)
    state = State(program.state)
    for name in state:
        state[name] = net.weights[name]
    return Built(net, program, state)
