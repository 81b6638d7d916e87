"""State: views and versions, and weight files good and bad."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from netc.compiler.program import StateInfo, TensorType, UserError
from netc.compiler.spec import Filler
from netc.runtime.state import State
from netc.runtime.tensors import entries, read_tensors

ONE = Filler("constant", (("value", 1.0),))
GAUSS = Filler("gaussian")


def infos() -> list[StateInfo]:
    return [
        StateInfo("conv1.weight", TensorType((4, 3)), filler=GAUSS, buffer=".parameters", offset=2, layer="conv1"),
        StateInfo("conv1.bias", TensorType((2,)), filler=ONE, buffer=".parameters", layer="conv1"),
        StateInfo("block/fc.weight", TensorType((5,)), filler=GAUSS, buffer=".frozen", lr=0, layer="block/fc"),
        StateInfo("bn.mean", TensorType((4,)), "statistic", layer="bn"),
        StateInfo(".history0", TensorType((14,)), "history", buffer=".history0"),
        StateInfo(".step", TensorType((), "i64"), "counter", buffer=".step"),
        StateInfo(".seed", TensorType((), "i64"), "counter", buffer=".seed"),
    ]


@pytest.fixture
def state() -> State:
    made = State(infos())
    made.fill(7)
    return made


def test_buffers_are_flat_aligned_and_viewed(state: State) -> None:
    assert {name: a.shape for name, a in state.buffers.items()} == {
        ".parameters": (14,),
        ".frozen": (5,),
        "bn.mean": (4,),
        ".history0": (14,),
        ".step": (),
        ".seed": (),
    }
    assert all(a.ctypes.data % 64 == 0 for a in state.buffers.values())
    assert list(state) == ["conv1.weight", "conv1.bias", "block/fc.weight", "bn.mean"]
    np.testing.assert_array_equal(state.buffers[".parameters"][:2], [1, 1])
    state["conv1.weight"][1, 0] = 9
    assert state.buffers[".parameters"][2 + 3] == 9
    state.buffers[".parameters"][0] = 5
    assert state["conv1.bias"][0] == 5
    assert state["conv1.weight"].flags["C_CONTIGUOUS"]


def test_setting_copies_and_keeps_shape_and_type(state: State) -> None:
    state["conv1.bias"] = [3, 4]
    np.testing.assert_array_equal(state.buffers[".parameters"][:2], np.array([3, 4], np.float32))
    with pytest.raises(ValueError, match=r"conv1\.bias is f32\[2\], the value has shape \[3\]"):
        state["conv1.bias"] = np.zeros(3)
    with pytest.raises(KeyError, match=r"did you mean conv1\.bias"):
        state["conv1.bais"] = np.zeros(2)
    with pytest.raises(TypeError):
        del state["conv1.bias"]
    with pytest.raises(ValueError, match=r"conv1\.bias is f32\[2\], the value holds complex128"):
        state["conv1.bias"] = np.zeros(2, complex)


def test_the_version_is_the_same_while_nobody_can_have_written(state: State) -> None:
    version = state.version
    assert state.version == version
    state.logical()
    state.finite("conv1.bias")
    assert state.version == version


def test_the_version_changes_with_every_way_of_writing(state: State, tmp_path: Path) -> None:
    state.save(tmp_path / "a.safetensors")

    def changed(version: int) -> int:
        assert state.version != version
        return state.version

    version = state.version
    state["conv1.bias"] = [1, 2]
    version = changed(version)
    state["conv1.bias"][0] = 3
    version = changed(version)
    state.fill(3)
    version = changed(version)
    state.load(tmp_path / "a.safetensors")
    version = changed(version)
    state.restore(state.logical())
    version = changed(version)
    state.touch()
    changed(version)


def test_an_array_that_is_kept_may_be_written_at_any_time(state: State) -> None:
    kept = state["conv1.weight"].T[1:]
    first = state.version
    kept[0, 0] = 4
    second = state.version
    assert second != first
    kept[0, 0] = 5
    del kept
    third = state.version
    assert third != second
    assert state.version == third


def test_filling_depends_on_the_seed_and_zeroes_the_rest(state: State) -> None:
    state.buffers[".history0"][...] = 1
    state.buffers[".step"][...] = 5
    first = state["conv1.weight"].copy()
    state.fill(7)
    np.testing.assert_array_equal(state["conv1.weight"], first)
    assert not state.buffers[".history0"].any()
    assert (int(state.buffers[".step"]), int(state.buffers[".seed"])) == (0, 7)
    state.fill(8)
    assert not np.array_equal(state["conv1.weight"], first)
    alone = State([infos()[0]])
    alone.fill(7)
    np.testing.assert_array_equal(alone["conv1.weight"], first)


def test_saving_and_loading(state: State, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    state.save(path)
    assert set(load_file(path)) == set(state)
    other = State(infos())
    report = other.load(path)
    assert report.lines() == []
    for name in state:
        np.testing.assert_array_equal(other[name], state[name])
    first = path.read_bytes()
    other.save(path)
    assert path.read_bytes() == first
    assert [p.name for p in tmp_path.iterdir()] == ["w.safetensors"]


def arrays() -> dict[str, Any]:
    return {
        "conv1.weight": np.arange(12, dtype=np.float32).reshape(4, 3),
        "conv1.bias": np.array([1, 2], np.float32),
        "block.fc.weight": np.full(5, 3, np.float32),
        "bn/mean": np.ones(4, np.float32),
    }


def write(tmp_path: Path, changed: dict[str, Any] | None = None, name: str = "f") -> Path:
    tensors = {k: v for k, v in (arrays() | (changed or {})).items() if v is not None}
    path = tmp_path / f"{name}.safetensors"
    save_file(tensors, path)
    return path


def test_point_and_slash_count_as_the_same(state: State, tmp_path: Path) -> None:
    state.load(write(tmp_path))
    np.testing.assert_array_equal(state["block/fc.weight"], 3)
    np.testing.assert_array_equal(state["bn.mean"], 1)
    with pytest.raises(UserError, match=r"`block\.fc\.weight` and `block/fc\.weight` count as the same"):
        state.load(write(tmp_path, {"block/fc.weight": np.zeros(5, np.float32)}))


def test_all_that_lacks_or_differs_is_listed_and_nothing_is_loaded(state: State, tmp_path: Path) -> None:
    before = {name: state[name].copy() for name in state}
    path = write(tmp_path, {"conv1.weight": np.zeros((3, 4), np.float32), "bn/mean": None, "block.fc.weight": None})
    with pytest.raises(UserError) as caught:
        state.load(path)
    text = str(caught.value)
    assert text == (
        f"{path}: conv1.weight is [3,4], the net wants [4,3]; block/fc.weight is missing; bn.mean is missing "
        f'(to start such layers anew: fresh: [conv1, "block/fc", bn])'
    )
    for name in state:
        np.testing.assert_array_equal(state[name], before[name])


def test_fresh_layers_keep_their_values(state: State, tmp_path: Path) -> None:
    before = state["conv1.bias"].copy()
    path = write(tmp_path, {"conv1.weight": np.zeros((3, 4), np.float32), "block.fc.weight": None})
    report = state.load(path, fresh=["conv1", "block"])
    assert report.fresh == ("conv1", "block/fc")
    np.testing.assert_array_equal(state["conv1.bias"], before)
    np.testing.assert_array_equal(state["bn.mean"], 1)
    with pytest.raises(UserError, match="no layer `conv2` with parameters; did you mean `conv1`"):
        state.load(path, fresh=["conv2"])


def test_layers_only_in_the_file_and_conversions_are_reported(state: State, tmp_path: Path) -> None:
    extra = np.zeros(2, np.float32)
    more = {"old.w": extra, "old.b": extra, ".history0/x": extra, "conv1.bias": np.array([1, 2], np.float64)}
    report = state.load(write(tmp_path, more))
    assert report.unused == ("old",)
    assert report.lines() == ["in the file, but not in the net: old", "converted: conv1.bias: f64 to f32"]


def test_of_several_files_a_later_one_wins(state: State, tmp_path: Path) -> None:
    first = write(tmp_path, {"bn/mean": None}, "a")
    second = tmp_path / "b.safetensors"
    save_file({"bn.mean": np.full(4, 8, np.float32), "conv1.bias": np.full(2, 8, np.float32)}, second)
    state.load([first, second])
    np.testing.assert_array_equal(state["bn.mean"], 8)
    np.testing.assert_array_equal(state["conv1.bias"], 8)
    np.testing.assert_array_equal(state["conv1.weight"], arrays()["conv1.weight"])


def raw(path: Path, header: Any, data: bytes, length: int | None = None) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text) if length is None else length) + text + data)
    return path


def test_bf16_is_read_as_float32(tmp_path: Path) -> None:
    header = {"conv1.bias": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}
    path = raw(tmp_path / "b.safetensors", header, b"\x80\x3f\x40\xc0")
    np.testing.assert_array_equal(read_tensors(path)["conv1.bias"], np.array([1.0, -3.0], np.float32))
    state = State([infos()[1]])
    assert state.load(path).converted == ("conv1.bias: bf16 to f32",)
    np.testing.assert_array_equal(state["conv1.bias"], [1, -3])


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}


@pytest.mark.parametrize(
    ("header", "data", "length", "words"),
    [
        (b"", b"", 0, "not a readable"),
        (b"", b"", 1 << 62, "cut short: its header should take 4,611,686,018,427,387,904 bytes, 0 follow"),
        (b"{", b"", 1, "not a readable"),
        (b"\xff\xfe", b"", None, "not a readable"),
        (b"[1]", b"", None, "not a readable"),
        (b'{"a":' * 5000, b"", None, "not a readable"),
        ({"a": ENTRY}, b"1234", None, "not a readable"),
        ({"a": ENTRY}, b"123456789", None, "not a readable"),
        ({"a": ENTRY | {"shape": [1 << 62, 4]}}, b"12345678", None, "not a readable"),
        ({"a": ENTRY | {"shape": [-2]}}, b"12345678", None, "not a readable"),
        ({"a": ENTRY | {"data_offsets": [8, 0]}}, b"12345678", None, "not a readable"),
        ({"a": ENTRY | {"data_offsets": [4, 12]}}, b"12345678", None, "not a readable"),
        ({"a": ENTRY | {"dtype": "X\x1b[31m"}}, b"12345678", None, "not a readable"),
    ],
)
def test_a_bad_file_is_one_line(header: Any, data: bytes, length: int | None, words: str, tmp_path: Path) -> None:
    path = raw(tmp_path / "x.safetensors", header, data, length)
    with pytest.raises(UserError, match=words) as caught:
        State([]).load(path)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)


def test_other_things_than_files_are_one_line(state: State, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"abc")
    for path, words in [
        (tmp_path / "short", "it has 3 bytes"),
        (tmp_path, "this is a folder"),
        (tmp_path / "none", "there is no such file"),
    ]:
        with pytest.raises(UserError, match=words):
            state.load(path)
    with pytest.raises(UserError, match=r"none.*cannot be written: No such file"):
        state.save(tmp_path / "none" / "w.safetensors")
    with pytest.raises(UserError, match="not a regular file"):
        state.save(tmp_path)


def test_types_that_a_net_does_not_have_are_refused(tmp_path: Path) -> None:
    for dtype, size in (("F8_E4M3", 2), ("U64", 16), ("BOOL", 2)):
        path = raw(
            tmp_path / f"{dtype}.safetensors",
            {"conv1.bias": {"dtype": dtype, "shape": [2], "data_offsets": [0, size]}},
            b"\0" * size,
        )
        with pytest.raises(UserError, match=rf"conv1\.bias holds {dtype}, the net wants f32"):
            State([infos()[1]]).load(path)


@settings(max_examples=150, deadline=None)
@given(cut=st.integers(0, 400), at=st.integers(0, 400), byte=st.integers(0, 255))
def test_no_damaged_file_makes_another_error(cut: int, at: int, byte: int, tmp_path_factory: Any) -> None:
    path = tmp_path_factory.getbasetemp() / "damaged.safetensors"
    state = State(infos())
    state.save(path)
    data = bytearray(path.read_bytes())
    data[at % len(data)] = byte
    path.write_bytes(data[: len(data) - cut] if cut < len(data) else b"")
    problem = ""
    try:
        state.load(path)
    except UserError as error:
        problem = str(error)
    assert "\n" not in problem


def test_logical_and_restore_bring_everything_back(state: State) -> None:
    state.buffers[".history0"][...] = np.arange(14)
    state.buffers[".step"][...] = 12
    logical = {name: array.copy() for name, array in state.logical().items()}
    np.testing.assert_array_equal(logical[".history0/conv1.bias"], [0, 1])
    np.testing.assert_array_equal(logical[".history0/conv1.weight"], np.arange(2, 14).reshape(4, 3))
    assert not any("block" in name for name in logical if name.startswith(".history"))
    # Another layout of the same net: the parameters lie the other way round.
    other = State(
        [
            StateInfo("conv1.weight", TensorType((4, 3)), buffer=".parameters"),
            StateInfo("conv1.bias", TensorType((2,)), buffer=".parameters", offset=12),
            *infos()[2:],
        ]
    )
    other.restore(logical)
    np.testing.assert_array_equal(other.buffers[".history0"], [*range(2, 14), 0, 1])
    np.testing.assert_array_equal(other["conv1.weight"], state["conv1.weight"])
    assert int(other.buffers[".step"]) == 12


def test_restore_says_what_lacks_or_differs_and_changes_nothing(state: State) -> None:
    tensors = {name: array + 1 for name, array in state.logical().items()}
    del tensors[".history0/conv1.bias"]
    tensors["conv1.bias"] = np.zeros(3, np.float32)
    tensors[".history1/conv1.bias"] = np.zeros(2, np.float32)
    before = state["conv1.weight"].copy()
    with pytest.raises(UserError) as caught:
        state.restore(tensors)
    for words in (
        ".history0/conv1.bias is missing",
        ".history1/conv1.bias is not of this net",
        "conv1.bias is float32[3], not float32[2]",
    ):
        assert words in str(caught.value)
    np.testing.assert_array_equal(state["conv1.weight"], before)


def test_entries_tell_types_and_shapes(tmp_path: Path) -> None:
    found = entries(write(tmp_path))
    assert (found["conv1.weight"].dtype, found["conv1.weight"].shape) == ("F32", (4, 3))


def test_weights_that_are_whole_numbers_are_refused(tmp_path: Path) -> None:
    header = {"conv1.bias": {"dtype": "I32", "shape": [2], "data_offsets": [0, 8]}}
    path = raw(tmp_path / "i.safetensors", header, b"\x01\0\0\0\x02\0\0\0")
    with pytest.raises(UserError, match=r"conv1\.bias holds I32, the net wants f32"):
        State([infos()[1]]).load(path)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_weights_that_are_no_finite_f32_are_refused(value: float, tmp_path: Path) -> None:
    header = {"conv1.bias": {"dtype": "F64", "shape": [2], "data_offsets": [0, 16]}}
    path = raw(tmp_path / "n.safetensors", header, np.array([1.0, value]).tobytes())
    state = State([infos()[1]])
    state["conv1.bias"] = np.array([3.0, 4.0], np.float32)
    with pytest.raises(UserError, match=r"NaN, infinity, or numbers too large for f32 in conv1\.bias"):
        state.load(path)
    np.testing.assert_array_equal(state["conv1.bias"], [3, 4])


def test_an_array_that_is_kept_and_not_written_changes_no_version(state: State) -> None:
    kept, more = state["conv1.weight"], state["conv1.weight"].T
    first = state.version
    assert state.version == first
    more[0, 0] = np.nan
    second = state.version
    assert second != first
    assert state.version == second  # a number that is none is not another one
    state["conv1.bias"]
    third = state.version
    assert third != second  # it may have been written before it was let go
    assert state.version == third
    del kept, more
    assert state.version != third
