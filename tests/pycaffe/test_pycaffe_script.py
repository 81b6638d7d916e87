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


def test_mistakes(tmp_path: Path) -> None:
    found = run(folder=tmp_path)
    assert (found.returncode, found.stderr.split()[0]) == (2, "usage:")
    found = run("none.py", folder=tmp_path)
    assert (found.returncode, found.stderr) == (2, "netc: there is no script none.py\n")
    (tmp_path / "ends.py").write_text("import sys\nsys.exit(3)\n")
    assert run("ends.py", folder=tmp_path).returncode == 3
