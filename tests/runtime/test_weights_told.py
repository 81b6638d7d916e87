"""What is said of weights that cannot be used: what a file is, what it has in the place of what is missing, where a run
that was stopped left its own.
"""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

import netc
from netc.grammar.source import UserError
from netc.runtime.foreign_weights import foreign
from netc.runtime.loading import likely
from support.commands import run

NET = """
net tiny {
    input x: f32[N, 4]
    input label: i32[N]
    scores = x |> linear(5) as hidden |> relu |> linear(3) as fc
    loss nll = softmax_loss(scores, label)
    output prob = softmax(scores)
}
data few = synthetic(shape: [4], classes: 3, batch: 4, columns: [x, label])
train tiny {
    from: few
    test: few every 2
    solver: sgd(lr: 0.1)
    steps: 6
    snapshot: every 2
    keep: best(nll)
}
"""


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("tiny.net").write_text(NET, encoding="utf-8")


HIDDEN = {"weight": (5, 4), "bias": (5,)}
FC = {"weight": (3, 5), "bias": (3,)}


def layers(**named: dict[str, tuple[int, ...]]) -> dict[str, Any]:
    return {f"{layer}.{name}": np.zeros(shape, np.float32) for layer, of in named.items() for name, shape in of.items()}


def test_what_is_missing_is_shown_beside_what_the_file_has() -> None:
    save_file(layers(hiden=HIDDEN, classifier=FC), "w.safetensors")
    code, _, err = run("test", "tiny.net", "--weights", "w.safetensors")
    assert code == 2
    assert err == (
        "netc: error: w.safetensors: hidden.weight is missing (is it hiden [5] [5,4]?); hidden.bias is missing; "
        "fc.weight is missing (is it classifier [3] [3,5]?); fc.bias is missing (to start such layers anew: "
        "fresh: [hidden, fc]; if they are there by other names: "
        'rename: ["hiden=hidden", "classifier=fc"], or --map OLD=NEW)\n'
    )
    mapped = ("--map", "hiden=hidden", "--map", "classifier=fc")
    assert run("test", "tiny.net", "--weights", "w.safetensors", *mapped)[0] == 0
    renamed = NET.replace(
        "    steps", '    weights: "w.safetensors"\n    rename: ["hiden=hidden", "classifier=fc"]\n    steps'
    )
    Path("tiny.net").write_text(renamed, encoding="utf-8")
    assert run("check", "tiny.net")[0] == 0


def test_where_nothing_is_like_it_all_is_named() -> None:
    save_file(layers(hidden=HIDDEN, other={"w": (7,)}), "w.safetensors")
    _, _, err = run("test", "tiny.net", "--weights", "w.safetensors")
    assert err == (
        "netc: error: w.safetensors: fc.weight is missing; fc.bias is missing "
        "(to start such layers anew: fresh: [fc]; the file has besides other)\n"
    )


def test_which_layer_is_likely() -> None:
    infos = [info for info in netc.compile(NET, mode="test").state.infos.values() if info.name.startswith("fc.")]
    shapes: dict[str, list[tuple[int, ...]]] = {"a": [(3, 5), (3,)], "f": [(3, 5), (3,)], "fcc": [(9,)]}
    assert likely("fc", infos, shapes) == "f"  # of two with its shapes the one with a name like it
    assert likely("fc", infos, {"a": [(1, 1, 3, 5), (1, 1, 1, 3)], "b": [(2,)]}) == "a"  # as Caffe writes shapes
    assert likely("fc", infos, {"fcc": [(9,)], "x": [(1,)]}) == "fcc"
    assert likely("fc", infos, {"x": [(1,)]}) == ""


