"""`netc caffe TOOL`: Caffe's tools under their names, their flags, and what they write against what Caffe's wrote."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import pytest
from google.protobuf import text_format

from netc.caffe.__main__ import main
from netc.caffe.proto import caffe_pb2
from netc.commands.caffe import TOOLS
from netc.runtime.caffe.lmdb import Lmdb
from support.caffe import CONFORMANCE
from support.commands import run

FILES = CONFORMANCE / "files"
CIFAR_LOG = CONFORMANCE.parent / "data" / "models" / "cifar10_quick" / "train_log.txt"
needs_shared = pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")
NET = """
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 2 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "ip" inner_product_param { num_output: 2 } }
"""


def done(*words: object) -> str:
    status, _, told = run("caffe", *words)
    assert status == 0, told
    return told


def refused(*words: object) -> str:
    status, _, told = run("caffe", *words)
    assert status == 2
    return told


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


@needs_shared
@pytest.mark.parametrize("path", sorted(FILES.glob("upgrade_*_out.prototxt")), ids=lambda path: path.stem)
def test_an_old_net_is_written_as_caffe_writes_it(path: Path, tmp_path: Path) -> None:
    old = path.with_name(path.name.replace("_out", ""))
    done("upgrade_net_proto_text", old, tmp_path / "new.prototxt")
    assert (tmp_path / "new.prototxt").read_text() == path.read_text()


@needs_shared
def test_old_weights_are_written_as_caffe_writes_them(tmp_path: Path) -> None:
    done("upgrade_net_proto_binary", FILES / "v1_legacy.caffemodel", tmp_path / "new.caffemodel")
    assert (tmp_path / "new.caffemodel").read_bytes() == (FILES / "v1_legacy_upgraded.caffemodel").read_bytes()


def test_blobs_of_the_first_format_stay_with_their_layers(tmp_path: Path) -> None:
    text = """
    layers { bottom: "x" top: "a" layer { name: "a" type: "innerproduct" num_output: 2 blobs { num: 1 data: 5 } } }
    layers { bottom: "a" top: "b" layer { name: "b" type: "innerproduct" num_output: 1
             blobs { channels: 2 data: 6 diff: 1 } blobs { data: 7 } } }
    """
    (tmp_path / "old.caffemodel").write_bytes(text_format.Parse(text, caffe_pb2.NetParameter()).SerializeToString())
    done("upgrade_net_proto_binary", tmp_path / "old.caffemodel", tmp_path / "new.caffemodel")
    net = caffe_pb2.NetParameter.FromString((tmp_path / "new.caffemodel").read_bytes())
    assert [(layer.name, layer.type, [list(blob.data) for blob in layer.blobs]) for layer in net.layer] == [
        ("a", "InnerProduct", [[5.0]]),
        ("b", "InnerProduct", [[6.0], [7.0]]),
    ]
    assert (net.layer[1].blobs[0].channels, list(net.layer[1].blobs[0].diff)) == (2, [1.0])
    assert not net.layer[1].blobs[1].HasField("num")
    (tmp_path / "not.caffemodel").write_bytes(b"\xff" * 40)
    assert "not a caffemodel" in refused("upgrade_net_proto_binary", tmp_path / "not.caffemodel", tmp_path / "x")


def test_an_old_solver(tmp_path: Path) -> None:
    (tmp_path / "old.prototxt").write_text('net: "a" solver_type: ADAM base_lr: 1 max_iter: 5 snapshot_format: HDF5')
    done("upgrade_solver_proto_text", tmp_path / "old.prototxt", tmp_path / "new.prototxt")
    lines = (tmp_path / "new.prototxt").read_text().splitlines()
    assert set(lines) == {
        'net: "a"',
        "base_lr: 1",
        "max_iter: 5",
        "snapshot_format: HDF5",
        'type: "ADAM"'.replace("ADAM", "Adam"),
    }
    (tmp_path / "bad.prototxt").write_text('type: "SGD" solver_type: SGD')
    told = refused("upgrade_solver_proto_text", tmp_path / "bad.prototxt", tmp_path / "x")
    assert "bad.prototxt:1:26" in told
    assert not (tmp_path / "x").exists()


@needs_shared
def test_a_log_of_caffes(tmp_path: Path) -> None:
    done("parse_log", FILES / "lenet_train.log", tmp_path)
    train, test = (table(tmp_path / f"lenet_train.log.{kind}") for kind in ("train", "test"))
    assert list(train[0]) == ["NumIters", "Seconds", "LearningRate", "loss"]
    assert [row["NumIters"] for row in train] == [str(i) for i in range(10)]
    assert train[1] == {
        "NumIters": "1",
        "Seconds": train[1]["Seconds"],
        "LearningRate": "0.00999925",
        "loss": "2.26417",
    }
    assert [(row["NumIters"], row["accuracy"], row["loss"]) for row in test] == [
        ("0", "0.15625", "2.37281"),
        ("5", "0.15625", "2.20173"),
        ("10", "0.15625", "2.0598"),
    ]
    seconds = [float(row["Seconds"]) for row in train]
    assert seconds == sorted(seconds)
    assert 0 < seconds[0] < seconds[-1] < 1


@pytest.mark.skipif(not CIFAR_LOG.is_file(), reason=f"{CIFAR_LOG} is absent")
def test_a_log_of_2014_over_two_runs(tmp_path: Path) -> None:
    done("parse_log", CIFAR_LOG, tmp_path, "--delimiter", ";")
    text = (tmp_path / "train_log.txt.test").read_text().splitlines()
    assert text[0] == "NumIters;Seconds;LearningRate;accuracy;loss"
    assert text[-1].startswith("5000;")
    assert text[-1].endswith(";0.0001;0.7491;0.74817")
    assert "delimiter is one character" in refused("parse_log", CIFAR_LOG, tmp_path, "--delimiter", "ab")


def test_several_test_nets_and_a_new_year(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("""nohup
I1231 23:59:59.500000  1 solver.cpp:1] Solving net
I1231 23:59:59.600000  1 solver.cpp:1] Iteration 0, Testing net (#0)
I1231 23:59:59.700000  1 solver.cpp:1]     Test net output #0: acc = 0.5
I1231 23:59:59.800000  1 solver.cpp:1] Iteration 0, Testing net (#1)
I0101 00:00:00.500000  1 solver.cpp:1]     Test net output #0: acc = 0.25
I0101 00:00:00.600000  1 solver.cpp:1]     Train net output #0: loss = -nan (* 1 = -nan loss)
I0101 00:00:01.500000  1 solver.cpp:1] Iteration 0, lr = 1e-05
""")
    done("parse_log", tmp_path / "a.log", tmp_path)
    assert table(tmp_path / "a.log.test") == [
        {"NumIters": "0", "Seconds": "0.2", "LearningRate": "1e-05", "acc": "0.5", "acc (#1)": "0.25"}
    ]
    assert table(tmp_path / "a.log.train") == [
        {"NumIters": "0", "Seconds": "1.1", "LearningRate": "1e-05", "loss": "nan"}
    ]


def test_what_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(b"Iteration 99999999999999999999\n" * 3 + b"\xff\n")
    assert "no log of training" in refused("parse_log", tmp_path / "a.txt", tmp_path)
    assert "there is no such file" in refused("parse_log", tmp_path / "b.txt", tmp_path)


def test_drawings(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(NET)
    done("draw_net", tmp_path / "net.prototxt", tmp_path / "net.dot", "--rankdir", "TB")
    assert '"ip_InnerProduct"' in (tmp_path / "net.dot").read_text()


@needs_shared
def test_a_database_and_its_mean(tmp_path: Path) -> None:
    size = ("-resize_width=28", "--resize_height", "28")
    told = done("convert_imageset", *size, "-gray", "-noshuffle", FILES / "img", FILES / "list.txt", tmp_path / "db")
    assert told.startswith("netc data convert ")
    ours, caffes = Lmdb(tmp_path / "db"), Lmdb(FILES / "lmdb_gray_resized")
    assert [(ours.key(i), ours.value(i)) for i in range(32)] == [(caffes.key(i), caffes.value(i)) for i in range(32)]
    done("compute_image_mean", tmp_path / "db", tmp_path / "mean.binaryproto")
    assert (tmp_path / "mean.binaryproto").stat().st_size > 28 * 28 * 4


def test_flags_become_those_of_netc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.prototxt").write_text(NET)
    told = refused("time", "-model", "net.prototxt", "-phase=TEST", "--iterations", "3", "-stage", "a,b")
    assert told.splitlines()[0] == "netc profile net.prototxt --mode test --set 'stage=[a,b]'"
    assert "has no setting `stage`" in told
    assert done("device_query", "-gpu", "0").startswith("netc devices")
    assert "not both" in refused("train", "-solver", "s", "-snapshot", "a", "-weights", "b")
    assert "has no other effect" in refused("train", "-solver", "s", "-sighup_effect", "snapshot")
    assert "name one" in refused("train", "-solver", "s", "-gpu", "0,1")
    assert "CUDA_VISIBLE_DEVICES=3" in refused("time", "-model", "net.prototxt", "-gpu", "3")
    assert "true or false is wanted" in refused("convert_imageset", "a", "b", "c", "-gray=maybe")
    assert "absent.prototxt: cannot be read" in refused("train", "-solver", "absent.prototxt")
    Path("solver.prototxt").write_text('net: "net.prototxt" snapshot_format: HDF5')
    told = refused("train", "-solver", "solver.prototxt", "-weights", "a,b", "-gpu", "0", "-level", "2")
    words = "netc train solver.prototxt --weights a --weights b --device cuda --set level=2 --for-caffe solver.h5"
    assert told.splitlines()[0] == words
    Path("solver.prototxt").write_text('net: "net.prototxt" snapshot_after_train: false')
    assert refused("train", "-solver", "solver.prototxt").splitlines()[0] == "netc train solver.prototxt"
    Path("solver.prototxt").write_text('net: "net.prototxt" snapshot_prefix: "nowhere/x"')
    assert "there is no folder nowhere" in refused("train", "-solver", "solver.prototxt")


@needs_shared
def test_training_by_caffes_flags_and_back_to_caffe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Five steps of the real solver from the real snapshot, and the snapshot of that run as Caffe has one."""
    monkeypatch.chdir(tmp_path)
    for name in ("lenet_train_test.prototxt", "lenet_iter_5.caffemodel", "lenet_iter_5.solverstate"):
        shutil.copy(FILES / name, tmp_path)
    shutil.copytree(FILES / "lmdb_gray_resized", tmp_path / "files" / "lmdb_gray_resized")
    solver = (FILES / "lenet_solver.prototxt").read_text()
    Path("solver.prototxt").write_text(solver.replace("files/lenet_train_test", "lenet_train_test"))
    told = done("train", "-solver", "solver.prototxt", "-snapshot", "lenet_iter_5.solverstate")
    assert "--for-caffe files/lenet" in told.splitlines()[0]
    done("snapshot", "solver.prototxt", "left")
    assert Path("files/lenet_iter_10.caffemodel").read_bytes() == Path("left_iter_10.caffemodel").read_bytes()
    state = caffe_pb2.SolverState.FromString(Path("files/lenet_iter_10.solverstate").read_bytes())
    assert state.learned_net == "files/lenet_iter_10.caffemodel"
    state.learned_net = "left_iter_10.caffemodel"
    assert state == caffe_pb2.SolverState.FromString(Path("left_iter_10.solverstate").read_bytes())
    state = caffe_pb2.SolverState.FromString(Path("left_iter_10.solverstate").read_bytes())
    real = caffe_pb2.SolverState.FromString((FILES / "lenet_iter_5.solverstate").read_bytes())
    assert (state.iter, state.learned_net) == (10, "left_iter_10.caffemodel")
    assert [list(blob.shape.dim) for blob in state.history] == [list(blob.shape.dim) for blob in real.history]
    ours, caffes = (
        caffe_pb2.NetParameter.FromString(path.read_bytes())
        for path in (Path("left_iter_10.caffemodel"), FILES / "lenet_iter_10.caffemodel")
    )
    weights = {layer.name: [list(blob.data) for blob in layer.blobs] for layer in caffes.layer if layer.blobs}
    assert {layer.name for layer in ours.layer} == set(weights)
    for layer in ours.layer:
        for blob, want in zip(layer.blobs, weights[layer.name], strict=True):
            assert list(blob.data) == pytest.approx(want, abs=1e-6)
    done("parse_log", "runs/LeNet/1/log.jsonl")
    done("parse_log", FILES / "lenet_resume.log")
    train, real = table(Path("log.jsonl.train")), table(Path("lenet_resume.log.train"))
    assert [row["NumIters"] for row in train] == ["6", "7", "8", "9", "10"]
    for mine, theirs in zip(train, real, strict=True):
        for name in ("loss", "LearningRate"):
            assert float(mine[name]) == pytest.approx(float(theirs[name]), rel=1e-4)
    test, real = table(Path("log.jsonl.test")), table(Path("lenet_resume.log.test"))
    for name in ("loss", "accuracy"):
        assert float(test[-1][name]) == pytest.approx(float(real[-1][name]), rel=1e-4)
    assert float(test[-1]["Seconds"]) >= float(train[-1]["Seconds"])
    told = refused("snapshot", "solver.prototxt", "left", "--folder", tmp_path)
    assert "the run has no snapshot" in told


def test_the_other_door(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`python -m netc.caffe TOOL`, unless there is a script of that name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.prototxt").write_text(NET)
    with pytest.raises(SystemExit) as exit_:
        main(["draw_net", "net.prototxt", "net.svg"])
    assert exit_.value.code == 0
    assert (tmp_path / "net.svg").is_file()
    assert main(["draw_nets", "net.prototxt"]) == 2
    assert "no script" in capsys.readouterr().err


def test_every_tool_says_what_it_does() -> None:
    for tool in TOOLS:
        status, printed, _ = run("caffe", tool, "--help")
        assert status == 0
        assert printed.startswith("Usage:")
