"""Native deployment: a net as C that needs the C library alone, with weights, a program that classifies images, and
files to build it.

The text is the C target's own, with tables of its memory and the calls of a header behind it (`c/net.c`). All memory is
one allocation, which begins with the weights as they lie in `weights.bin`.
"""

from __future__ import annotations

import hashlib
import re
import shlex
import subprocess
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import __version__
from ..compiler.program import Program
from ..grammar.source import UserError
from .c_text import mean_of, number, place, string, table, words
from .deployed import FORMAT, MANIFEST, write_folder, write_manifest
from .placing import WEIGHTS, PlacedProgram, WeightsFile, place_memories, tensor, up, value
from .records import NO_RECORDS, own_mean

if TYPE_CHECKING:
    from ..compiler.program import StateInfo
    from ..driver import Compilation
    from ..runtime.state import State
    from .exporting import FolderOptions
    from .records import Records

HERE = Path(__file__).parent / "c"
IMAGES = ("netc_image.h", "netc_image.c", "netc_jpeg.c")
FLAGS = "-O2 -fno-math-errno -fno-trapping-math"
MOST_EMBEDDED = 32 << 20  # bytes of weights in a text, which compilers take long for
KINDS = {"inputs": "INPUT", "outputs": "OUTPUT", "state": "STATE"}
BUILD = """\
# make, or make OPENMP= where the compiler lacks it, or make CC=aarch64-linux-gnu-gcc ARCH= for another machine.
CC ?= cc
ARCH ?= -march=native
OPENMP ?= -fopenmp
CFLAGS ?= @FLAGS@
OBJECTS = @STEM@.o netc_image.o netc_jpeg.o

@STEM@: main.o $(OBJECTS)
\t$(CC) $(CFLAGS) $(OPENMP) -o $@ main.o $(OBJECTS) -lm

%.o: %.c @STEM@.h netc_image.h
\t$(CC) -std=gnu11 $(CFLAGS) $(ARCH) $(OPENMP) -c -o $@ $<

clean:
\trm -f @STEM@ main.o $(OBJECTS)
"""
CMAKE = """\
cmake_minimum_required(VERSION 3.10)
project(@STEM@ C)
option(NATIVE "Use all instructions of this machine" ON)
find_package(OpenMP COMPONENTS C)
if(NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release)
endif()
add_library(@STEM@_net STATIC @STEM@.c netc_image.c netc_jpeg.c)
set_target_properties(@STEM@_net PROPERTIES C_STANDARD 11 C_EXTENSIONS ON)
target_include_directories(@STEM@_net PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_compile_options(@STEM@_net PRIVATE -O2 -fno-math-errno -fno-trapping-math)
if(NATIVE AND NOT CMAKE_CROSSCOMPILING)
  target_compile_options(@STEM@_net PRIVATE -march=native)
endif()
if(OpenMP_C_FOUND)
  target_link_libraries(@STEM@_net PUBLIC OpenMP::OpenMP_C)
endif()
target_link_libraries(@STEM@_net PUBLIC m)
add_executable(@STEM@ main.c)
target_link_libraries(@STEM@ PRIVATE @STEM@_net)
"""


def export(
    made: Compilation, weighted: Callable[[Compilation], State], folder: Path, options: FolderOptions
) -> list[Path]:
    """A folder of C, and a program in it where a compiler is named."""
    if len(made.programs) > 1:
        raise UserError(
            f"a training step of `{made.net.name}` takes {made.training.accumulate} batches for an update; ahead of "
            "time it takes one: leave out `accumulate`"
        )
    built = partial(_build, command=options.cc) if options.cc else None
    state = weighted(made)
    return deploy_c(made.program, made.state, state, folder, options.records, embed=options.embed, built=built)


