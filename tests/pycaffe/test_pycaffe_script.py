"""Unchanged scripts: `python -m netc.caffe script.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.caffe.pycaffe import SMALL

ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
import caffe
import caffe.io
from caffe import layers as L, params as P
from caffe.proto import caffe_pb2
import caffe.proto.caffe_pb2 as same
import netc.caffe

from beside import number

assert caffe is netc.caffe and caffe.__name__ == "netc.caffe" and caffe.__spec__.name == "netc.caffe"
assert caffe_pb2 is same and caffe.io is netc.caffe.io
assert P.Pooling.MAX == caffe_pb2.PoolingParameter.MAX == 0
try:
    import caffe.nothing
except ModuleNotFoundError:
    pass
else:
    raise AssertionError

caffe.set_mode_cpu()
net = caffe.Net(sys.argv[1], caffe.TRAIN)
print(__name__, number, sorted(net.forward()), caffe_pb2.NetParameter(name="x").name, sys.argv[0].endswith("script.py"))
"""


# As the notebook of Caffe's that begins with LeNet does it, on the digits that come with netc.
LEARNING = """
import lmdb
import numpy as np

import caffe
from caffe import layers as L, params as P
from netc.runtime.data.mnist import EMBEDDED

caffe.set_random_seed(1)
with np.load(EMBEDDED) as digits:
    images, labels = digits["train_image"][::4], digits["train_label"][::4]
with lmdb.open("digits_lmdb", map_size=1 << 26) as base, base.begin(write=True) as batch:
    for number, (image, label) in enumerate(zip(images, labels)):
        datum = caffe.io.array_to_datum(image, int(label))
        batch.put(f"{number:08d}".encode(), datum.SerializeToString())


def lenet(batch_size):
    n = caffe.NetSpec()
    scale = dict(scale=1.0 / 255)
    n.data, n.label = L.Data(
        batch_size=batch_size, backend=P.Data.LMDB, source="digits_lmdb", transform_param=scale, ntop=2
    )
    n.conv1 = L.Convolution(n.data, kernel_size=5, num_output=20, weight_filler=dict(type="xavier"))
    n.pool1 = L.Pooling(n.conv1, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.conv2 = L.Convolution(n.pool1, kernel_size=5, num_output=50, weight_filler=dict(type="xavier"))
    n.pool2 = L.Pooling(n.conv2, kernel_size=2, stride=2, pool=P.Pooling.MAX)
    n.fc1 = L.InnerProduct(n.pool2, num_output=100, weight_filler=dict(type="xavier"))
    n.relu1 = L.ReLU(n.fc1, in_place=True)
    n.score = L.InnerProduct(n.relu1, num_output=10, weight_filler=dict(type="xavier"))
    n.loss = L.SoftmaxWithLoss(n.score, n.label)
    return n.to_proto()


for name, size in (("train", 64), ("test", 100)):
    with open(f"{name}.prototxt", "w") as file:
        file.write(str(lenet(size)))
with open("solver.prototxt", "w") as file:
    file.write(
        "train_net: 'train.prototxt' test_net: 'test.prototxt' test_interval: 500 test_iter: 2 base_lr: 0.01"
        " momentum: 0.9 weight_decay: 5e-4 lr_policy: 'inv' gamma: 1e-4 power: 0.75 max_iter: 100"
    )
solver = caffe.SGDSolver("solver.prototxt")
assert [(k, v.data.shape) for k, v in solver.net.blobs.items()][2:4] == [
    ("conv1", (64, 20, 24, 24)), ("pool1", (64, 20, 12, 12))
]
solver.net.forward()
solver.test_nets[0].forward()
solver.step(1)
assert solver.net.params["conv1"][0].diff[:, 0].any()
losses = []
for it in range(50):
    solver.step(1)
    losses.append(float(solver.net.blobs["loss"].data))
    solver.test_nets[0].forward(start="conv1")
correct = 0
for _ in range(3):
    solver.test_nets[0].forward()
    correct += sum(solver.test_nets[0].blobs["score"].data.argmax(1) == solver.test_nets[0].blobs["label"].data)
print(losses[0] > 3 * losses[-1], correct / 300 > 0.8)
"""


def run(*arguments: str | Path, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "netc.caffe", *map(str, arguments)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_a_script_runs_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "elsewhere"
    place.mkdir()
    (place / "script.py").write_text(SCRIPT)
    (place / "beside.py").write_text("number = 7\n")
    (tmp_path / "small.prototxt").write_text(SMALL)
    found = run("elsewhere/script.py", "small.prototxt", folder=tmp_path)
    assert found.stderr == ""
    assert found.stdout == "__main__ 7 ['loss'] x True\n"
    assert found.returncode == 0


def test_modules_run_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "small.prototxt").write_text(SMALL)
    (tmp_path / "test_small.py").write_text(
        "import unittest\nimport caffe\n\n\nclass Small(unittest.TestCase):\n    def test(self):\n"
        "        net = caffe.Net('small.prototxt', caffe.TEST)\n"
        "        self.assertEqual(list(net.forward()), ['loss'])\n"
    )
    found = run("-m", "unittest", "test_small", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert "Ran 1 test" in found.stderr
    (tmp_path / "test_small.py").write_text("import caffe\nraise SystemExit(3)\n")
    assert run("-m", "test_small", folder=tmp_path).returncode == 3


def test_a_script_on_another_target(tmp_path: Path) -> None:
    (tmp_path / "small.prototxt").write_text(SMALL)
    (tmp_path / "script.py").write_text(
        "import caffe\n"
        "net = caffe.Net('small.prototxt', caffe.TEST)\n"
        "print(net._core.compilation.request.target, list(net.forward()))\n"
    )
    found = run("--target", "c", "script.py", folder=tmp_path)
    assert (found.stdout, found.stderr) == ("c ['loss']\n", "")


def test_a_script_that_learns(tmp_path: Path) -> None:
    (tmp_path / "learning.py").write_text(LEARNING)
    found = run("learning.py", folder=tmp_path)
    assert found.returncode == 0, found.stderr
    assert found.stdout == "True True\n"


def test_mistakes(tmp_path: Path) -> None:
    found = run(folder=tmp_path)
    assert (found.returncode, found.stderr.split()[0]) == (2, "usage:")
    found = run("none.py", folder=tmp_path)
    assert (found.returncode, found.stderr) == (2, "netc: there is no script none.py\n")
    found = run("--target", "d", "none.py", folder=tmp_path)
    assert (found.returncode, found.stderr.partition(";")[0]) == (2, "netc: there is no target `d`")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)\n")
    assert run("ends.py", folder=tmp_path).returncode == 3
