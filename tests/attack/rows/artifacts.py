"""Readers of what netc itself writes, and anybody may have changed: weights, snapshots, logs, folders, caches."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import json
import shutil
import struct
import types
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np

from attack import binary, text
from attack.contract import Broken
from attack.readers import Reader
from attack.rows.data import npy_built
from attack.rows.texts import TRAINED
from netc.deployment.deploy import deploy
from netc.deployment.deployed import write_folder
from netc.deployment.feeding import check_flags, check_ranges, transformed
from netc.deployment.manifest import check_architecture, read_file, read_manifest
from netc.driver import Compilation, compilation
from netc.grammar.actions import Actions
from netc.grammar.source import Source, UserError
from netc.grammar.table import _read, load_parser
from netc.runtime.history import History
from netc.runtime.log import Log, mend, read_log, records
from netc.runtime.snapshot import Snapshot, environment, latest
from netc.runtime.snapshot import save as save_snapshot
from netc.runtime.state import State
from netc.runtime.tensors import entries, read_tensors
from netc.runtime.triton.compile.ahead import Binary, packed, unpacked
from netc.runtime.triton.compile.resources import Resources
from support.tiny_run import infos


def _tensors() -> list[bytes]:
    return [_made_snapshot()[1]]


def _tensors_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """A header of JSON that lies about types, shapes and places; or bytes changed."""
    data = random.choice(samples)
    if random.random() < 0.35:
        return binary.changed(random, samples)
    (length,) = struct.unpack("<Q", data[:8])
    tree = json.loads(data[8 : 8 + length])
    for _ in range(random.choice((1, 1, 2, 3))):
        name = random.choice(list(tree))
        if isinstance(tree[name], dict) and "dtype" in tree[name] and random.random() < 0.7:
            key = random.choice(("dtype", "shape", "data_offsets"))
            tree[name] = {**tree[name], key: _lie(random, key)}
        else:
            tree = text.json_edited(random, tree)
        if not isinstance(tree, dict) or not tree:
            break
    head = json.dumps(tree).encode("utf-8", errors="replace")
    size = random.choice((len(head), len(head), len(head), random.choice(binary.NUMBERS_64) % 2**64))
    return struct.pack("<Q", size) + head + data[8 + length :]


def _lie(random: Random, key: str) -> Any:
    if key == "dtype":
        return random.choice(("F64", "F32", "BF16", "F8_E4M3", "BOOL", "I8", "U64", "C64", "X", "", None, 1))
    if key == "shape":
        return random.choice(([], [0], [1] * 40, [2**63], [-1], [3, 12, 1], [1.5], "3", [2**32, 2**32], [36], [4, 9]))
    return random.choice(([0, 0], [0, 10**12], [4, 0], [-4, 4], [0], [0, 144, 1], [2**64, 2**64 + 4], [1, 145], None))


def read_weights(path: Path) -> None:
    """As `--weights` does, also for layers that are left fresh."""
    entries(path)
    read_tensors(path)
    State(infos()).load(path, fresh=["norm"])


def _snapshot(folder: Path) -> tuple[bytes, bytes]:
    """The two files of a snapshot."""
    state = State(infos())
    state.fill(1)
    known = Snapshot(
        net="tiny", step=5, steps=100, position={"taken": 40}, losses=(0.5, 1 / 3), tested=True,
        counters={".step": 5, ".seed": 3}, solver="sgd(lr: 0.1)", schedule="fixed()", seed=3,
        environment=environment("abc", 2),
    )  # fmt: skip
    save_snapshot(folder, known, state)
    return (folder / "step-000005.json").read_bytes(), (folder / "step-000005.safetensors").read_bytes()


@functools.cache
def _made_snapshot() -> tuple[bytes, bytes]:
    """The JSON and the tensors of a snapshot, as they are written."""
    folder = Path("sample")
    found = _snapshot(folder)
    shutil.rmtree(folder)
    return found


def read_snapshot(path: Path) -> None:
    """As `--resume` does: the last whole snapshot, or none with a line about the one that is not."""
    path.with_suffix(".safetensors").write_bytes(_made_snapshot()[1])
    _resumed(path.parent)


def read_snapshot_tensors(path: Path) -> None:
    """The same where the tensors are hostile, and the JSON has their hash."""
    known = json.loads(_made_snapshot()[0]) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    path.with_suffix(".json").write_text(json.dumps(known), encoding="utf-8")
    _resumed(path.parent)


def _resumed(folder: Path) -> None:
    found, notes = latest(folder)
    if any(not note.isprintable() for note in notes):
        raise Broken(f"a note that is no printable line: {notes}")
    if found is None:
        raise UserError(notes[0])
    state = State(infos())
    found.restore(state)
    json.dumps(found.environment)


def _log() -> list[bytes]:
    path = Path("sample.jsonl")
    with Log(path, History()) as log:
        log.write("run", net="tiny", losses=["nll"])
        for step in (1, 2, 3):
            log.write("step", step=step, loss=0.5, rate=0.1, values={"top1": 0.25, "nll": float("nan")})
        log.write("test", step=3, data="heldout", values={"top1": 0.5})
        log.write("resume", step=2)
        log.write("step", step=3, loss=float("inf"), rate=0.1, values={"top1": 0.25})
        log.write("snapshot", step=3)
        log.write("end", step=3)
    found = path.read_bytes()
    path.unlink()
    return [found]


def _log_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Lines edited as JSON, moved, doubled, cut; or tokens changed."""
    if random.random() < 0.4:
        return text.changed(random, samples)
    lines = random.choice(samples).split(b"\n")
    for _ in range(random.choice((1, 2, 3))):
        at = random.randrange(len(lines))
        how = random.randrange(5)
        if how < 3 and lines[at].startswith(b"{"):
            with contextlib.suppress(ValueError):
                edited = text.json_edited(random, json.loads(lines[at]))
                lines[at] = json.dumps(edited).encode("utf-8", errors="replace")
        elif how == 3:
            lines.insert(at, random.choice(lines))
        else:
            lines[at] = lines[at][: random.randrange(len(lines[at]) + 1)]
    return b"\n".join(lines)


