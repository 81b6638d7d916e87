"""The Flickr Style photos: a list of addresses and labels becomes a folder of photos that were looked at, and lists.

python flickr_style.py [--images 2000] [--model]      writes flickr_style/images, train.txt, test.txt and sha256.txt

What Caffe's `assemble_data.py` does, with its list of 80,000 addresses (S. Karayev and others, "Recognizing Image
Style", BMVC 2014) and its choice of so many of them by a seed. Photos that their owners took back are left out, and so
is what is no photo; a second call fetches what is missing, or has not the SHA-256 any more that it had. The photos have
owners, and are fetched one by one from where those put them.
`--model` gets the weights of CaffeNet, too (244 MB), by the SHA-1 that Caffe's page of the model has.
"""

from __future__ import annotations

import argparse
import csv
import gzip
import hashlib
import re
import sys
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import PIL.Image

from netc.grammar.source import UserError
from netc.runtime.atomic import replace_file, write_text
from netc.runtime.package_fetch import download

SOURCE = "https://raw.githubusercontent.com/BVLC/caffe/9b891540183ddc834a02b2bd81b31afae71b2153/"
LIST = f"{SOURCE}examples/finetune_flickr_style/flickr_style.csv.gz"
MODEL = "bvlc_reference_caffenet.caffemodel"
MODEL_FROM, MODEL_SHA1 = f"http://dl.caffe.berkeleyvision.org/{MODEL}", "4c8d77deb20ea792f84eb5e6d0a11ca0a8660a46"
TAKEN_BACK = (
    "6a92790b1c2a301c6e7ddef645dca1f53ea97ac2"  # SHA-1 of the picture that Flickr sends in the place of a photo
)
HOSTS = re.compile(r"(.+\.)?(flickr|staticflickr)\.com")
MOST_OF_LIST, MOST_OF_PHOTO = 64 << 20, 32 << 20  # bytes
STYLES, SPLITS = 20, ("train", "test")
AT_ONCE = 16


class Row(NamedTuple):
    """A photo of the list: its address by https, its name in the folder, its label, and `train` or `test`."""

    address: str
    name: str
    label: int
    split: str


def read_list(path: Path) -> list[Row]:
    """The rows of a list, each checked; UserError for a file that is none, with the row."""
    try:
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            return [row_of(given, f"{path}: row {k}") for k, given in enumerate(csv.DictReader(file), 1)]
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: not a list of photos, which is a table (CSV) under gzip: {error}") from None


def row_of(given: dict[str, str], place: str) -> Row:
    parts = urlsplit(given.get("image_url") or "")
    name, label = parts.path.rpartition("/")[2], given.get("label") or ""
    if not HOSTS.fullmatch(parts.hostname or "") or not re.fullmatch(r"\w[\w-]*\.(jpg|jpeg|png|gif)", name, re.ASCII):
        raise UserError(f"{place}: image_url is the address of a photo of Flickr's, not `{given.get('image_url')}`")
    if not re.fullmatch(r"\d{1,2}", label) or int(label) >= STYLES or given.get("_split") not in SPLITS:
        raise UserError(f"{place}: label is a number below {STYLES} and _split is train or test")
    return Row(f"https://{parts.hostname}{parts.path}", name, int(label), str(given["_split"]))


def chosen(rows: list[Row], images: int, seed: int) -> list[Row]:
    """So many of the rows (all of them for 0) in an order by chance, that of Caffe's script."""
    order = np.random.RandomState(seed).permutation(len(rows))
    return [rows[k] for k in order[: images or None]]


def fault_of(path: Path) -> str:
    """Why a file is no photo to learn from; empty if it is one."""
    if hashlib.sha1(path.read_bytes()).hexdigest() == TAKEN_BACK:
        return "its owner took it back"
    try:
        with PIL.Image.open(path, formats=("JPEG", "PNG", "GIF")) as image:
            image.convert("RGB")
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError):
        return "no photo"
    return ""


