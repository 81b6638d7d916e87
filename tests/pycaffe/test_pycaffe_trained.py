"""Strangers' trained models through `caffe.Net`, batch by batch and at another size than their prototxt's."""

from __future__ import annotations

import numpy as np
import pytest

import netc.caffe as caffe
from support.caffe import CONFORMANCE

MODELS = CONFORMANCE.parent / "data" / "models"

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is absent")

# Net, weights, and inputs with outputs of cv2.dnn.
CASES = (
    ("lenet/deploy.prototxt", "lenet_iter_10000.caffemodel", "ref_cv2_t10k64.npz"),
    (
        "cifar10_quick/cifar10_quick.prototxt",
        "cifar10_quick_iter_5000.caffemodel",
        "ref_cv2_cifar10_quick_iter_5000.npz",
    ),
    ("mtcnn/det1.prototxt", "det1.caffemodel", "ref_cv2_det1.npz"),
    ("mtcnn/det3.prototxt", "det3.caffemodel", "ref_cv2_det3.npz"),
    ("mtcnn/det4.prototxt", "det4.caffemodel", "ref_cv2_det4.npz"),
)


@pytest.mark.parametrize(("net", "weights", "reference"), CASES, ids=[case[0] for case in CASES])
def test_outputs(net: str, weights: str, reference: str) -> None:
    path = MODELS / net
    with np.load(path.parent / reference) as file:
        wanted = {key.removeprefix("out_"): file[key] for key in file if key.startswith("out_")}
        images = file["input"]
    made = caffe.Net(str(path), str(path.parent / weights), caffe.TEST)
    (name,) = made.inputs
    if images.shape[1:] != made.blobs[name].shape[1:]:
        made.blobs[name].reshape(*images.shape)
    found = made.forward_all(blobs=list(wanted), **{name: images})
    for blob, values in wanted.items():
        np.testing.assert_allclose(found[blob], values, atol=1e-4, err_msg=blob)