def read_the_log(path: Path) -> None:
    """As plots and `--resume` do; what was mended can be read and gone on with."""
    content = path.read_bytes()
    mend(path)
    with Log(path, read_log(path)) as log:
        log.write("step", step=9, loss=0.5, rate=0.1, values={})
    history = read_log(path)
    repr(history)
    path.write_bytes(content)
    for _ in records(path):
        pass


@functools.cache
def _made() -> Compilation:
    return compilation(Source("trained.net", TRAINED), mode="test", dims={"N": 2}, outputs=("y",))


def _deployed(folder: Path) -> None:
    """The folder that `netc compile` makes of a small net."""
    made = _made()
    deploy(made.program, made.layout, made.new_state(1), folder)


def _folder_manifests() -> list[bytes]:
    _deployed(Path("sample"))
    found = (Path("sample") / "manifest.json").read_bytes()
    shutil.rmtree("sample")
    return [found]


def replace_folder(path: Path) -> None:
    """`netc compile -o` over a folder with a hostile manifest: refused, or replaced; files of others stay."""
    for precious in (True, False):
        folder = path.parent / "other"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        (folder / "manifest.json").write_bytes(path.read_bytes())
        names = {"manifest.json", "n.py", "n.safetensors", *(["precious.txt"] if precious else [])}
        for name in names - {"manifest.json"}:
            (folder / name).write_text("mine", encoding="utf-8")
        try:
            write_folder(folder, lambda part: None)
        except UserError:
            if {one.name for one in folder.iterdir()} != names:
                raise Broken("a folder that is refused was changed") from None
            if not precious:
                raise
        else:
            if precious:
                raise Broken("a folder with a file of somebody else was replaced")


