"""A sample of ten classes in the form that ImageNet has, train/CLASS/*.jpg and val/CLASS/*.jpg, of CIFAR-10's photos.

python make_sample.py IMAGES FOLDER [--train 500] [--val 50]

IMAGES is the tar, or the folder, of CIFAR-10's images (train/CLASS/*.jpg, test/CLASS/*.jpg). They are real photos in
real classes, but of 32 x 32: what is done with them is what is done with ImageNet, the numbers that come out are not.
Some of the files are no photos, as in any collection: a page of an error, an empty file, one that was cut short.
"""

from __future__ import annotations

import argparse
import tarfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

PARTS = {"train": "train", "test": "val"}


def images(source: Path) -> Iterator[tuple[str, str, str, bytes]]:
    """The part, the class, the name and the bytes of each image, in the order of their names within a class."""
    if source.is_dir():
        for path in sorted(source.glob("*/*/*.jpg")):
            yield path.parts[-3], path.parts[-2], path.name, path.read_bytes()
        return
    with tarfile.open(source) as archive:
        for member in archive:
            parts = member.name.split("/")
            if member.isfile() and len(parts) >= 3:
                file = archive.extractfile(member)
                assert file is not None
                yield parts[-3], parts[-2], parts[-1], file.read()


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--train", type=int, default=500, metavar="N", help="photos of each class to learn from")
    parser.add_argument("--val", type=int, default=50, metavar="N", help="photos of each class to test on")
    given = parser.parse_args()
    wanted = {"train": given.train, "val": given.val}
    made: Counter[tuple[str, str]] = Counter()
    first = b""
    for split, kind, name, data in images(given.images):
        part = PARTS.get(split)
        if part is None or not name.endswith(".jpg") or made[part, kind] == wanted[part]:
            continue
        made[part, kind] += 1
        first = first or data
        place = given.folder / part / kind
        place.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(data)
    classes = sorted({kind for _, kind in made})
    if len(classes) != 10:
        parser.error(f"{given.images}: expected train and test with ten classes each, found {', '.join(classes) or 0}")
    bad = given.folder / "train" / classes[0]
    (bad / "page.jpg").write_text("<html>404: there is no such photo</html>\n")
    (bad / "empty.jpg").touch()
    (bad / "cut.jpg").write_bytes(first[: len(first) // 2])
    print(f"{given.folder}: {sum(made.values()):,} photos of {', '.join(classes)}; and three files that are none")


if __name__ == "__main__":
    main()
