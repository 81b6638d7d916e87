"""A cascade of detectors: MTCNN's three nets find faces, each looking closer at what the one before it left.

python mtcnn.py PHOTO ...      writes PHOTO's name with _faces.jpg, and prints an object of JSON: each photo's faces

K. Zhang, Z. Zhang, Z. Li, Y. Qiao, "Joint Face Detection and Alignment Using Multitask Cascaded Convolutional
Networks", IEEE Signal Processing Letters 23 (2016). The nets are the authors' own, made by Caffe, and are run by
`netc.caffe`; they lie in the folder `models` (det1, det2 and det3, each .prototxt and .caffemodel).

A box is left, top, right, bottom in pixels of the photo; its right and bottom are the first pixels that are not in it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageDraw

Array = np.ndarray[Any, Any]
Net = Callable[[Array], Mapping[str, Array]]  # planes [n, 3, width, height] -> its outputs by name
Resize = Callable[[Array, int, int], Array]  # a photo [height, width, 3] of bytes, to another height and width

CELL, STRIDE = 12, 2  # of the first net: the square that an output sees, and from one to the next
SHRINK = 0.709  # from one level of the pyramid to the next: half the area
LEAST = 20  # pixels of the smallest face
SURE = (0.6, 0.7, 0.7)  # what a net has to give a face that goes on
TOUCHING = (0.5, 0.7, 0.7, 0.7)  # how much of two boxes' union is common: in a level, of all levels, after nets 2 and 3


class Cascade:
    """The three nets and how photos are resized, as one function from a photo to its faces."""

    def __init__(self, nets: tuple[Net, Net, Net], resize: Resize) -> None:
        self.first, self.second, self.third = nets
        self.resize = resize

    def faces(self, photo: Array) -> tuple[Array, Array, Array]:
        """Faces of a photo [height, width, 3], surest first: boxes [n, 4], scores [n], points [n, 5, 2].

        The points are the eyes, the tip of the nose and the corners of the mouth, each x and y.
        """
        boxes = self.proposals(photo)
        boxes, scores, out = self.looked_at(photo, boxes, self.second, 24, SURE[1])
        kept = suppressed(boxes, scores, TOUCHING[2])
        boxes = moved(boxes[kept], out["conv5-2"][kept])
        boxes, scores, out = self.looked_at(photo, boxes, self.third, 48, SURE[2])
        shares = out["conv6-3"].reshape(-1, 2, 5).transpose(0, 2, 1)  # of the square that was looked at
        points = boxes[:, None, :2] + shares * sizes(boxes)[:, None]
        boxes = moved(boxes, out["conv6-2"])
        kept = suppressed(boxes, scores, TOUCHING[3], of_smaller=True)
        return boxes[kept], scores[kept], points[kept]

    def proposals(self, photo: Array) -> Array:
        """Boxes that the first net proposes: it slides over the photo in ever smaller forms, a cell for each size."""
        height, width = photo.shape[:2]
        scale, found = CELL / LEAST, [np.zeros((0, 9))]
        while min(height, width) * scale >= CELL:
            small = self.resize(photo, int(np.ceil(height * scale)), int(np.ceil(width * scale)))
            out = self.first(planes(small[None]))
            score = out["prob1"][0, 1]
            x, y = np.nonzero(score > SURE[0])
            corners = np.stack([x, y, x, y], 1) * STRIDE + (0, 0, CELL, CELL)
            rows = np.concatenate([corners / scale, score[x, y, None], out["conv4-2"][0][:, x, y].T], 1)
            found.append(rows[suppressed(rows[:, :4], rows[:, 4], TOUCHING[0])])
            scale *= SHRINK
        rows = np.concatenate(found)
        rows = rows[suppressed(rows[:, :4], rows[:, 4], TOUCHING[1])]
        return moved(rows[:, :4], rows[:, 5:])

    def looked_at(
        self, photo: Array, boxes: Array, net: Net, size: int, sure: float
    ) -> tuple[Array, Array, Mapping[str, Array]]:
        """The squares around boxes in which a net sees a face, how sure it is, and what else it says of them."""
        boxes = np.rint(squares(boxes))
        boxes = boxes[(sizes(boxes) > 0).all(1)]
        parts = [self.resize(cut(photo, box), size, size) for box in boxes]
        blank = np.zeros((size, size, 3), photo.dtype)  # a net wants something to look at
        out = {name: values[: len(boxes)] for name, values in net(planes(np.stack(parts or [blank]))).items()}
        faces = out["prob1"][:, 1] > sure
        return boxes[faces], out["prob1"][faces, 1], {name: values[faces] for name, values in out.items()}


def planes(photos: Array) -> Array:
    """Photos [n, height, width, 3] as the nets take them: from -1 to 1, and x before y, as in their authors' MATLAB."""
    return np.ascontiguousarray(((photos.astype(np.float32) - 127.5) * 0.0078125).transpose(0, 3, 2, 1))


def sizes(boxes: Array) -> Array:
    """Widths and heights [n, 2]."""
    return boxes[:, 2:] - boxes[:, :2]


def moved(boxes: Array, shares: Array) -> Array:
    """Boxes whose four edges are moved by shares of their widths and heights: what a net learned by regression."""
    change: Array = np.tile(sizes(boxes), 2) * shares
    return boxes + change


def squares(boxes: Array) -> Array:
    """The square around the centre of each box, as wide as its longer side."""
    centre, half = (boxes[:, :2] + boxes[:, 2:]) / 2, sizes(boxes).max(1, keepdims=True) / 2
    return np.concatenate([centre - half, centre + half], 1)


