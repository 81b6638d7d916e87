"""Models in the place of a `.net`: those of ONNX, read in memory, and packages of the zoo, each with its weights.

Whoever takes a file of a net takes these: the text goes through the same door as any other, and the weights that the
model holds are those of the net, unless others are named.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from .grammar.source import Source, UserError
from .request import Request
from .weights import Weights

ONNX = ".onnx"
Notify = Callable[[str], None]


def _nothing() -> None:
    """There is nothing to close."""


@dataclass(frozen=True)
class StoredModel:
    """A net's file or text, its weights, the net's name in it, and the names of its classes.

    dims: of the sizes that are asked for those that are not in the text already. close: to be called when it is not
    needed any more.
    """

    file: Path | Source
    weights: Weights
    dims: Mapping[str, int]
    net: str | None = None
    labels: Path | None = None
    close: Callable[[], Any] = _nothing


def is_model(path: Path) -> bool:
    """Whether a path names a model that is no text: by its name, or as a folder with a manifest."""
    if path.suffix in (".net", ".prototxt"):  # without a look at what packages are
        return False
    from .runtime.package import MANIFEST, SUFFIX

    return path.suffix in (ONNX, SUFFIX) or (path / MANIFEST).is_file()


def untrainable(path: Path) -> UserError:
    """What training says of a model."""
    told = "it was trained elsewhere, and has no `train` block; `netc convert` writes a .net, which can have one"
    return UserError(f"{path}: is a model: {told}")


def opened(path: Path, want: Request, notify: Notify) -> StoredModel:
    """A model, read. Raises UserError for what is damaged, SourceErrors for operators that are not known."""
    return _onnx(path, want, notify) if path.suffix == ONNX else _package(path, want)


def _onnx(path: Path, want: Request, notify: Notify) -> StoredModel:
    from .onnx.imported import build, read

    if want.settings:
        raise UserError(f"{path}: a model has no settings: leave out --set {next(iter(want.settings))}")
    free = {"N": want.dims["N"]} if "N" in want.dims else {}
    net = read(path, replace(want, dims={name: size for name, size in want.dims.items() if name != "N"}))
    for note in net.notes:
        notify(note)
    made = build(net, replace(want, device="cpu", target="numpy"), path)
    return StoredModel(Source(str(path), net.text), Weights(held=made.state), free)


def _package(path: Path, want: Request) -> StoredModel:
    from .runtime.package import Package

    package = Package(path)
    said, folder = package.manifest, path
    close: Callable[[], Any] = _nothing
    if package.folder:
        if wrong := [name for name, same in package.sums().items() if not same]:
            raise UserError(f"{path}: {wrong[0]} is not the file that was packed: its SHA-256 differs")
    else:
        holder = tempfile.TemporaryDirectory(prefix="netc-model-")
        folder, close = Path(holder.name), holder.cleanup
        try:
            package.unpack(folder)
        except BaseException:
            holder.cleanup()
            raise
    labels = folder / said.labels if said.labels else None
    return StoredModel(folder / said.file, Weights((folder / said.weights,)), want.dims, said.net, labels, close)
