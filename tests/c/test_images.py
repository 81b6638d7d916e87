"""The image reader in C: bytes of Pillow for every format, and an error, never a fault, for what is none."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest

import netc
from support.triton_folders import STRICT, compiler

HERE = Path(netc.__file__).parent / "deployment" / "c"
SHARED = Path(__file__).parents[3] / "shared" / "data" / "imagenet_meta" / "photos"
READER = r"""
#include "netc_image.h"
#include <stdio.h>
/* The pixels of each file behind its size, or an empty line and what is wrong. */
int main(int count, char **arguments) {
    for (int i = 1; i < count; i++) {
        netc_image image;
        const char *wrong = netc_image_read(&image, arguments[i]);
        if (wrong) {
            printf("0 0 0 %s\n", wrong);
            continue;
        }
        printf("%zu %zu %zu \n", image.height, image.width, image.channels);
        fwrite(image.pixels, 1, image.height * image.width * image.channels, stdout);
        netc_image_free(&image);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reader")
    (folder / "reader.c").write_text(READER)
    sources = [str(folder / "reader.c"), str(HERE / "netc_image.c"), str(HERE / "netc_jpeg.c")]
    flags = [*STRICT, "-fsanitize=address,undefined", "-fno-sanitize-recover=all", f"-I{HERE}"]
    subprocess.run([compiler(), *flags, *sources, "-o", str(folder / "reader")], check=True)
    return folder / "reader"


def read(reader: Path, files: list[Path]) -> list[np.ndarray[Any, Any] | str]:
    done = subprocess.run([str(reader), *map(str, files)], capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()[-2000:]
    out, found = done.stdout, list[Any]()
    while out:
        head, _, out = out.partition(b"\n")
        *sizes, said = head.decode().split(" ", 3)
        shape = tuple(map(int, sizes))
        found.append(np.frombuffer(out[: np.prod(shape)], np.uint8).reshape(shape) if shape[0] else said)
        out = out[int(np.prod(shape)) :]
    assert len(found) == len(files)
    return found


def written(folder: Path) -> list[Path]:
    """Images of many sizes in all formats, with all samplings of colours."""
    from PIL import Image

    random, files = np.random.default_rng(0), list[Path]()

    def put(name: str, image: Image.Image, **more: Any) -> None:
        image.save(folder / name, **more)
        files.append(folder / name)

    for height, width in ((1, 1), (2, 3), (16, 16), (33, 47), (9, 100)):
        small = random.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3)).astype(np.uint8)
        image = Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC)
        name = f"{height}x{width}"
        for sampling in (0, 1, 2):
            put(f"{name}-{sampling}.jpg", image, quality=30 + 30 * sampling, subsampling=sampling)
        put(f"{name}-restart.jpg", image, optimize=True, restart_marker_blocks=2)
        put(f"{name}-gray.jpg", image.convert("L"))
        for mode in ("RGB", "L", "RGBA", "LA", "P"):
            put(f"{name}-{mode}.png", image.convert(mode))
        put(f"{name}-plain.png", image, compress_level=0)
        put(f"{name}.bmp", image)
        put(f"{name}-alpha.bmp", image.convert("RGBA"))
        put(f"{name}.ppm", image)
        put(f"{name}.pgm", image.convert("L"))
    return files


def test_pixels_are_those_of_other_readers(reader: Path, tmp_path: Path) -> None:
    from PIL import Image

    files = written(tmp_path)
    if SHARED.is_dir():
        files += [SHARED / "cat.jpg", SHARED / "cat_gray.jpg", SHARED / "fish-bike.jpg"]
    for path, found in zip(files, read(reader, files), strict=True):
        assert not isinstance(found, str), f"{path}: {found}"
        wanted = np.asarray(Image.open(path).convert("RGB"))
        if found.shape[2] == 1:
            found = np.repeat(found, 3, axis=2)
        np.testing.assert_array_equal(found, wanted, err_msg=str(path))


def test_what_is_not_read_is_named(reader: Path, tmp_path: Path) -> None:
    from PIL import Image

    image = Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3))
    image.save(tmp_path / "a.jpg", progressive=True)
    image.convert("1").save(tmp_path / "a.png")
    image.convert("P").save(tmp_path / "a.bmp")
    image.save(tmp_path / "a.gif")
    (tmp_path / "a.ppm").write_bytes(b"P6 # a comment\n90000 90000 255\n")
    (tmp_path / "b.ppm").write_bytes(b"P6 2 2 255\n0")
    names = ("a.jpg", "a.png", "a.bmp", "a.gif", "a.ppm", "b.ppm", "none")
    said = read(reader, [tmp_path / name for name in names])
    assert [str(one).split(";")[0] for one in said] == [
        "a progressive JPEG is not read",
        "only PNG of 8 bits, not interlaced, is read",
        "only BMP of 24 or 32 bits without compression is read",
        "the file is no image of JPEG, PNG, BMP, PPM or PGM",
        "the image is empty, or too large",
        "the image file ends too early",
        "the file cannot be read",
    ]


def test_damaged_files_are_refused_or_read(reader: Path, tmp_path: Path) -> None:
    """Under the sanitizers of addresses and of undefined behaviour."""
    random, files = Random(1), written(tmp_path)
    damaged = []
    for k in range(1500):
        data = bytearray(random.choice(files).read_bytes())
        for _ in range(random.choice((1, 1, 2, 5, 20))):
            at = random.randrange(len(data))
            if random.random() < 0.7:
                data[at] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
            elif random.random() < 0.5:
                del data[at : at + random.randrange(1, 9)]
            else:
                data[at:at] = data[random.randrange(len(data)) :][: random.randrange(1, 20)]
            data = data or bytearray(b"x")
        damaged.append(tmp_path / f"damaged{k}")
        damaged[-1].write_bytes(data)
    found = read(reader, damaged)
    refused = sum(isinstance(one, str) for one in found)
    assert 100 < refused < len(found) - 100
