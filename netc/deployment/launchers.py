"""Generated C tables, and the page for readers: what makes the launchers of a folder those of its net.

Written from the folder's manifest alone, so that all three say the same.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

from .c_text import Array, mean_of, number, place, sizes, string, table, words

EXACT = 90  # from this compute capability on triton's code is for one architecture and no later one
KINDS = {"inputs": "NETC_INPUT", "outputs": "NETC_OUTPUT", "state": "NETC_STATE"}


def tables(manifest: Mapping[str, Any], folder: Path, means: Mapping[str, Array] = MappingProxyType({})) -> str:
    """`netc_tables.h`: the manifest's NVIDIA architectures as C.

    folder: holds the files of the kernels. means: images, by their files.
    """
    weights = manifest["weights"]
    archs = {name: arch for name, arch in manifest["archs"].items() if name.startswith("cuda:")}
    launches = [launch for arch in archs.values() for launch in arch["launches"]]
    lines = [
        f"/* The tables of {words(manifest['net'])} ({manifest['mode']}), written by netc {manifest['netc']}. */",
        f"#define WEIGHTS {string(weights['file'])}",
        f"#define WEIGHTS_BYTES (size_t){weights['bytes']}u",
        f"#define WEIGHTS_SUM {weights['crc32']}u",
        f"#define MOST_ARGUMENTS {max((len(launch['arguments']) for launch in launches), default=0)}",
        *_records(manifest, means),
    ]
    rows = []
    for name, arch in archs.items():
        own = name.replace(":", "_")
        ordered = sorted(arch["launches"], key=lambda launch: launch["phase"] != "prepare")
        numbers = {kernel: number for number, kernel in enumerate(arch["kernels"])}
        lines += ["", *_kernels(own, arch["kernels"], folder), *_launches(own, ordered, numbers, arch["memory"])]
        places = [place(key, KINDS[kind], entry) for kind in KINDS for key, entry in arch[kind].items()]
        lines += table("netc_place", f"places_{own}", places)
        prepare = sum(launch["phase"] == "prepare" for launch in ordered)
        capability = int(name.removeprefix("cuda:"))
        rows.append(
            f"{{{capability}, {int(capability >= EXACT)}, kernels_{own}, {len(arch['kernels'])}, launches_{own}, "
            f"{prepare}, {len(ordered) - prepare}, offsets_{own}, places_{own}, {len(places)}, "
            f"(size_t){arch['memory']['bytes']}u, (size_t){arch['memory']['scratch']}u}}"
        )
    lines += ["", *table("netc_architecture", "architectures", rows)]
    return "\n".join(lines) + "\n"


def _records(manifest: Mapping[str, Any], means: Mapping[str, Array]) -> list[str]:
    """What happens to records, which numbers inputs may hold, and the names of the classes."""
    lines: list[str] = []
    rows = []
    for k, (name, rule) in enumerate(manifest["transforms"].items()):
        size = rule["record"]
        flat = [number(x) for x in mean_of(rule, means)]
        lines += table("float", f"mean_{k}", [", ".join(flat[i : i + 8]) for i in range(0, len(flat), 8)])
        text = string(rule["text"])
        rows.append(
            f"{{{string(name)}, {text}, {number(rule['scale'])}, mean_{k}, {len(flat)}, {len(size)}, {sizes(size)}}}"
        )
    lines += table("netc_rule", "rules", rows)
    lines.append(f"static const size_t rule_count = {len(rows)};")
    ranges = [
        f"{{{string(name)}, {count}, {int(ignored is not None)}, {int(ignored or 0)}, {', '.join(map(string, said))}}}"
        for name, count, ignored, *said in manifest["ranges"]
    ]
    lines += [*table("netc_range", "ranges", ranges), f"static const size_t range_count = {len(ranges)};"]
    labels = [string(label) for label in manifest["labels"]]
    return [*lines, *table("char *const", "labels", labels), f"static const size_t label_count = {len(labels)};"]


def _kernels(own: str, kernels: Mapping[str, Any], folder: Path) -> list[str]:
    rows = []
    for entry in kernels.values():
        files = [entry["code"], entry["assembly"]]
        data = [(folder / file).read_bytes() for file in files]
        rows.append(
            f"{{{string(entry['symbol'])}, {string(files[0])}, {string(files[1])}, {len(data[0])}, {len(data[1])}, "
            f"{zlib.crc32(data[0])}u, {zlib.crc32(data[1])}u, {entry['threads']}, {entry['shared']}}}"
        )
    return table("netc_kernel", f"kernels_{own}", rows)


def _launches(
    own: str, launches: Iterable[Mapping[str, Any]], numbers: Mapping[str, int], memory: Mapping[str, Any]
) -> list[str]:
    rows: list[str] = []
    offsets: list[str] = []
    for launch in launches:
        x, y, z = launch["grid"]
        count = len(launch["arguments"])
        note = words(", ".join(launch["layers"])) or "no layer"
        kernel = launch["kernel"]
        rows.append(f"{{{numbers[kernel]}, {{{x}, {y}, {z}}}, {len(offsets)}, {count}}} /* {kernel}: {note} */")
        offsets += [
            str(memory["bases"][argument["base"]]["start"] + argument["offset"]) + "u"
            for argument in launch["arguments"]
        ]
    return [
        *table("uint64_t", f"offsets_{own}", [", ".join(offsets[i : i + 12]) for i in range(0, len(offsets), 12)]),
        *table("netc_launch", f"launches_{own}", rows),
    ]


def readme(manifest: Mapping[str, Any]) -> str:
    """The page for those who open the folder."""
    arch = next(iter(manifest["archs"].values()))
    net = words(manifest["net"])

    def listed(kind: str) -> str:
        return ", ".join(f"`{name}` {v['dtype']}{v['shape']}" for name, v in arch[kind].items()) or "none"

    names = ", ".join(manifest["archs"])
    kernels = sum(len(one["kernels"]) for one in manifest["archs"].values())
    c_part = (
        _in_c(manifest, arch)
        if any(name.startswith("cuda:") for name in manifest["archs"])
        else "The C launcher is for NVIDIA's GPUs, none of which is among the architectures.\n"
    )
    return (
        f"# {net} ({manifest['mode']}), compiled for {names}\n\n"
        f"{kernels} kernels, {len(arch['launches'])} launches, {arch['memory']['bytes']:,} bytes on the device. "
        f"Made by netc {manifest['netc']} with triton {manifest['triton']}; neither is needed to run it.\n\n"
        f"Inputs: {listed('inputs')}. Outputs: {listed('outputs')}. State: {listed('state')}.\n\n"
        "With Python and numpy, and the GPU's driver:\n\n"
        "    python netc_program.py INPUT.npz -o OUTPUT.npz\n\n"
        "or `from netc_program import Net`: a `Net()` is called with the inputs by name, and returns the outputs. "
        "Its `set` and `get` copy inputs, outputs and state. "
        f"Inputs that were never set are zero.{_learning(arch)}\n\n"
        f"{c_part}\n"
        "`manifest.json` has every launch with grid, arguments and lines, every kernel with registers and flags, and "
        "the SHA-256 of every file.\n"
    )


def _learning(arch: Mapping[str, Any]) -> str:
    """What those must know who run a step that learns."""
    if ".rate" not in arch["inputs"]:
        return ""
    return (
        "\n\nEach call is a step that learns: it changes the state on the device, by the rate `.rate`, as in "
        "`net(**inputs, **{'.rate': 0.01})`. No file of the folder changes: get the weights with `get`, and save them."
    )


def _in_c(manifest: Mapping[str, Any], arch: Mapping[str, Any]) -> str:
    """How the C launcher is built, and what main.c takes if it fits the net."""
    build = "cc -O2 -I$CUDA_HOME/include {} netc_program.c -o {} -lcuda"
    images = [v for v in arch["inputs"].values() if v["dtype"] == "f32" and len(v["shape"]) > 2]
    prob = arch["outputs"].get("prob")
    text = (
        "With a C compiler, CUDA's header (`cuda.h`, of the toolkit in CUDA_HOME) and the driver's library (on "
        "a machine without a GPU, `-L$CUDA_HOME/lib64/stubs` has one to link with):\n\n"
    )
    if prob is None or prob["dtype"] != "f32" or len(prob["shape"]) != 2 or len(images) != 1:
        return (
            f"{text}    {build.format('YOURS.c', 'yours')}\n\n`netc_program.h` says how. `main.c` is an example, for "
            "nets with one input of images and an output `prob` of f32[images, classes].\n"
        )
    name = next(name for name, entry in arch["inputs"].items() if entry is images[0])
    rule = manifest["transforms"].get(name)
    shape = rule["record"] if rule else images[0]["shape"][1:]
    count = math.prod(shape)
    then = f" Then {words(rule['text'])}." if rule else ""
    return (
        f"{text}    {build.format('main.c', 'classify')}\n    ./classify . IMAGE\n\n"
        f"`main.c` classifies a raw image: a file of {shape} values, {count:,} bytes for pixels or {4 * count:,} for "
        f"f32.{then} `netc_program.h` "
        "says how to run the net from a program of yours.\n"
    )
