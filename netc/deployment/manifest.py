"""The manifest of a net compiled ahead of time, read with all it claims checked: it may be anybody's.

Sizes and addresses must fit the memory that it asks for, files must lie in the folder and be those that were written.
Relies on numpy only: shipped with the net, as `netc_manifest.py`.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection
from typing import Any

import numpy as np

LARGEST_MANIFEST = 1 << 24  # bytes
TARGET = "triton"  # whose folders the launchers run; they are shipped, and cannot ask netc's table of targets
MOST_BYTES = 1 << 40  # of one net on a device
LARGEST = 3.5e38  # about the largest f32
DTYPES = {
    "f64": "<f8", "f32": "<f4", "f16": "<f2", "bf16": "<u2", "i64": "<i8", "i32": "<i4", "u32": "<u4", "u8": "u1",
    "bool": "?",
}  # fmt: skip

Table = dict[str, Any]  # of JSON


def refused(reason: str) -> ValueError:
    """The error for what a manifest says; what it quotes may hold characters that would drive a terminal."""
    return ValueError("".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in reason))


def span(entry: Table) -> int:
    """Elements from the first to the last, both included."""
    if 0 in entry["shape"]:
        return 0
    last: int = sum((size - 1) * stride for size, stride in zip(entry["shape"], entry["strides"], strict=True))
    return 1 + last


def read_manifest(folder: str) -> Table:
    """The manifest, with what does not depend on the architecture checked."""
    path = os.path.join(folder, "manifest.json")
    if not os.path.isfile(path):
        raise refused("there is no manifest.json")
    if os.path.getsize(path) > LARGEST_MANIFEST:
        raise refused("the manifest is too large")
    with open(path, "rb") as file:
        try:
            manifest = json.loads(file.read(LARGEST_MANIFEST))
        except (ValueError, RecursionError):
            raise refused("the manifest is not JSON") from None
    _table(manifest, "the manifest")
    if manifest.get("format") != 1 or manifest.get("target") != TARGET:
        raise refused("the manifest is not one of a net compiled for a GPU by this version of netc")
    for key in ("archs", "files", "weights", "transforms"):
        _table(manifest.get(key), key)
    _check_records(manifest)
    _whole(manifest["weights"].get("bytes"), "bytes of weights", MOST_BYTES)
    return manifest  # type: ignore[no-any-return]


def _check_records(manifest: Table) -> None:
    """What is said of records: scale, mean and crop of inputs, the numbers that they may hold, and names of classes."""
    for name, rule in manifest["transforms"].items():
        _table(rule, name)
        numbers = [rule.get("scale"), *_list(rule.get("mean"), name)]
        if not all(isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= LARGEST for x in numbers):
            raise refused(f"the manifest gives {name} a scale or a mean that is no f32")
        if not isinstance(rule.get("text"), str) or not isinstance(rule.get("mean_file"), str):
            raise refused(f"the manifest does not say what happens to {name}")
        crop = _list(rule.get("crop"), name)
        if len(crop) not in (0, 2):
            raise refused(f"the manifest crops {name} along {len(crop)} axes")
        for size in crop:
            _whole(size, "a crop", MOST_BYTES, least=1)
    for one in _list(manifest.get("ranges"), "ranges"):
        if not isinstance(one, list) or len(one) != 5:
            raise refused("the manifest has a range that is none")
        name, count, ignored, *texts = one
        _whole(count, "a range", 1 << 62)
        if ignored is not None:
            _whole(ignored, "a label to ignore", 1 << 62, least=-(1 << 62))
        if not all(isinstance(text, str) for text in (name, *texts)):
            raise refused("the manifest has a range that is none")
    if not all(isinstance(label, str) for label in _list(manifest.get("labels"), "labels")):
        raise refused("the manifest has a label that is no text")


def _list(value: Any, about: str) -> list[Any]:
    if not isinstance(value, list):
        raise refused(f"the manifest has no list for {about}")
    return value


def check_architecture(arch: Any, weights: int) -> Table:
    """The tables of an architecture, if all that they name is in them, and all addresses are in the net's memory."""
    for key in ("memory", "inputs", "outputs", "state", "kernels"):
        _table(_table(arch, "an architecture").get(key), key)
    memory = arch["memory"]
    size = _whole(memory.get("bytes"), "bytes of memory", MOST_BYTES, least=max(1, weights))
    _whole(memory.get("scratch"), "the scratch memory", size)
    for name, base in _table(memory.get("bases"), "bases").items():
        start = _whole(_table(base, name).get("start"), name, size)
        _whole(base.get("bytes"), name, size - start)
    for entry in arch["kernels"].values():
        _whole(_table(entry, "a kernel").get("threads"), "threads", 1024, least=1)
        _whole(entry.get("shared"), "shared memory", 1 << 20)
        if not isinstance(entry.get("symbol"), str):
            raise refused("the manifest has a kernel without a symbol")
    if not isinstance(arch.get("launches"), list):
        raise refused("the manifest has no launches")
    for launch in arch["launches"]:
        kernel = _table(launch, "a launch").get("kernel")
        if not _named(kernel, arch["kernels"]) or not _named(launch.get("phase"), ("prepare", "step")):
            raise refused("the manifest has a launch of no kernel")
        if not isinstance(launch.get("grid"), list) or len(launch["grid"]) != 3:
            raise refused("the manifest has a launch without a grid")
        for count in launch["grid"]:
            _whole(count, "a grid", (1 << 31) - 1, least=1)
        if not isinstance(launch.get("arguments", []), list):
            raise refused("the manifest has a launch without arguments")
        for argument in launch.get("arguments", []):
            base = _table(argument, "an argument").get("base")
            if not _named(base, memory["bases"]):
                raise refused("the manifest has an argument without a base")
            _whole(argument.get("offset"), "an argument", memory["bases"][base]["bytes"])
    for kind in ("inputs", "outputs", "state"):
        for name, entry in arch[kind].items():
            _check_value(name, _table(entry, name), size)
    return arch  # type: ignore[no-any-return]