def torch_archive() -> bytes:
    with zipfile.ZipFile("made.zip", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
    return Path("made.zip").read_bytes()


def keras_archive() -> bytes:
    with zipfile.ZipFile("made.zip", "w") as archive:
        archive.writestr("metadata.json", b"{}")
    return Path("made.zip").read_bytes()


def numpy_archive() -> bytes:
    np.savez("made.npz", a=np.zeros(3))
    return Path("made.npz").read_bytes()


class Bomb:
    """What would make a folder if it were unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("unpickled",)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.pth", torch_archive, "PyTorch's"),
        ("a.safetensors", torch_archive, "PyTorch's"),
        ("a.pt", lambda: pickle.dumps(Bomb()), "PyTorch's"),
        ("a.pkl", lambda: pickle.dumps(Bomb()), "a Python pickle"),
        ("a.safetensors", lambda: pickle.dumps(Bomb()), "a Python pickle"),
        ("a.npz", numpy_archive, "numpy's"),
        ("a.bin", numpy_archive, "numpy's"),
        ("a.keras", keras_archive, "Keras's"),
        ("a.onnx", lambda: b"\x08\x07", "ONNX"),
        ("a.pb", lambda: b"\x0a\x07", "TensorFlow's"),
        ("a.solverstate", lambda: b"\x08\x07", "--solverstate"),
        ("a.safetensors", lambda: b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        ("a.safetensors", lambda: b"\x89HDF\r\n\x1a\n" + bytes(600), "call it .h5"),
        ("tiny.net", lambda: NET.encode(), "a text"),
    ],
)
def test_foreign_files_are_named(name: str, content: Any, said: str) -> None:
    Path(name).write_bytes(content())
    code, _, err = run("summary" if name == "tiny.net" else "check", "tiny.net")
    assert (code, err) == (0, "")
    code, out, err = run("test", "tiny.net", "--weights", name)
    assert (code, out) == (2, "")
    assert err.startswith(f"netc: error: {name}: this is ")
    assert said in err
    assert not Path("unpickled").exists()


def test_files_of_keras_in_hdf5() -> None:
    h5py = pytest.importorskip("h5py")
    with h5py.File("k.h5", "w") as file:
        file.create_group("model_weights")
    assert "this is weights of Keras's" in run("test", "tiny.net", "--weights", "k.h5")[2]


def test_what_may_be_read_is_not_foreign() -> None:
    save_file(layers(fc=FC), "w.safetensors")
    assert foreign(Path("w.safetensors")) == ""
    with pytest.raises(UserError, match="there is no such file"):
        foreign(Path("absent.safetensors"))
    with pytest.raises(UserError, match="this is a folder"):
        foreign(Path())


def test_a_run_that_was_stopped_names_what_it_left() -> None:
    assert run("train", "tiny.net")[0] == 0
    Path("runs/tiny/1/tiny.safetensors").unlink()
    code, _, err = run("test", "tiny.net")
    assert code == 2
    assert err == (
        "netc: error: runs/tiny/1: the last run of `tiny` has not ended, so it has no weights; "
        "--weights runs/tiny/1/snapshots/step-000006.safetensors takes those after step 6, "
        "--weights runs/tiny/1/tiny.best.safetensors those of its best test, `netc train --resume` goes on\n"
    )
    assert run("test", "tiny.net", "--weights", "runs/tiny/1/snapshots/step-000006.safetensors")[0] == 0
    for left in Path("runs/tiny/1").rglob("*.safetensors"):
        left.unlink()
    assert run("test", "tiny.net")[2].endswith("it has no weights; `netc train --resume` goes on\n")


def test_weights_of_a_last_run_with_other_settings_are_told_as_such() -> None:
    Path("tiny.net").write_text(NET.replace("net tiny {", "net tiny(wide = 5) {").replace("linear(5)", "linear(wide)"))
    assert run("train", "tiny.net", "--set", "wide=7")[0] == 0
    code, _, err = run("test", "tiny.net")
    assert code == 2
    assert "hidden.weight is [7,4], the net wants [5,4]" in err
    assert "they are those of the last run here, which may have had other settings (--set)" in err
    assert run("test", "tiny.net", "--set", "wide=7")[0] == 0
    _, _, err = run("test", "tiny.net", "--weights", "runs/tiny/1/tiny.safetensors", "--map", "first=hidden")
    assert err.endswith("has no layer `first` to rename; it has fc, hidden\n")


def test_names_of_classes_and_files_that_say_too_little() -> None:
    assert run("train", "tiny.net")[0] == 0
    np.savez("rows.npz", x=np.zeros((2, 4), np.float32))
    Path("two.txt").write_text("a\nb\n", encoding="utf-8")
    for more, told in (
        (("--labels", "two.txt"), "two.txt: has 2 names of classes, the values 3: a line for each class"),
        (("--json", "--out", "o.npz"), "--out keeps all values: leave out --json"),
        (("--labels", "two.txt", "--out", "o.npz"), "--out keeps all values: leave out --labels"),
    ):
        code, out, err = run("run", "tiny.net", "rows.npz", *more)
        assert (code, out) == (2, "")
        assert err.endswith(f"netc: error: {told}\n")
    assert not Path("o.npz").exists()
