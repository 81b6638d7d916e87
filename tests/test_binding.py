"""Arrays of the caller as inputs and outputs, and states that executables share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc.grammar.source import UserError
from netc.runtime.executable import Executable

NET = """
net a(scale = 1) {
    input x: f32[N, 2, 6, 6]
    input y: i32[N]
    h = x |> conv(4, 3, pad: 1, bias: none, lr: LR) as enc |> batch_norm as bn |> relu |> dropout(0.5)
    logits = h |> linear(3) as score
    loss nll = softmax_loss(logits, y)
    output prob = softmax(logits)
}
data rows = npz("rows.npz", arrays: [x, y], batch: 4)
train a {
    from: rows
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 4
    EXTRA
}
"""
Arrays = dict[str, Any]


def written(folder: Path, *, extra: str = "", lr: str = "1", name: str = "a") -> Path:
    file = folder / f"{name}.net"
    file.write_text(NET.replace("EXTRA", extra).replace("LR", lr))
    return file


def batch(seed: int = 0) -> Arrays:
    rng = np.random.default_rng(seed)
    return {"x": rng.standard_normal((4, 2, 6, 6)).astype("f4"), "y": rng.integers(0, 3, 4).astype("i4")}


def same(found: Arrays, expected: Arrays) -> None:
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-6, err_msg=name)


def test_a_bound_program_of_another_target_copies(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["prob"], target="c")
    x, prob = np.zeros((4, 2, 6, 6), "f4"), np.zeros((4, 3), "f4")
    exe.bind({"x": x}, {"prob": prob})
    for seed in range(2):
        x[:] = batch(seed)["x"]
        assert exe()["prob"] is prob
        twin = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["prob"])
        np.testing.assert_allclose(prob, twin(x=x)["prob"], rtol=1e-4)


def test_a_bound_program_works_in_the_arrays_of_the_caller(tmp_path: Path) -> None:
    exe, twin = (netc.compile(written(tmp_path), dims={"N": 4}, outputs=["prob", "logits"]) for _ in range(2))
    x, prob = np.zeros((4, 2, 6, 6), "f4"), np.zeros((4, 3), "f4")
    exe.bind({"x": x}, {"prob": prob})
    for seed in range(3):
        x[:] = batch(seed)["x"]
        found = exe()
        assert found["prob"] is prob
        same(found, twin(x=x))
    engine: Any = exe._engine
    assert engine._inputs["x"] is x
    assert "prob" not in engine._outputs  # nothing is fetched: the last kernel writes into the array
    assert exe.program.bound == ("prob",)
    assert not exe.program.updates
    same(exe.values("enc", "prob"), {**twin.values("enc"), "prob": prob})
    exe()  # with `enc` among the outputs
    same(exe.values("enc"), twin.values("enc"))
    assert engine is not exe._engine
    exe.bind()
    kept = prob.copy()
    assert exe(x=batch(7)["x"])["prob"] is not prob
    assert np.array_equal(prob, kept)


def test_a_clone_has_arrays_of_its_own(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["prob"])
    prob = np.zeros((4, 3), "f4")
    exe.bind({}, {"prob": prob})
    clone = exe.clone()
    found = [clone(x=batch(seed)["x"])["prob"] for seed in range(2)]
    assert not prob.any()
    for seed, array in enumerate(found):  # an earlier result stays as it was
        assert np.array_equal(array, exe(x=batch(seed)["x"])["prob"])


@pytest.mark.parametrize("extra", ["", "accumulate: 2"])
def test_a_bound_step_is_the_same_step(extra: str, tmp_path: Path) -> None:
    step, twin = (netc.compile(written(tmp_path, extra=extra), mode="train", dims={"N": 4}) for _ in range(2))
    given = {name: np.zeros_like(array) for name, array in batch().items()}
    nll = np.zeros((), "f4")
    step.bind(given, {"nll": nll})
    for seed in range(4):
        for name, array in batch(seed).items():
            given[name][...] = array
        step()
        np.testing.assert_allclose(nll, twin(**batch(seed))["nll"], rtol=1e-5)
        same(dict(step.state), dict(twin.state))


def test_gradients_are_written_into_arrays(tmp_path: Path) -> None:
    exe, twin = (
        netc.compile(written(tmp_path), mode="train", dims={"N": 4}, gradients=["bn", "score.weight"]) for _ in range(2)
    )
    bn, weight = np.zeros((4, 4, 6, 6), "f4"), np.zeros((3, 144), "f4")
    exe.bind(outputs={"bn.grad": bn, "score.weight.grad": weight})
    exe(**batch())
    expected = twin(**batch())
    same({"bn": bn, "weight": weight}, {"bn": expected["bn.grad"], "weight": expected["score.weight.grad"]})


def test_where_arrays_cannot_be_the_programs_they_are_copied(tmp_path: Path) -> None:
    pytest.importorskip("triton")
    file = tmp_path / "b.net"
    file.write_text(
        'net b {\n    input x: f32[N, 6]\n    h = host("support.python_layers:cubed", x)\n    output y = h + 1\n}\n'
        "net c {\n    input x: f32[N, 6]\n    output y = x * x * x + 1\n}\n"
    )
    for net, target in (("b", "numpy"), ("c", "triton")):
        exe = netc.compile(file, net=net, dims={"N": 2}, target=target, allow_python=True)
        x, y = np.ones((2, 6), "f4"), np.zeros((2, 6), "f4")
        exe.bind({"x": x}, {"y": y})
        for value in (1, 2):
            x[:] = value
            assert exe()["y"] is y
            np.testing.assert_allclose(y, value**3 + 1, rtol=1e-6)


def test_what_cannot_be_bound(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["prob"])
    x, prob = np.zeros((4, 2, 6, 6), "f4"), np.zeros((4, 3), "f4")
    fixed = np.zeros((4, 3), "f4")
    fixed.flags.writeable = False
    cases: list[tuple[Arrays, Arrays, str]] = [
        ({"z": x}, {}, "the input `z` is not one of the program's"),
        ({"x": x[:2]}, {}, r"the input `x` is bound to a row-major array of float32\(4, 2, 6, 6\), not float32\(2, 2"),
        ({"x": x.astype("f8")}, {}, "not float64"),
        ({"x": x.tolist()}, {}, "not list"),
        ({"x": x.transpose(0, 1, 3, 2)}, {}, "in one piece"),
        ({}, {"prob": fixed}, "that can be written"),
        ({}, {"prob": prob.astype("f8")}, "the output `prob` is bound to"),
        ({"x": x}, {"prob": x.reshape(-1)[:12].reshape(4, 3)}, "`x` and `prob` lie in the same memory"),
    ]
    for inputs, outputs, message in cases:
        with pytest.raises(UserError, match=message):
            exe.bind(inputs, outputs)
    exe.bind({"x": x})
    with pytest.raises(UserError, match="x is bound to an array; write into that"):
        exe(x=x)
    assert exe.clone()(x=x).keys() == {"prob"}  # a clone is bound to nothing


@pytest.mark.parametrize("first", ["test", "train"])
def test_executables_share_a_state_with_its_version(first: Any, tmp_path: Path) -> None:
    file = written(tmp_path)
    one = netc.compile(file, mode=first, dims={"N": 4}, seed=5)
    other = netc.compile(file, mode="test" if first == "train" else "train", dims={"N": 4}, state=one.state, seed=5)
    assert other.state is one.state
    test, step = (one, other) if first == "test" else (other, one)
    apart = netc.compile(file, mode="train", dims={"N": 4}, seed=5)
    for turn in range(3):
        step(**batch(turn))
        apart(**batch(turn))
        fresh = netc.compile(file, dims={"N": 4})
        for name, array in apart.state.items():
            fresh.state[name] = array
        # What the test program has folded into its weights is folded again, since the version is shared.
        same(test(**batch(9)), fresh(**batch(9)))
    same(dict(step.state), dict(apart.state))
    assert int(one.state.buffers[".step"]) == 3
    step.value("enc")


def test_a_state_is_assigned(tmp_path: Path) -> None:
    file = written(tmp_path, extra="accumulate: 2")
    step, other = (netc.compile(file, mode="train", dims={"N": 4}, seed=seed) for seed in (1, 2))
    test = netc.compile(file, dims={"N": 4}, seed=3)
    test(**batch())
    test.state = step.state
    with pytest.raises(UserError, match="no pass to look into"):
        test.value("enc")
    other.state = step.state
    twin = netc.compile(file, mode="train", dims={"N": 4}, seed=1)
    for turn in range(4):
        (step if turn < 2 else other)(**batch(turn))
        twin(**batch(turn))
    same(dict(step.state), dict(twin.state))
    same(test(**batch()), netc.compile(file, dims={"N": 4}, state=twin.state)(**batch()))


def test_a_state_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    whole = netc.compile(written(tmp_path), dims={"N": 4})
    part = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["enc"])
    with pytest.raises(UserError, match=r"the state does not fit `a`: bn.mean is not in it"):
        netc.compile(written(tmp_path), dims={"N": 4}, state=part.state)
    before = whole.state
    with pytest.raises(UserError, match="is not in it"):
        whole.state = part.state
    assert whole.state is before
    assert whole(**batch())["prob"].shape == (4, 3)
    part.state = whole.state
    same(part(x=batch()["x"]), whole.values("enc"))
    slow = written(tmp_path, lr="0.5", name="slow")
    netc.compile(slow, dims={"N": 4}, state=whole.state)
    with pytest.raises(UserError, match=r"enc.weight learns with lr: 1, decay: 1 in it, here with others"):
        netc.compile(slow, mode="train", dims={"N": 4}, state=whole.state)
    made = netc.compile(written(tmp_path), dims={"N": 4})
    plain = Executable(made.program, made.state)
    with pytest.raises(UserError, match=r"the state does not fit a: it lacks bn\.mean"):
        plain.state = netc.compile(written(tmp_path), dims={"N": 4}, outputs=["enc"]).state
    plain.state = whole.state
    np.testing.assert_array_equal(plain(**batch())["prob"], whole(**batch())["prob"])
    nothing: Any = {}
    with pytest.raises(UserError, match=r"`state` takes that of another executable \(`exe.state`\), not dict"):
        netc.compile(written(tmp_path), dims={"N": 4}, state=nothing)


def test_one_name_is_no_list_of_letters(tmp_path: Path) -> None:
    exe = netc.compile(written(tmp_path), dims={"N": 4}, outputs="prob")
    assert list(exe(x=batch()["x"])) == ["prob"]
    assert list(exe.run_layers({"x": batch()["x"]}, outputs="prob")) == ["prob"]


def test_what_a_state_is_extended_by_is_saved_and_restored(tmp_path: Path) -> None:
    test = netc.compile(written(tmp_path), dims={"N": 4})
    assert ".step" not in test.state.buffers
    step = netc.compile(written(tmp_path), mode="train", dims={"N": 4}, state=test.state, seed=11)
    assert int(test.state.buffers[".seed"]) == 11
    kept = {name: array.copy() for name, array in test.state.logical().items()}
    assert ".history0/enc.weight" in kept
    step(**batch())
    test.state.restore(kept)
    assert int(test.state.buffers[".step"]) == 0
    test.save(tmp_path / "w.safetensors")
    again = netc.compile(written(tmp_path), dims={"N": 4})
    again.load(tmp_path / "w.safetensors")
    same(again(**batch()), test(**batch()))