def _check_value(name: str, entry: Table, memory: int) -> None:
    if not _named(entry.get("dtype"), DTYPES) or not _named(entry.get("stored"), DTYPES):
        raise refused(f"the manifest gives {name} no element type")
    shape, strides = entry.get("shape"), entry.get("strides")
    if not isinstance(shape, list) or not isinstance(strides, list) or len(shape) != len(strides) or len(shape) > 32:
        raise refused(f"the manifest gives {name} no shape")
    count = 1
    for number, stride in zip(shape, strides, strict=True):
        count *= _whole(number, name, memory)
        _whole(count, name, memory)
        _whole(stride, name, memory)
    start = _whole(entry.get("start"), name, memory)
    _whole(span(entry) * np.dtype(DTYPES[entry["stored"]]).itemsize, name, memory - start)


def _named(value: Any, known: Collection[str]) -> bool:
    """Whether a value of JSON, which may be a list, is one of these names."""
    return isinstance(value, str) and value in known


def _table(value: Any, about: str) -> Table:
    if not isinstance(value, dict):
        raise refused(f"the manifest has no table for {about}")
    return value


def _whole(value: Any, about: str, most: int, *, least: int = 0) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise refused(f"the manifest gives {about} as {str(value)[:40]}, outside of {least} to {most}")
    return value


def read_file(folder: str, manifest: Table, name: Any) -> bytes:
    """A file of the folder, if its size and SHA-256 are those of the manifest."""
    if not isinstance(name, str) or not re.fullmatch(r"(\w+/)?\w[\w.-]*", name):
        raise refused(f"the manifest names a file `{str(name)[:40]}`, outside of the folder")
    entry = _table(manifest["files"].get(name), name)
    path = os.path.join(folder, *name.split("/"))
    if not os.path.isfile(path):
        raise refused(f"{name} is missing")
    if os.path.getsize(path) != entry.get("bytes"):
        raise refused(f"{name} has {os.path.getsize(path)} bytes, not those that were written")
    with open(path, "rb") as file:
        data = file.read()
    if hashlib.sha256(data).hexdigest() != entry.get("sha256"):
        raise refused(f"{name} is not the file that was written: its SHA-256 is another")
    return data
