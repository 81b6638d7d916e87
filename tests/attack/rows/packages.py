"""The reader of model packages: manifests that lie, archives with odd names, claims and links; or bytes changed."""

from __future__ import annotations

import io
import json
import shutil
import warnings
import zipfile
from collections.abc import Sequence
from pathlib import Path
from random import Random

from attack import binary, text
from attack.contract import Broken
from attack.readers import Reader
from netc.runtime.package import MANIFEST, Manifest, Package, Rule, sized, write_package

FILES = {"a.net": b"net a { }\n", "a.safetensors": bytes(range(64)), "s.npz": b"abc" * 50}
NAMES = ("a.net", "../a.net", "/tmp/a.net", "a.net/", "b/../a.net", "A.NET", "a\\b", "é", "\x1b[2J", MANIFEST)


def _packages() -> list[bytes]:
    folder = Path("sample")
    folder.mkdir()
    for name, data in FILES.items():
        (folder / name).write_bytes(data)
    sums = {name: sized(folder / name) for name in FILES}
    rules = (Rule("image", 0.5, (1.0, 2.0), (4, 4)), Rule("other", 1.0, "a.net", ()))
    said = Manifest(
        "a", "MIT", "a.net", "a", "a.safetensors", None, "s.npz", 3, {"nll": 0.5}, 1e-4, rules, sums
    )  # fmt: skip
    write_package(folder / "a.netz", said, {name: folder / name for name in FILES})
    found = (folder / "a.netz").read_bytes()
    shutil.rmtree(folder)
    return [found]


def _changed(random: Random, samples: Sequence[bytes]) -> bytes:
    data = random.choice(samples)
    if random.random() < 0.4:
        if random.random() < 0.5:  # in its directory, which is at the end
            at = data.index(b"PK\x01\x02") + random.randrange(200)
            return data[:at] + random.randbytes(random.choice((1, 2, 4))) + data[at + random.choice((1, 2, 4)) :]
        return binary.changed(random, samples)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    tree = json.loads(members[0][1])
    if random.random() < 0.8:
        for _ in range(random.choice((1, 1, 2, 3))):
            tree = text.json_edited(random, tree)
    if isinstance(tree, dict) and isinstance(tree.get("files"), dict) and random.random() < 0.4:
        name = random.choice(NAMES)
        tree["files"][name] = tree["files"].pop("a.net", {"bytes": 10, "sha256": "0" * 64})
        members[1] = (name, members[1][1])
    members[0] = (MANIFEST, json.dumps(tree).encode("utf-8", errors="replace"))
    if random.random() < 0.3:
        members.append(random.choice((*members, ("b", bytes(1 << 22)), (MANIFEST, b"{}"), ("../b", b"x"))))
    file = io.BytesIO()
    how = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA))
    with warnings.catch_warnings(), zipfile.ZipFile(file, "w", how) as archive:
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, content in members:
            archive.writestr(name, content)
    return file.getvalue()


def read_package(path: Path) -> None:
    """As `netc zoo check` and `unpack` do, up to the net: what is unpacked is what the manifest names."""
    package = Package(path)
    package.sums()
    json.dumps(package.manifest.as_dict(), allow_nan=False)
    folder = path.parent / "unpacked"
    folder.mkdir()
    before = {*path.parent.iterdir()}
    try:
        package.unpack(folder)
        if {one.name for one in folder.iterdir()} != {MANIFEST, *package.manifest.files}:
            raise Broken("other files than those of the manifest were unpacked")
        if {*path.parent.iterdir()} != before:
            raise Broken("a file was unpacked beside the folder")
    finally:
        shutil.rmtree(folder)


ROWS = [Reader("packages", "a.netz", _packages, _changed, read_package, quick=300)]