def deploy_c(
    program: Program,
    infos: tuple[StateInfo, ...],
    state: State,
    folder: Path,
    records: Records = NO_RECORDS,
    *,
    embed: bool = False,
    built: Callable[[Path, str], None] | None = None,
) -> list[Path]:
    """Write the C of a program, its header, a wrapper for C++, weights, a main program, and files to build them.

    embed: weights are in the text. built: makes the program in the finished folder. UserError for a folder that holds
    other files, and for weights that are too large for a text.
    """
    stem = stem_of(program.name)
    weights = WeightsFile([program], state)
    if embed and weights.nbytes > MOST_EMBEDDED:
        raise UserError(f"weights of {weights.nbytes:,} bytes are too many for a text, at most {MOST_EMBEDDED:,}")
    layout, starts, end = place_memories(program, weights)
    placed = PlacedProgram(program, layout, starts, up(end))
    manifest = {
        "format": FORMAT,
        "netc": __version__,
        "net": program.name,
        "mode": program.mode,
        "target": program.target,
        "dims": {name: int(size) for name, size in program.dims.items()},
        **values_of(placed, infos),
        "memory": placed.nbytes,
        "weights": {"file": "" if embed else WEIGHTS, "bytes": weights.nbytes, "crc32": weights.crc32},
        **records.manifest(program),
    }
    prefix = prefix_of(program)

    def write(part: Path) -> None:
        named = partial(re.sub, r"\bNET(?=_|\b)", prefix)
        for name, shipped in shipped_of(stem).items():
            text = (HERE / shipped).read_text(encoding="ascii")
            (part / name).write_text(named(text.replace('"NET.h"', f'"{stem}.h"')), encoding="ascii")
        api = (HERE / "net.c").read_text(encoding="ascii").replace('"NET.h"', f'"{stem}.h"')
        bytes_ = _embedded(weights, part) if embed else []
        lines = "\n".join([*tables(placed, manifest, weights, records), *bytes_])
        text = re.sub(r"^void (prepare|step)\(", r"static void \1(", program.source, flags=re.MULTILINE)
        (part / f"{stem}.c").write_text(f"{text}\n{named(api.replace('@TABLES@', lines))}", encoding="utf-8")
        for name, template in (("Makefile", BUILD), ("CMakeLists.txt", CMAKE)):
            (part / name).write_text(template.replace("@STEM@", stem).replace("@FLAGS@", FLAGS), encoding="ascii")
        if not embed:
            weights.write(part / WEIGHTS)
        state.save(part / f"{stem}.safetensors")
        records.write(part)
        (part / "README.md").write_text(readme(manifest, stem), encoding="utf-8")
        if built is not None:
            built(part, stem)
        files = sorted(path.name for path in part.iterdir())
        manifest["files"] = {name: hashlib.sha256((part / name).read_bytes()).hexdigest() for name in files}
        write_manifest(part, manifest)

    write_folder(folder, write)
    return sorted(path for path in folder.iterdir() if path.is_file())


def shipped_of(stem: str) -> dict[str, str]:
    """The files that are alike for every net but for its name, by their names in the folder."""
    own = {f"{stem}.h": "net.h", f"{stem}.hpp": "net.hpp", "main.c": "net_main.c"}
    return {**own, **{name: name for name in IMAGES}}


def own(manifest: Mapping[str, Any], name: str) -> bool:
    """Whether a file of a folder is one that `deploy_c` writes for the net of its manifest, or that `make` leaves."""
    stem = stem_of(manifest["net"])
    fixed = {
        f"{stem}.c",
        f"{stem}.safetensors",
        "Makefile",
        "CMakeLists.txt",
        "README.md",
        WEIGHTS,
        stem,
        f"{stem}.exe",
    }
    objects = {f"{one}.o" for one in (stem, "main", "netc_image", "netc_jpeg")}
    return name in fixed | set(shipped_of(stem)) | objects or own_mean(name)


def stem_of(net: str) -> str:
    """The name of a net's files; not that of another file in the folder."""
    plain = re.sub(r"\W", "_", net, flags=re.ASCII)
    taken = plain.lower() in ("main", "netc_image", "netc_jpeg", "makefile", "net", "weights", "mean", "manifest")
    return f"net_{plain}" if taken or not re.match(r"[A-Za-z]", plain) else plain


def prefix_of(program: Program) -> str:
    """What all names of a net's calls begin with: nothing in its program does, and no other name of C is it alone."""
    prefix = stem_of(program.name)
    while re.search(rf"\b{prefix}_", program.source) or re.search(rf"\b{prefix}\b", KEYWORDS):
        prefix += "_net"
    return prefix


# As the name of a namespace the prefix stands alone.
KEYWORDS = """
alignas alignof and asm auto bool break case catch char class concept const constexpr continue decltype default
delete do double else enum explicit export extern false float for friend goto if inline int long mutable namespace
new noexcept not nullptr operator or private protected public register requires return short signed sizeof static std
struct switch template this throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t
while xor linux unix
"""


def values_of(placed: PlacedProgram, infos: tuple[StateInfo, ...]) -> dict[str, Any]:
    """Inputs, outputs and state, by name: tensors, and the flat buffers of which they are parts."""
    program = placed.program
    return {
        "inputs": {name: value(placed, "input", name) for name in program.inputs},
        "outputs": {name: value(placed, "output", name) for name in program.outputs},
        "state": {
            **{info.name: tensor(placed, info) for info in infos if (info.buffer or info.name) in program.state},
            **{name: value(placed, "state", name) for name in program.state},
        },
    }


def tables(placed: PlacedProgram, manifest: Mapping[str, Any], weights: WeightsFile, records: Records) -> list[str]:
    """The tables of a net: where its memories and values lie, and what happens to records."""
    rows = [place(key, f"NET_{KINDS[kind]}", entry) for kind in KINDS for key, entry in manifest[kind].items()]
    starts = [f"{placed.starts[name]}u" for name in placed.layout.memories]
    ranges = [
        f"{{{string(name)}, {count}, {int(ignored is not None)}, {int(ignored or 0)}}}"
        for name, count, ignored, _, _ in manifest["ranges"]
    ]
    labels = [string(label) for label in manifest["labels"]]
    return [
        f"#define NET_MEMORIES {len(starts)}",
        f"#define NET_BYTES ((size_t){placed.nbytes}u)",
        f"#define NET_WEIGHTS_BYTES ((size_t){weights.nbytes}u)",
        f"#define NET_WEIGHTS_SUM {weights.crc32}u",
        f"#define NET_EMBEDDED {int(not manifest['weights']['file'])}",
        *table("size_t", "NET_starts", starts),
        *table("NET_place", "NET_places", rows),
        f"static const size_t NET_place_count = {len(rows)};",
        *table("NET_range", "NET_ranges", ranges),
        f"static const size_t NET_range_count = {len(ranges)};",
        *table("char *const", "NET_labels", labels),
        f"static const size_t NET_label_count = {len(labels)};",
        *_images(manifest, records),
    ]


