"""Small files of Caffe's, made by protobuf itself, which then says what is in a file of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from netc.caffe.proto import caffe_pb2 as pb

Array = np.ndarray[Any, Any]


def numbers(*shape: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def blob_message(array: Array, *, legacy: bool = False, diff: Array | None = None) -> Any:
    """A BlobProto, its values single or double as the array's."""
    double = array.dtype == np.float64
    values = {"double_data" if double else "data": array.ravel().tolist()}
    if diff is not None:
        values["double_diff" if double else "diff"] = diff.ravel().tolist()
    if not legacy:
        return pb.BlobProto(shape=pb.BlobShape(dim=array.shape), **values)
    num, channels, height, width = (1,) * (4 - array.ndim) + array.shape
    return pb.BlobProto(num=num, channels=channels, height=height, width=width, **values)


def net_message(layers: Mapping[str, Sequence[Array]], *, form: int = 2) -> Any:
    """A NetParameter with layers of these names and blobs, today's or V1."""
    net = pb.NetParameter(name="made")
    for name, arrays in layers.items():
        blobs = [blob_message(array, legacy=form == 1) for array in arrays]
        if form == 2:
            convolution = pb.ConvolutionParameter(num_output=7)
            net.layer.add(name=name, type="Convolution", top=[name], blobs=blobs, convolution_param=convolution)
        else:
            net.layers.add(name=name, type=pb.V1LayerParameter.CONVOLUTION, top=[name], blobs=blobs)
    return net