def _module(path: Path) -> types.ModuleType:
    """The module of a compiled folder, as Python imports it."""
    folder = path.parent / "net"
    if not folder.exists():
        _deployed(folder)
    module = types.ModuleType("n")
    module.__file__ = str(folder / "n.py")
    exec(compile((folder / "n.py").read_text(encoding="utf-8"), "n.py", "exec"), module.__dict__)
    return module


_modules: dict[Path, types.ModuleType] = {}


def _said(path: Path, *arguments: str) -> None:
    """Call the module's command line: status 0, or 2 with one line."""
    module = _modules.get(path.parent) or _modules.setdefault(path.parent, _module(path))
    error = io.StringIO()
    with contextlib.redirect_stderr(error), contextlib.redirect_stdout(io.StringIO()), np.errstate(all="ignore"):
        status = module.main(list(arguments))
    if status == 2:
        said = error.getvalue()
        if said.count("\n") != 1:
            raise Broken(f"not one line: {said[:300]!r}")
        raise ValueError(said.strip())
    if status:
        raise Broken(f"status {status}")


def read_deployed_inputs(path: Path) -> None:
    """`python net.py INPUT.npz`."""
    _said(path, str(path))


def read_deployed_weights(path: Path) -> None:
    """The same with hostile weights beside the module."""
    given = path.with_name("given.npz")
    if not given.exists():
        np.savez(given, image=np.zeros((3, 1, 6, 6), np.float32))
    module = _modules.get(path.parent) or _modules.setdefault(path.parent, _module(path))
    shutil.copy(path, module.WEIGHTS)
    _said(path, str(given))


def _deployed_weights() -> list[bytes]:
    _deployed(Path("sample"))
    found = (Path("sample") / "n.safetensors").read_bytes()
    shutil.rmtree("sample")
    return [found]


def _deployed_inputs() -> list[bytes]:
    file = io.BytesIO()
    np.savez(file, image=np.zeros((3, 1, 6, 6), np.float32))
    return [file.getvalue()]


def _deployed_inputs_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    if random.random() < 0.5:
        return binary.changed(random, samples)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("image.npy", npy_built(random))
    return file.getvalue()


LAUNCHED = {
    "format": 1, "target": "triton", "net": "n", "weights": {"file": "weights.bin", "bytes": 64, "crc32": 1},
    "transforms": {"x": {"text": "x", "scale": 0.5, "mean": [1, 2.5, 3], "mean_file": "", "crop": [4, 4]}},
    "ranges": [["x", 10, -1, "classes", "`nll`"], [".outside.0", 7, None, "rows", "`enc`"]], "labels": ["cat", "dog"],
    "files": {"weights.bin": {"bytes": 64, "sha256": hashlib.sha256(bytes(64)).hexdigest()}},
    "archs": {"cuda:90": {
        "memory": {"bytes": 4096, "scratch": 0, "bases": {"arena": {"start": 64, "bytes": 1024}}},
        "inputs": {"x": {"dtype": "f32", "stored": "f32", "shape": [4, 8], "strides": [8, 1], "start": 64}},
        "outputs": {"y": {"dtype": "f32", "stored": "f32", "shape": [4], "strides": [1], "start": 256}},
        "state": {"w": {"dtype": "bf16", "stored": "bf16", "shape": [8], "strides": [1], "start": 0}},
        "kernels": {"k": {"threads": 128, "shared": 0, "symbol": "k", "code": "weights.bin"}},
        "launches": [
            {"kernel": "k", "phase": "step", "grid": [1, 1, 1], "arguments": [{"base": "arena", "offset": 0}]},
        ],
    }},
}  # fmt: skip


