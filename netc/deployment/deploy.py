"""Deployment with numpy alone: a compiled net as a folder that needs nothing of netc: module, weights, manifest.

The module is the program's own text with a short part after it that reads the weights beside the file, binds the arrays
and runs; so what is deployed is what was tested. The folder appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import __version__
from ..compiler.program import Program, StateInfo
from .deployed import FORMAT, MANIFEST, module_name, write_folder, write_manifest
from .records import NO_RECORDS, Records, own_mean, ranges_of

if TYPE_CHECKING:
    from ..driver import Compilation
    from ..runtime.state import State
    from .exporting import FolderOptions

TAIL = '''
# From here on: the weights beside this file, and a command line. Written by netc, not by the compiler.

import json
import os
import sys
import zipfile
from collections.abc import Iterable, Mapping
from typing import Any

INPUTS = __INPUTS__
# buffer: (element type, shape, ((tensor, first element), ...))
STATE = __STATE__
FOLDER = os.path.dirname(os.path.abspath(__file__))
WEIGHTS = os.path.join(FOLDER, __WEIGHTS__)
# What happens to records before the net takes them, the numbers that inputs may hold, and the names of the classes.
TRANSFORMS = __TRANSFORMS__
RANGES = __RANGES__
LABELS = __LABELS__
TYPES = {"F32": "<f4", "F64": "<f8", "F16": "<f2", "I32": "<i4", "I64": "<i8", "U8": "u1", "BOOL": "?"}


__FEEDING__


def prepared(name, records):
    """Records as the net takes them: scaled, mean taken off and cropped as those that the net was tested on."""
    rule = TRANSFORMS.get(name)
    if rule is None:
        return records
    file = rule["mean_file"]
    return transformed(name, records, rule, np.load(os.path.join(FOLDER, file), allow_pickle=False) if file else None)


def read_safetensors(path):
    """The arrays of a safetensors file by name."""
    with open(path, "rb") as file:
        content = file.read()
    data = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:data])
    header.pop("__metadata__", None)
    found = {}
    for name, entry in header.items():
        start, end = entry["data_offsets"]
        found[name] = np.frombuffer(content[data + start:data + end], TYPES[entry["dtype"]]).reshape(entry["shape"])
    return found


def write_npz(path, arrays):
    """Write arrays under their names, whole or not at all; np.savez takes some names for settings of its own."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise ValueError("is there and not a regular file")
    part = f"{path}.{os.getpid()}.part"
    try:
        with zipfile.ZipFile(part, "w") as file:
            for name, array in arrays.items():
                with file.open(name + ".npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
        os.replace(part, path)
    finally:
        if os.path.exists(part):
            os.remove(part)


class Net:
    """The program with its weights: `Net()(image=x)` gives the outputs by name.

    Inputs are as the net takes them; `prepared("image", records)` makes them of records.
    """

    def __init__(self, weights=WEIGHTS):
        tensors = read_safetensors(weights)
        self.state = {}
        for name, (dtype, shape, parts) in STATE.items():
            self.state[name] = buffer = np.zeros(shape, dtype)
            for tensor, first in parts:
                if tensor not in tensors:
                    raise ValueError(f"there is no tensor {tensor}")
                flat = tensors[tensor].reshape(-1)
                buffer.reshape(-1)[first:first + flat.size] = flat
        self.inputs = {name: np.zeros(shape, dtype) for name, (dtype, shape) in INPUTS.items()}
        self.outputs, prepare, self.step = bind(self.inputs, self.state)
        for call in prepare:
            call()

    def __call__(self, /, **inputs):
        for name, array in self.inputs.items():
            given = np.asarray(inputs[name])
            if given.shape != array.shape:
                raise ValueError(f"{name} has shape {given.shape}, the program was compiled for {array.shape}")
            check_ranges(RANGES, name, given)
            array[...] = given
        for call in self.step:
            call()
        outputs = {name: np.array(value) for name, value in self.outputs.items()}
        check_flags(RANGES, outputs)
        return outputs


def rows(net, arrays):
    """The outputs for any number of records, a batch at a time; the last batch is filled up with its first record."""
    batch = len(next(iter(net.inputs.values())))
    count = min(len(array) for array in arrays.values())
    found = {}
    for start in range(0, count, batch):
        taken = min(batch, count - start)
        piece = {name: array[start:start + taken] for name, array in arrays.items()}
        piece = {k: np.concatenate([a, np.repeat(a[:1], batch - taken, axis=0)]) for k, a in piece.items()}
        for name, value in net(**piece).items():
            found.setdefault(name, []).append(value[:taken] if value.ndim and len(value) == batch else value[None])
    return {name: np.concatenate(parts) for name, parts in found.items()}


def parsed(what, read):
    """What numpy reads of a file; its parser raises many kinds of errors on a damaged header."""
    try:
        return read()
    except (OSError, MemoryError):
        raise
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{what} cannot be read ({reason})") from None


def read_inputs(path, as_is):
    """The arrays of a .npz for the inputs; ValueError with what is wrong with them. as_is: they are no records."""
    if not os.path.isfile(path):
        raise ValueError("there is no such file")
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise ValueError("this is no .npz; save the inputs by name with np.savez")
    with parsed("it", lambda: np.load(path, allow_pickle=False)) as given:
        for name in INPUTS:
            if name not in given.files:
                raise ValueError(f"there is no array {name}; it holds {', '.join(given.files) or 'nothing'}")
        arrays = {name: parsed(name, lambda: given[name]) for name in INPUTS}
    for name, (dtype, shape) in INPUTS.items():
        array = arrays[name]
        if not as_is and array.dtype.kind in "fiub" and array.ndim == len(shape) and len(array):
            array = arrays[name] = prepared(name, array)
        if not array.ndim or array.shape[1:] != shape[1:] or not len(array):
            raise ValueError(f"{name} has shape {list(array.shape)}, not {list(shape)}")
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} holds {array.dtype}, not numbers")
    return arrays


