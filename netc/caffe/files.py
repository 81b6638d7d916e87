"""A net's weights in files: Caffe's rules of what goes where (`Net::CopyTrainedLayersFrom`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..grammar.source import UserError
from ..runtime.caffe.blob import Blob
from ..runtime.caffe.hdf5 import is_hdf5, read_model_hdf5, write_model_hdf5
from ..runtime.caffe.model import Layer, Model, plain_layer, read_model, write_model

if TYPE_CHECKING:
    from .net import Net


def copy_trained(net: Net, path: Path) -> None:
    """Weights of a file into a net."""
    if not path.is_file():
        raise RuntimeError(f"Could not open file {path}")
    if is_hdf5(path):
        read_hdf5(net, path)
    else:
        _copy(net, path, read_model(path).layers)


def read_hdf5(net: Net, path: Path) -> None:
    """The same of a file in HDF5, which does not say of a layer that it has no blobs."""
    _copy(net, path, [layer for layer in read_model_hdf5(path).layers if layer.blobs])


def _copy(net: Net, path: Path, layers: Sequence[Layer]) -> None:
    """Nothing is copied if anything does not fit."""
    own = net.layer_dict
    known = [layer for layer in layers if layer.name in own]
    for layer in known:
        blobs = own[layer.name].blobs
        if len(blobs) != len(layer.blobs):
            raise UserError(f"{path}: `{layer.name}` has {len(layer.blobs)} blobs, the net's has {len(blobs)}")
        for i, (blob, given) in enumerate(zip(blobs, layer.blobs, strict=True)):
            if not given.fits(blob.shape):
                shapes = f"shape mismatch: {list(given.shape)} in the file, {list(blob.shape)} in the net"
                hint = "to learn it from scratch, give the layer another name"
                raise UserError(f"{path}: cannot copy blob {i} of the layer `{layer.name}`; {shapes}; {hint}")
    for layer in known:
        for blob, given in zip(own[layer.name].blobs, layer.blobs, strict=True):
            np.copyto(blob.data, given.data.reshape(blob.shape), casting="same_kind")


def write_net(net: Net, path: Path, *, hdf5: bool, diffs: bool = False) -> None:
    """All layers of a net with their blobs, whole or not at all."""
    layers = [
        plain_layer(name, layer.type, [Blob(blob.data, blob.diff if diffs else None) for blob in layer.blobs])
        for name, layer in zip(net._layer_names, net.layers, strict=True)
    ]
    model = Model(str(net._core.table.message.get("name")), tuple(layers))
    if hdf5:
        write_model_hdf5(path, model)
    else:
        write_model(path, model)
