"""Strangers' trained models: their prototxts with their weights give what another implementation computed of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

import netc
from netc.caffe.proto import caffe_pb2 as pb
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
    ("mtcnn/det2.prototxt", "det2.caffemodel", "ref_cv2_det2.npz"),
    ("mtcnn/det3.prototxt", "det3.caffemodel", "ref_cv2_det3.npz"),
    ("mtcnn/det4.prototxt", "det4.caffemodel", "ref_cv2_det4.npz"),
    (
        "mobilenetv2_mod11l_imagenet/deploy.prototxt",
        "MobilenetV2-mod11l-ImageNet_iter_850000.caffemodel",
        "ref_cv2_cat.npz",
    ),
)


@pytest.mark.parametrize(("net", "weights", "reference"), CASES, ids=[case[0] for case in CASES])
def test_outputs(net: str, weights: str, reference: str) -> None:
    path = MODELS / net
    with np.load(path.parent / reference) as file:
        wanted = {key.removeprefix("out_"): file[key] for key in file if key.startswith("out_")}
        images = file["input"]
    exe = netc.compile(path, outputs=list(wanted))
    assert exe.state.load(path.parent / weights).absent == ()
    ((name, type_),) = exe.program.inputs.items()
    batch = int(type_.shape[0])
    assert len(images) % batch == 0
    found = [exe(**{name: images[at : at + batch].astype(np.float32)}) for at in range(0, len(images), batch)]
    for key, array in wanted.items():
        ours = np.concatenate([outputs[key] for outputs in found])
        np.testing.assert_allclose(ours.reshape(array.shape), array, atol=1e-4, err_msg=key)


@pytest.mark.parametrize("name", ["v1_legacy", "v1_legacy_upgraded", "cifar10_quick"])
def test_nets_that_lie_in_a_caffemodel(tmp_path: Path, name: str) -> None:
    """The net that Caffe wrote with its weights, V1 with blobs of four numbers among them, against the real Caffe."""
    folder = CONFORMANCE / "files"
    weights = folder / f"{name}.caffemodel"
    net = pb.NetParameter.FromString(weights.read_bytes())
    for layer in [*net.layer, *net.layers]:
        del layer.blobs[:]
    (tmp_path / "net.prototxt").write_text(text_format.MessageToString(net))
    with np.load(folder / f"{name.removesuffix('_upgraded')}_check.npz") as file:
        data, prob = file["data"], file["prob"]
    exe = netc.compile(tmp_path / "net.prototxt", outputs=["prob"])
    assert exe.state.load(weights).absent == ()
    np.testing.assert_allclose(exe(data=data)["prob"], prob, rtol=1e-5, atol=1e-7)