def images_of(manifest: Mapping[str, Any]) -> str | None:
    """The only input of images, of one channel or three."""
    found = [
        name
        for name, entry in manifest["inputs"].items()
        if entry["stored"] == "f32" and len(entry["shape"]) == 4 and entry["shape"][1] in (1, 3)
    ]
    return found[0] if len(found) == 1 else None


def _images(manifest: Mapping[str, Any], records: Records) -> list[str]:
    """What happens to the records of the input of images."""
    name = images_of(manifest)
    shape = manifest["inputs"][name]["shape"] if name else [1, 1, 1, 1]
    rule = manifest["transforms"].get(name) or {"text": "", "scale": 1.0, "mean": [], "mean_file": "", "crop": []}
    image = manifest["images"].get(name, {})
    height, width = image.get("size", shape[2:])
    mean = [number(x) for x in mean_of(rule, records.means)]
    return [
        f"#define NET_HAS_IMAGES {int(name is not None)}",
        f"#define NET_IMAGE {string(name or '')}",
        f"#define NET_RULE {string(rule['text'])}",
        f"#define NET_RECORD_HEIGHT {height}",
        f"#define NET_RECORD_WIDTH {width}",
        f"#define NET_BACKWARD {int(image.get('order') == 'bgr')}",
        f"#define NET_SCALE {number(rule['scale'])}",
        f"#define NET_MEANS {len(mean)}",
        *table("float", "NET_mean", [", ".join(mean[i : i + 8]) for i in range(0, len(mean), 8)]),
    ]


def _embedded(weights: WeightsFile, part: Path) -> list[str]:
    """The weights as words of C, for a machine whose lowest byte comes first, as their file is."""
    weights.write(part / WEIGHTS)
    data = np.fromfile(part / WEIGHTS, "<u4")
    (part / WEIGHTS).unlink()
    rows = [", ".join(f"0x{x:x}" for x in data[i : i + 16]) for i in range(0, len(data), 16)]
    return table("uint32_t", "NET_weights", rows)


def _build(part: Path, stem: str, *, command: tuple[str, ...]) -> None:
    """The program, by a compiler that may be for another machine: for the least of its kind, on one thread."""
    sources = [f"{stem}.c", "main.c", *(name for name in IMAGES if name.endswith(".c"))]
    call = [*command, "-std=gnu11", *FLAGS.split(), "-o", stem, *sources, "-lm"]
    try:
        done = subprocess.run(call, cwd=part, capture_output=True, text=True, errors="replace", check=False)
    except OSError as error:
        raise UserError(f"the C compiler `{shlex.join(command)}` does not run: {error.strerror}") from None
    if done.returncode:
        errors = [line.strip() for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines()
        raise UserError(f"the C compiler `{shlex.join(command)}` refuses the program: {'; '.join(errors[:3])}")


def readme(manifest: Mapping[str, Any], stem: str) -> str:
    """The page for those who open the folder."""
    images = images_of(manifest)
    rule = manifest["transforms"].get(images)

    def listed(kind: str) -> str:
        return ", ".join(f"`{name}` {v['dtype']}{v['shape']}" for name, v in manifest[kind].items()) or "none"

    run = f"./{stem} IMAGE" if images else f"./{stem} FILE..."
    what = (
        "prints the best classes of images: JPEG (baseline), PNG (8 bits), BMP, PPM or PGM, of any size."
        + (f" Records are treated as those that the net was tested on: {words(rule['text'])}." if rule else "")
        if images
        else "reads raw values, a file for each input."
    )
    weights = f"`{WEIGHTS}` beside it, or `--weights FILE`" if manifest["weights"]["file"] else "in the program"
    return (
        f"# {words(manifest['net'])} ({manifest['mode']}) as C\n\n"
        f"Made by netc {manifest['netc']}, which is not needed to build or run it; nor is any library but C's.\n\n"
        f"    make                     # or: cmake -B build && cmake --build build\n    {run}\n\n"
        f"The program {what} The weights are {weights}. `make OPENMP=` builds it without threads, "
        "`make CC=aarch64-linux-gnu-gcc ARCH=` for another machine.\n\n"
        f"`{stem}.h` says how a program of yours runs the net, `{stem}.hpp` is a class of C++17 over it. A net takes "
        f"{manifest['memory']:,} bytes, all when it is created.\n\n"
        f"Inputs: {listed('inputs')}. Outputs: {listed('outputs')}. State: {listed('state')}.\n\n"
        f"`{MANIFEST}` has the same for programs, with the SHA-256 of every file.\n"
    )