def read_launched(path: Path) -> None:
    """All that the launchers of a GPU's folder check before they do anything on the device."""
    (path.parent / "weights.bin").write_bytes(bytes(64))
    manifest = read_manifest(str(path.parent))
    for table in manifest["archs"].values():
        found = check_architecture(table, manifest["weights"]["bytes"])
        size = found["memory"]["bytes"]
        for launch in found["launches"]:
            for argument in launch.get("arguments") or ():
                base = found["memory"]["bases"][argument["base"]]
                if not 0 <= base["start"] + argument["offset"] <= size:
                    raise Broken("an argument beside the memory")
        for kernel in found["kernels"].values():
            read_file(str(path.parent), manifest, kernel.get("code"))
    read_file(str(path.parent), manifest, manifest["weights"].get("file"))
    for name, rule in manifest["transforms"].items():
        transformed(name, np.zeros((1, 3, 6, 6), np.uint8), rule, None)
    check_ranges(manifest["ranges"], "x", np.arange(-1, 10))
    check_flags(manifest["ranges"], {".outside.0": np.full((), -1, np.int32)})


@functools.cache
def _grammar() -> bytes:
    import os

    load_parser(Actions())
    kept = sorted(Path(os.environ["NETC_CACHE"]).glob("grammar-*.json"))
    return kept[0].read_bytes()


def _grammar_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Bytes changed, with the digest as it was, or made right for the changed content."""
    digest, _, payload = random.choice(samples).partition(b"\n")
    changed = binary.once(random, payload, random.choice((200, len(payload))), [payload[:500]])
    if random.random() < 0.5:
        digest = hashlib.sha256(changed).hexdigest().encode()
    return digest + b"\n" + changed


def read_kept_grammar(path: Path) -> None:
    """A kept table is taken, or left; nothing is said either way."""
    _read(path, Actions())


def _binaries() -> list[bytes]:
    found = Resources(registers=32, spills=0, local=0, shared=1024, copies=0, matrix=("mma",))
    code = b"\x7fELF" + bytes(60)
    return [packed(Binary("k", "cuda:90", "cubin", code, ".version 8.0", 4, 32, 0, 1, found, (("num_warps", 4),)))]


def _binary_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """The line of JSON edited, or bytes changed."""
    line, _, rest = random.choice(samples).partition(b"\n")
    if random.random() < 0.7:
        return text.json_changed()(random, [line]) + b"\n" + rest
    return binary.changed(random, samples)


def read_kept_kernel(path: Path) -> None:
    """A binary of the cache of kernels, whose digest is right: taken, or made anew without a word."""
    with contextlib.suppress(ValueError):
        unpacked(path.read_bytes())


ROWS = [
    Reader("weights", "a.safetensors", _tensors, _tensors_changed, read_weights, quick=400),
    Reader(
        "snapshots", "step-000005.json", lambda: [_made_snapshot()[0]], text.json_changed(), read_snapshot, text=True,
        leaves=True, quick=250,
    ),
    Reader(
        "snapshot tensors", "step-000005.safetensors", _tensors, _tensors_changed, read_snapshot_tensors, leaves=True,
        quick=120,
    ),
    Reader("logs", "log.jsonl", _log, _log_changed, read_the_log, text=True, leaves=True, quick=150),
    Reader(
        "compiled folders", "manifest.json", _folder_manifests, text.json_changed(), replace_folder, text=True,
        quick=60, leaves=True,
    ),
    Reader(
        "deployed inputs", "a.npz", _deployed_inputs, _deployed_inputs_changed, read_deployed_inputs, (ValueError,),
        quick=200, leaves=True,
    ),
    Reader(
        "deployed weights", "a.safetensors", _deployed_weights, _tensors_changed, read_deployed_weights, (ValueError,),
        quick=150, leaves=True,
    ),
    Reader(
        "launched folders", "manifest.json", lambda: [json.dumps(LAUNCHED).encode()], text.json_changed(),
        read_launched, (ValueError,), text=True, leaves=True, quick=300,
    ),
    Reader("kept kernels", "kernel", _binaries, _binary_changed, read_kept_kernel, quick=300),
    Reader(
        "kept grammar", "grammar.json", lambda: [_grammar()], _grammar_changed, read_kept_grammar, quick=25,
        leaves=True, share=0.3,
    ),
]  # fmt: skip