def get(row: Row, folder: Path, sums: dict[str, str]) -> str:
    """See to it that a photo lies in the folder, and note its SHA-256; why it does not, or nothing."""
    path = folder / row.name
    if path.is_file() and sums.get(row.name) == sha256(path):
        return ""

    def fill(part: Path) -> None:
        download(row.address, part, MOST_OF_PHOTO)
        if fault := fault_of(part):
            raise UserError(f"{row.address}: {fault}")
        sums[row.name] = sha256(part)

    try:
        replace_file(path, fill)
    except UserError as error:
        path.unlink(missing_ok=True)
        sums.pop(row.name, None)
        return str(error)
    return ""


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def assemble(rows: list[Row], folder: Path, notify: Callable[[str], None]) -> list[Row]:
    """Get the photos of the rows, and write the lists of those that are there, and their sums; UserError for none."""
    images, sums_of = folder / "images", folder / "sha256.txt"
    images.mkdir(parents=True, exist_ok=True)
    lines = sums_of.read_text(encoding="ascii").split("\n") if sums_of.is_file() else []
    sums = {name: value for value, _, name in (line.partition("  ") for line in lines if line)}
    there: list[Row] = []
    lost: list[str] = []
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for begin in range(0, len(rows), 8 * AT_ONCE):
            part = rows[begin : begin + 8 * AT_ONCE]
            faults = [*threads.map(lambda row: get(row, images, sums), part)]
            there += [row for row, fault in zip(part, faults, strict=True) if not fault]
            lost += filter(None, faults)
            if not there:
                raise UserError(f"none of {len(lost)} photos could be fetched; the first: {lost[0]}")
            notify(f"{len(there):,} of {len(there) + len(lost):,} photos")
            write_text(sums_of, "".join(f"{value}  {name}\n" for name, value in sorted(sums.items())))
    for split in SPLITS:
        write_text(folder / f"{split}.txt", "".join(f"{r.name} {r.label}\n" for r in there if r.split == split))
    return there


def get_model(folder: Path) -> None:
    """CaffeNet's weights, held to their SHA-1."""
    import pooch

    pooch.get_logger().setLevel("ERROR")
    try:
        pooch.retrieve(MODEL_FROM, f"sha1:{MODEL_SHA1}", fname=MODEL, path=folder, progressbar=False)
    except Exception as error:  # pooch and requests raise many kinds; every one means: not from here
        reason = str(error).splitlines()[0][:120]
        raise UserError(f"{MODEL_FROM} cannot be fetched ({type(error).__name__}: {reason})") from None


def main() -> int:
    parser = argparse.ArgumentParser(description="Get photos of Flickr Style, and lists of them.")
    parser.add_argument("--images", type=int, default=2000, metavar="N", help="so many of 80,000; 0 for all (2000)")
    parser.add_argument("--seed", type=int, default=831486, help="of which ones they are (that of Caffe's page)")
    parser.add_argument(
        "--list", type=Path, metavar="FILE", help="a flickr_style.csv.gz that is here, else it is fetched"
    )
    parser.add_argument("--folder", type=Path, default=Path("flickr_style"), help="where they go (flickr_style)")
    parser.add_argument("--model", action="store_true", help=f"get {MODEL} into this folder, too")
    given = parser.parse_args()
    if given.images < 0 or not 0 <= given.seed < 2**32:
        parser.error("--images and --seed are numbers from 0")
    try:
        given.folder.mkdir(parents=True, exist_ok=True)
        listed = given.list or given.folder / "flickr_style.csv.gz"
        if given.list is None and not listed.is_file():
            replace_file(listed, lambda part: download(LIST, part, MOST_OF_LIST))
        rows = chosen(read_list(listed), given.images, given.seed)
        there = assemble(rows, given.folder, lambda text: print(text, end="\r", flush=True))
        print(f"{given.folder}: {len(there):,} of {len(rows):,} photos, train.txt and test.txt")
        if given.model:
            get_model(Path.cwd())
    except (UserError, OSError) as error:
        print(f"flickr_style.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