def cut(photo: Array, box: Array) -> Array:
    """What a box of whole numbers shows; beyond the border the photo is black."""
    left, top, right, bottom = (int(edge) for edge in box)
    part = np.zeros((bottom - top, right - left, 3), photo.dtype)
    inside = photo[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
    y, x = max(-top, 0), max(-left, 0)
    part[y : y + inside.shape[0], x : x + inside.shape[1]] = inside
    return part


def suppressed(boxes: Array, scores: Array, most: float, of_smaller: bool = False) -> Array:
    """Numbers of the boxes that stay, surest first: of those that have more than that in common only the surest.

    It is the share of the union of two boxes or, of_smaller, of the smaller one.
    """
    area, order, kept = sizes(boxes).prod(1), np.argsort(-scores, kind="stable"), []
    while len(order):
        best, rest = order[0], order[1:]
        kept.append(best)
        common = np.minimum(boxes[rest, 2:], boxes[best, 2:]) - np.maximum(boxes[rest, :2], boxes[best, :2])
        both = common.clip(0).prod(1)
        whole = np.minimum(area[rest], area[best]) if of_smaller else area[rest] + area[best] - both
        order = rest[both <= most * whole]
    return np.array(kept, int)


def resized(photo: Array, height: int, width: int) -> Array:
    """A photo of bytes at another size, linear between pixels, and over all of them where it becomes smaller."""
    return np.asarray(PIL.Image.fromarray(photo).resize((width, height), PIL.Image.Resampling.BILINEAR))


def by_netc(folder: Path) -> Cascade:
    """The cascade with nets of that folder, run by `netc.caffe`."""
    import netc.caffe as caffe

    def opened(name: str) -> Net:
        net = caffe.Net(str(folder / f"{name}.prototxt"), str(folder / f"{name}.caffemodel"), caffe.TEST)

        def run(images: Array) -> Mapping[str, Array]:
            net.blobs["data"].reshape(*images.shape)
            net.blobs["data"].data[...] = images
            return {blob: values.copy() for blob, values in net.forward().items()}

        return run

    return Cascade((opened("det1"), opened("det2"), opened("det3")), resized)


def by_opencv(folder: Path) -> Cascade:
    """The same with OpenCV's implementation of Caffe's nets, which has no line in common with netc's."""
    import cv2

    def opened(name: str) -> Net:
        net = cv2.dnn.readNetFromCaffe(str(folder / f"{name}.prototxt"), str(folder / f"{name}.caffemodel"))
        names = net.getUnconnectedOutLayersNames()

        def run(images: Array) -> Mapping[str, Array]:
            net.setInput(images)
            return dict(zip(names, net.forward(names), strict=True))

        return run

    return Cascade((opened("det1"), opened("det2"), opened("det3")), resized)


def read(path: Path) -> Array:
    """A photo as bytes [height, width, 3], red first."""
    return np.asarray(PIL.Image.open(path).convert("RGB"))


def draw(photo: Array, boxes: Array, points: Array) -> PIL.Image.Image:
    """The photo with a frame around each face, and its five points."""
    picture = PIL.Image.fromarray(photo)
    pen = PIL.ImageDraw.Draw(picture)
    for box, five in zip(boxes, points, strict=True):
        pen.rectangle([float(edge) for edge in box], outline=(255, 220, 0), width=2)
        for x, y in five:
            pen.ellipse([x - 1.5, y - 1.5, x + 1.5, y + 1.5], fill=(0, 255, 120))
    return picture


def within(boxes: Array, others: Array, pixels: float = 1.0) -> int:
    """How many of the boxes have one among the others of which no edge is further away than so many pixels."""
    far = np.abs(boxes.reshape(-1, 1, 4) - others.reshape(1, -1, 4)).max(2)
    return int((far <= pixels).any(1).sum())


def main() -> int:
    parser = argparse.ArgumentParser(description="Find faces in photos by MTCNN's cascade.")
    parser.add_argument("photos", nargs="+", type=Path, metavar="PHOTO")
    parser.add_argument("--models", type=Path, default=Path("models"), help="the folder of det1, det2 and det3")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="what another call printed: says how alike they are"
    )
    parser.add_argument("--opencv", action="store_true", help="let OpenCV run the nets (pip install opencv-python)")
    given = parser.parse_args()
    for path in [*given.photos, given.models / "det1.prototxt", *filter(None, [given.against])]:
        if not path.is_file():
            parser.error(f"{path}: no such file")
    try:
        cascade = by_opencv(given.models) if given.opencv else by_netc(given.models)
    except ImportError as error:
        parser.error(f"--opencv needs OpenCV: pip install opencv-python ({error})")
    said: dict[str, Any] = {"faces": 0, "photos": {}}
    for path in given.photos:
        photo = read(path)
        boxes, scores, points = cascade.faces(photo)
        draw(photo, boxes, points).save(f"{path.stem}_faces.jpg", quality=90)
        said["faces"] += len(boxes)
        found = {"boxes": boxes, "scores": scores, "points": points}
        said["photos"][path.name] = {key: values.astype(float).round(4).tolist() for key, values in found.items()}
    if given.against:
        theirs = json.loads(given.against.read_text(encoding="utf-8"))
        same = sum(
            within(np.array(said["photos"][name]["boxes"]), np.array(theirs["photos"][name]["boxes"]))
            for name in said["photos"].keys() & theirs["photos"].keys()
        )
        said["alike"] = same / max(said["faces"], theirs["faces"], 1)
    print(json.dumps(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
