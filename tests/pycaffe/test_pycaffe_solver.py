"""Solvers as pycaffe's own tests describe them, and on Caffe's own files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc.caffe as caffe
import netc.caffe.process as process
from netc.grammar.source import SourceErrors, UserError
from netc.runtime.caffe.model import read_model
from netc.runtime.caffe.solver_state import read_solver_state
from support.caffe import CONFORMANCE
from support.caffe.pycaffe import SMALL

FILES = CONFORMANCE / "files"
SOLVER = """net: 'small.prototxt'
test_iter: 10 test_interval: 10 base_lr: 0.01 momentum: 0.9 weight_decay: 0.0005 lr_policy: 'inv' gamma: 0.0001
power: 0.75 display: 100 max_iter: 100 snapshot_after_train: false snapshot_prefix: 'model'
"""


@pytest.fixture
def solver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    Path("small.prototxt").write_text(SMALL)
    Path("solver.prototxt").write_text(SOLVER)
    return labelled(caffe.SGDSolver("solver.prototxt"))


def labelled(solver: Any) -> Any:
    for net in (solver.net, *solver.test_nets):
        label = net.blobs["label"]
        label.data[...] = np.random.default_rng(0).integers(13, size=label.data.shape)
    return solver


def parameters(net: Any) -> list[np.ndarray[Any, Any]]:
    return [blob.data.copy() for blobs in net.params.values() for blob in blobs]


def test_solve(solver: Any, capsys: pytest.CaptureFixture[str]) -> None:
    labels = solver.test_nets[0].blobs["label"].data.copy()
    assert solver.iter == 0
    first = solver.net.forward()["loss"].item()
    solver.solve()
    assert solver.iter == 100
    assert solver.net.blobs["loss"].data.item() < first / 2
    np.testing.assert_array_equal(solver.test_nets[0].blobs["label"].data, labels)  # constants are filled once
    for mine, theirs in zip(parameters(solver.net), parameters(solver.test_nets[0]), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    log = capsys.readouterr().err
    assert re.search(
        r"^I\d{4} [\d:.]+ +\d+ solver\.cpp:0\] Iteration 0 \(.+ iter/s, .+s/100 iters\), loss = ", log, re.M
    )
    assert log.count("Testing net (#0)") == 11
    assert re.search(r"    Test net output #0: loss = \S+ \(\* 1 = \S+ loss\)", log)
    assert not list(Path().glob("model*"))


def test_an_update_takes_what_stands_in_diffs(solver: Any) -> None:
    net = solver.net
    data, diff = net.params["conv"][1].data, net.params["conv"][1].diff  # its decay is 0
    before = data.copy()
    diff[...] = 1
    solver.apply_update()
    np.testing.assert_allclose(before - data, 0.01, rtol=1e-4)
    np.testing.assert_allclose(diff, 0.01, rtol=1e-6)
    assert solver.iter == 1
    assert solver.lr == pytest.approx(0.01 * 1.0001**-0.75)


def test_after_a_step_diffs_hold_what_was_taken(solver: Any) -> None:
    before = parameters(solver.net)
    solver.step(1)
    diffs = [blob.diff for blobs in solver.net.params.values() for blob in blobs]
    for was, now, diff in zip(before, parameters(solver.net), diffs, strict=True):
        np.testing.assert_allclose(was - now, diff, atol=1e-6)
        assert np.abs(diff).max() > 0


def test_nets_outlive_their_solver(solver: Any) -> None:
    nets = [solver.net, *solver.test_nets]
    del solver
    assert all(np.isfinite(values).all() for net in nets for values in parameters(net))
    assert all(np.isfinite(net.forward()["loss"]).all() for net in nets)


@pytest.mark.parametrize("kind", ["SGD", "Nesterov", "AdaGrad", "RMSProp", "AdaDelta", "Adam"])
@pytest.mark.parametrize("hdf5", [False, True])
def test_a_run_goes_on_from_its_snapshot(solver: Any, kind: str, hdf5: bool) -> None:
    text = SOLVER.replace("0.9", "0.9" if kind in ("SGD", "Nesterov", "AdaDelta", "Adam") else "0")
    text += f"type: '{kind}' random_seed: 3" + (" snapshot_format: HDF5" if hdf5 else "")
    Path("solver.prototxt").write_text(text)
    one = labelled(caffe.get_solver("solver.prototxt"))
    one.step(2)
    one.snapshot()
    data = one.net.blobs["data"].data.copy()
    other = labelled(getattr(caffe, f"{kind}Solver")("solver.prototxt"))
    other.restore("model_iter_2.solverstate" + (".h5" if hdf5 else ""))
    assert other.iter == 2
    for each in (one, other):
        for net in (each.net,):
            net.clear_param_diffs()
            net.blobs["data"].data[...] = data
            net.forward(start="conv")
            net.backward()
            each.apply_update()
    for mine, theirs in zip(parameters(one.net), parameters(other.net), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_snapshots_fall_into_steps(solver: Any) -> None:
    Path("solver.prototxt").write_text(SOLVER + "snapshot: 2 snapshot_diff: true")
    other = labelled(caffe.get_solver("solver.prototxt"))
    other.step(5)
    assert sorted(path.name for path in Path().glob("model*")) == [
        f"model_iter_{n}.{end}" for n in (2, 4) for end in ("caffemodel", "solverstate")
    ]
    state = read_solver_state(Path("model_iter_4.solverstate"))
    assert (state.iter, state.learned_net, len(state.history)) == (4, "model_iter_4.caffemodel", 4)
    layers = read_model(Path("model_iter_4.caffemodel")).layers
    assert [(layer.name, layer.type, len(layer.blobs)) for layer in layers] == [
        ("data", "DummyData", 0),
        ("conv", "Convolution", 2),
        ("ip", "InnerProduct", 2),
        ("loss", "SoftmaxWithLoss", 0),
    ]
    diff = layers[1].blobs[0].diff
    assert diff is not None
    np.testing.assert_allclose(state.history[0].data.reshape(diff.shape), diff)  # what was taken is the history


def test_nets_may_stand_in_the_solver(solver: Any) -> None:
    Path("solver.prototxt").write_text(
        f"net_param {{ {SMALL} }} test_net_param {{ {SMALL} }} test_iter: 2 test_iter: 1 test_interval: 2 base_lr: 0.01"
        " lr_policy: 'step' gamma: 0.1 stepsize: 3 max_iter: 4 test_state { } test_state { stage: 'x' }"
    )
    other = labelled(caffe.get_solver("solver.prototxt"))
    assert len(other.test_nets) == 2
    other.solve()
    assert other.lr == pytest.approx(0.001)
    state = read_solver_state(Path("solver_iter_4.solverstate"))  # the prefix is the solver's own name
    assert (state.iter, state.current_step) == (4, 1)


def test_callbacks(solver: Any) -> None:
    seen: list[tuple[str, bool]] = []
    diff = solver.net.params["ip"][0].diff
    solver.add_callback(lambda: seen.append(("start", diff.any())), lambda: seen.append(("ready", diff.any())))
    solver.step(2)
    assert seen == [("start", False), ("ready", True)] * 2


def test_parameters_of_a_solver(solver: Any) -> None:
    assert (solver.param.max_iter, solver.param.display, solver.param.test_iter) == (100, 100, [10])
    solver.param.base_lr = 0.5
    assert solver.lr == 0.5
    with pytest.raises(AttributeError, match="no parameter 'speed'"):
        _ = solver.param.speed
    with pytest.raises(AttributeError, match="cannot be set"):
        solver.param.gamma = 2
    other = caffe.Net("small.prototxt", caffe.TEST)
    solver.share_weights(other)
    assert np.shares_memory(other.params["ip"][0].data, solver.net.params["ip"][0].data)


def test_mistakes(solver: Any) -> None:
    with pytest.raises(RuntimeError, match="Could not open file"):
        caffe.get_solver("none.prototxt")
    for text, message in (
        ("type: 'Adams'", "`type` is `Adams`, which there is not"),
        ("lr_policy: 'invers'", "`lr_policy` is `invers`"),
        ("type: 'AdaGrad'", "AdaGrad has no momentum"),
        ("train_net: 'small.prototxt'", "both name the net to train"),
    ):
        kept = SOLVER.replace("lr_policy: 'inv'", "") if "lr_policy" in text else SOLVER
        Path("solver.prototxt").write_text(kept + text)
        with pytest.raises(SourceErrors, match=message):
            caffe.get_solver("solver.prototxt")
    Path("solver.prototxt").write_text(SOLVER + "type: 'Adam'")
    solver.snapshot()
    with pytest.raises(UserError, match="it has 4 histories, this solver keeps 8"):
        caffe.get_solver("solver.prototxt").restore("model_iter_0.solverstate")


@pytest.mark.skipif(not FILES.is_dir(), reason=f"{FILES} is absent")
def test_lenet_goes_on_from_step_5_to_caffes_step_10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Solver, net, database, weights and histories are Caffe's; losses and weights are those that Caffe came to."""
    monkeypatch.chdir(CONFORMANCE)
    text = (FILES / "lenet_solver.prototxt").read_text().replace('files/lenet"', f'{tmp_path}/lenet"')
    (tmp_path / "solver.prototxt").write_text(text)
    solver = caffe.get_solver(tmp_path / "solver.prototxt")
    solver.restore("files/lenet_iter_5.solverstate")
    losses: list[float] = []
    solver.add_callback(lambda: None, lambda: losses.append(solver.net.blobs["loss"].data.item()))
    solver.step(5)
    wanted = re.findall(r"Iteration [5-9] \(.*, loss = (\S+)", (FILES / "lenet_resume.log").read_text())
    np.testing.assert_allclose(losses, [float(loss) for loss in wanted], rtol=1e-4)
    for layer in read_model(FILES / "lenet_iter_10.caffemodel").layers:
        for blob, given in zip(
            solver.net.layer_dict[layer.name].blobs if layer.blobs else (), layer.blobs, strict=True
        ):
            np.testing.assert_allclose(blob.data, given.data.reshape(blob.shape), atol=1e-6)
    assert (tmp_path / "lenet_iter_10.solverstate").is_file()


@pytest.mark.parametrize("target", ["c", "triton"])
def test_other_targets_take_the_same_steps(target: str, solver: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a GPU: where programs have memory of their own, arrays are copied in and out."""
    found = []
    for chosen in ("numpy", target):
        monkeypatch.setattr(process.HERE, "target", chosen)
        caffe.set_random_seed(3)
        one = labelled(caffe.SGDSolver("solver.prototxt"))
        one.net.params["ip"][1].data[...] += 1
        one.step(2)
        assert one.net._core.compilation.request.target == chosen
        ip = one.net.params["ip"][0]
        found.append(
            [*parameters(one.net), one.net.blobs["conv"].data.copy(), one.net.blobs["conv"].diff.copy(), ip.diff]
        )
    for ours, others in zip(*found, strict=True):
        np.testing.assert_allclose(others, ours, rtol=1e-3, atol=1e-5)
