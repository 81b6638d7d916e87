"""Strangers' trained models: their prototxts with their weights give what another implementation computed of them."""

from __future__ import annotations

import gzip
import io
import json
import shutil
import tarfile
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from google.protobuf import text_format

import netc
from netc.caffe.proto import caffe_pb2 as pb
from netc.driver import compilation
from netc.request import request
from netc.runtime.caffe.datum import datum_bytes
from netc.runtime.caffe.leveldb import write_leveldb
from netc.runtime.caffe.mean import write_mean
from support.caffe import CONFORMANCE
from support.commands import run
from support.trained_models import MODELS, REFERENCES, reference

pytestmark = pytest.mark.skipif(not MODELS.is_dir(), reason=f"{MODELS} is absent")

# But for MTCNN's first net, whose reference is of another size than its prototxt's.
CASES = [case for case in REFERENCES if "det1" not in case[0]]


@pytest.mark.parametrize(("net", "weights", "outputs"), CASES, ids=[case[0] for case in CASES])
def test_outputs(net: str, weights: str, outputs: str) -> None:
    path = MODELS / net
    images, wanted = reference(path.parent / outputs)
    exe = netc.compile(path, outputs=list(wanted))
    assert exe.state.load(path.parent / weights).absent == ()
    ((name, type_),) = exe.program.inputs.items()
    batch = int(type_.shape[0])
    assert len(images) % batch == 0
    found = [exe(**{name: images[at : at + batch].astype(np.float32)}) for at in range(0, len(images), batch)]
    for key, array in wanted.items():
        ours = np.concatenate([outputs[key] for outputs in found])
        np.testing.assert_allclose(ours.reshape(array.shape), array, atol=1e-4, err_msg=key)


def test_a_net_at_the_size_of_a_photo() -> None:
    """MTCNN's first net, which its prototxt has for 12 x 12, over a whole photo: every layer slides along."""
    images, outputs = reference(MODELS / "mtcnn" / "ref_cv2_det1.npz")
    wanted = {key: outputs[key] for key in ("prob1", "conv4-2")}
    assert images.shape == (1, 3, 450, 344)
    want = request(outputs=list(wanted), shapes={"data": images.shape})
    made = compilation(MODELS / "mtcnn" / "det1.prototxt", want)
    state = made.new_state()
    assert state.load(MODELS / "mtcnn" / "det1.caffemodel").absent == ()
    found = made.executables(state)[-1].run({"data": images})
    for key, array in wanted.items():
        np.testing.assert_allclose(found[key], array, atol=1e-4, err_msg=key)


def test_lenet_is_right_about_991_in_1000_digits() -> None:
    digits = MODELS.parent / "mnist"
    images = np.frombuffer(gzip.decompress((digits / "t10k-images-idx3-ubyte.gz").read_bytes()), np.uint8, offset=16)
    labels = np.frombuffer(gzip.decompress((digits / "t10k-labels-idx1-ubyte.gz").read_bytes()), np.uint8, offset=8)
    exe = netc.compile(MODELS / "lenet" / "deploy.prototxt", outputs=["prob"])
    exe.state.load(MODELS / "lenet" / "lenet_iter_10000.caffemodel")
    batches = np.resize(images, (157, 64, 1, 28, 28)).astype(np.float32)  # the last one is filled with the first digits
    found = np.concatenate([exe(data=batch / 256)["prob"].argmax(1) for batch in batches])[: len(labels)]
    assert (found == labels).sum() == 9914  # as another implementation has it


@pytest.mark.slow
def test_cifar10_quick_is_right_about_735_in_1000_photos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The authors' own solver, on a database and a mean file as Caffe has them, of photos that are JPEGs."""
    classes = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    photos: list[tuple[bytes, bytes]] = []
    with tarfile.open(MODELS.parent / "cifar10" / "cifar10_jpeg_q75.tar.xz", "r|xz") as archive:
        for member in archive:
            *_, part, label, name = ("", "", *member.name.split("/"))
            if part == "test" and name.endswith(".jpg"):
                file = archive.extractfile(member)
                assert file is not None
                pixels = np.asarray(PIL.Image.open(io.BytesIO(file.read())))
                record = datum_bytes(np.ascontiguousarray(pixels.transpose(2, 0, 1)), classes.index(label))
                photos.append((f"{len(photos):05d}".encode(), record))
    assert len(photos) == 10_000
    folder = tmp_path / "examples" / "cifar10"
    folder.mkdir(parents=True)
    for part in ("train", "test"):
        write_leveldb(folder / f"cifar10_{part}_leveldb", iter(photos if part == "test" else photos[:100]))
    own = MODELS / "cifar10_quick"
    write_mean(folder / "mean.binaryproto", np.load(own / "mean_from_jpeg_train_RGB.npy"))
    for text in ("solver_lr1", "train_test"):
        shutil.copy(own / f"cifar10_quick_{text}.prototxt", folder)
    monkeypatch.chdir(tmp_path)
    solver, weights = folder / "cifar10_quick_solver_lr1.prototxt", own / "cifar10_quick_iter_5000.caffemodel"
    status, printed, told = run("test", solver, "--weights", weights, "--json")
    assert status == 0, told
    (result,) = json.loads(printed)["results"].values()
    assert result["records"] == 10_000
    assert round(result["values"]["accuracy"], 4) == 0.735


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
