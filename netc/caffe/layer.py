"""Layers as scripts see them: those of a net, and the base of those in Python."""

from __future__ import annotations

from .blob import Blob, BlobVec


class Layer:
    """The base of layers in Python: `setup` is called once, `reshape` before each `forward`.

    param_str: the text of the layer's `python_param`. phase: TRAIN or TEST, of its net. blobs: its parameters, those
    that `setup` adds by `self.blobs.add_blob(…)`.
    """

    type = "Python"
    phase = 0

    def __init__(self) -> None:
        self.param_str = ""
        self.blobs = BlobVec()

    def setup(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Read `param_str`, check how many bottoms and tops there are, add parameters."""

    def reshape(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Give the tops their shapes."""

    def forward(self, bottom: list[Blob], top: list[Blob]) -> None:
        """Write the data of the tops."""
        raise NotImplementedError("a layer in Python needs `forward`")

    def backward(self, top: list[Blob], propagate_down: list[bool], bottom: list[Blob]) -> None:
        """Write the diff of those bottoms to which gradients flow."""
        raise NotImplementedError("a layer in Python through which gradients flow needs `backward`")


class NetLayer:
    """A layer of a net: its type as Caffe names it, and its parameters."""

    def __init__(self, type_: str, blobs: BlobVec) -> None:
        self.type = type_
        self.blobs = blobs

    def __repr__(self) -> str:
        return f"<{self.type} layer with {len(self.blobs)} blobs>"