def main(arguments):
    as_is, arguments = "--as-is" in arguments, [one for one in arguments if one != "--as-is"]
    asked = arguments in (["-h"], ["--help"])
    if asked or len(arguments) not in (1, 3) or (len(arguments) == 3 and arguments[1] != "-o"):
        stream = sys.stdout if asked else sys.stderr
        print(f"usage: python {os.path.basename(__file__)} INPUT.npz [-o OUTPUT.npz] [--as-is]", file=stream)
        for name, rule in TRANSFORMS.items():
            print(told(name, rule), file=stream)
        print(f"the inputs: {', '.join(f'{k} {t} {list(s)}' for k, (t, s) in INPUTS.items())}", file=stream)
        return 0 if asked else 2
    about = arguments[0]
    try:
        arrays = read_inputs(about, as_is)
        about = WEIGHTS
        net = Net()
        about = arguments[-1]
        found = rows(net, arrays)
        if len(arguments) == 3:
            write_npz(about, found)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        said = f"{about}: {getattr(error, 'strerror', None) or error}"
        print("".join(c if c.isprintable() else "?" for c in said), file=sys.stderr)  # names come from the file
        return 2
    except MemoryError:
        print(f"{about}: there is not enough memory", file=sys.stderr)
        return 2
    for name, rule in () if as_is else TRANSFORMS.items():
        print(told(name, rule), file=sys.stderr)
    for name, value in found.items():
        print(f"{name}: {value.dtype}{list(value.shape)}")
        if value.ndim == 2 and len(arguments) == 1:
            for number, row in enumerate(value):
                best = np.argsort(-row, kind="stable")[:3]
                names = LABELS if len(LABELS) == row.size else range(row.size)
                shown = [f"{names[k]} {row[k]:.4f}" if row.size > 1 else f"{row[k]:.4f}" for k in best]
                print(f"  {number}: {', '.join(shown)}")
    sys.stdout.flush()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except OSError:  # whoever read the output has gone, as `head` does, or its disk is full
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
'''


def export(
    made: Compilation, weighted: Callable[[Compilation], State], folder: Path, options: FolderOptions
) -> list[Path]:
    """A folder that runs with numpy alone."""
    return deploy(made.program, made.layout, weighted(made), folder, options.records)


def deploy(
    program: Program, infos: Sequence[StateInfo], state: State, folder: Path, records: Records = NO_RECORDS
) -> list[Path]:
    """Write `<net>.py`, `<net>.safetensors`, means where they are images, and `manifest.json` into a new folder.

    The first two of a net called as a module of Python or numpy begin with `net_`, or Python would take them for it.

    A folder that an earlier call wrote is replaced. UserError for one that holds anything else, or cannot be written.
    """
    stem = module_name(program.name)
    names = (f"{stem}.py", f"{stem}.safetensors")

    def write(part: Path) -> None:
        (part / names[0]).write_text(module_text(program, infos, names[1], records), encoding="utf-8")
        state.save(part / names[1])
        files = [*(part / name for name in names), *records.write(part)]
        write_manifest(part, manifest_of(program, files) | records.manifest(program))

    write_folder(folder, write)
    return [folder / name for name in (*names, *records.means, MANIFEST)]


def own(manifest: Mapping[str, Any], name: str) -> bool:
    """Whether a file of a folder is one that `deploy` writes for the net of its manifest."""
    stem = module_name(manifest["net"])
    return name in (f"{stem}.py", f"{stem}.safetensors") or own_mean(name)


def module_text(program: Program, infos: Sequence[StateInfo], weights: str, records: Records) -> str:
    """The program's text and the part that runs it."""
    parts: dict[str, list[tuple[str, int]]] = {}
    for info in infos:
        if info.kind in ("parameter", "statistic"):
            parts.setdefault(info.buffer or info.name, []).append((info.name, info.offset))
    state = {
        name: (str(type_.numpy_dtype), tuple(map(int, type_.shape)), tuple(parts.get(name, ())))
        for name, type_ in program.state.items()
    }
    inputs = {name: (str(t.numpy_dtype), tuple(map(int, t.shape))) for name, t in program.inputs.items()}
    texts = {
        "INPUTS": _table(inputs),
        "STATE": _table(state),
        "WEIGHTS": repr(weights),
        "TRANSFORMS": _table(records.transforms),
        "RANGES": _list(map(tuple, ranges_of(program))),
        "LABELS": _list(records.labels),
        "FEEDING": feeding_text(),
    }
    tail = re.sub(f"__({'|'.join(texts)})__", lambda found: texts[found[1]], TAIL)  # at once: names may look so too
    return f"{program.source.rstrip()}\n\n{tail}"


def feeding_text() -> str:
    """The functions of `feeding.py`, without what they import."""
    text = (Path(__file__).parent / "feeding.py").read_text(encoding="utf-8")
    return text[text.index("def transformed(") :].rstrip()


def _list(entries: Iterable[Any]) -> str:
    lines = "".join(f"    {entry!r},\n" for entry in entries)
    return f"(\n{lines})" if lines else "()"


def _table(entries: Mapping[str, Any]) -> str:
    lines = "".join(f"    {name!r}: {value!r},\n" for name, value in entries.items())
    return f"{{\n{lines}}}"


def manifest_of(program: Program, files: Sequence[Path]) -> dict[str, Any]:
    """What the folder holds, for programs: types of inputs and outputs, memory, and the SHA-256 of each file."""

    def types(table: Mapping[str, Any]) -> dict[str, Any]:
        return {name: {"dtype": t.dtype, "shape": [int(size) for size in t.shape]} for name, t in table.items()}

    return {
        "format": FORMAT,
        "netc": __version__,
        "net": program.name,
        "mode": program.mode,
        "target": program.target,
        "dims": {name: int(size) for name, size in program.dims.items()},
        "inputs": types(program.inputs),
        "outputs": types(program.returned),
        "arena_bytes": program.arena_bytes,
        "files": {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files},
    }
