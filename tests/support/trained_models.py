"""Trained models of strangers: a net, its weights, and inputs with the outputs of cv2.dnn, in one folder each."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from .caffe import CONFORMANCE

MODELS = CONFORMANCE.parent / "data" / "models"
REFERENCES = (
    ("lenet/deploy.prototxt", "lenet_iter_10000.caffemodel", "ref_cv2_t10k64.npz"),
    (
        "cifar10_quick/cifar10_quick.prototxt",
        "cifar10_quick_iter_5000.caffemodel",
        "ref_cv2_cifar10_quick_iter_5000.npz",
    ),
    ("mtcnn/det1.prototxt", "det1.caffemodel", "ref_cv2_det1.npz"),
    ("mtcnn/det2.prototxt", "det2.caffemodel", "ref_cv2_det2.npz"),
    ("mtcnn/det3.prototxt", "det3.caffemodel", "ref_cv2_det3.npz"),
    ("mtcnn/det4.prototxt", "det4.caffemodel", "ref_cv2_det4.npz"),
    (
        "mobilenetv2_mod11l_imagenet/deploy.prototxt",
        "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel",
        "ref_cv2_cat.npz",
    ),
)


def reference(file: Path) -> tuple[npt.NDArray[np.float32], dict[str, npt.NDArray[np.float32]]]:
    """The inputs of a file of references, and the outputs by their blobs."""
    with np.load(file) as kept:
        return kept["input"], {key.removeprefix("out_"): kept[key] for key in kept if key.startswith("out_")}
