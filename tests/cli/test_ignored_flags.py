"""What would be passed over in silence is said: flags without use, damaged files, devices that are not there."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import netc as api
from netc.__main__ import cli
from netc.commands.usage import MISTAKE
from netc.runtime.triton.run import device

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3) |> dropout(0.5)
    loss nll = softmax_loss(scores, label)
    output prob = softmax(scores)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4)
train tiny {
    from: made
    solver: sgd(lr: 0.1)
    steps: 2
}
"""
needs_triton = pytest.mark.skipif(find_spec("triton") is None, reason="triton is not installed")


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own, with a net in it, and no GPU."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(device, "DRIVERS", ())
    (tmp_path / "tiny.net").write_text(NET, encoding="utf-8")
    return tmp_path


def netc(*arguments: str) -> Result:
    return CliRunner().invoke(cli, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("explain", "E201", "--arch", "cuda:90"), "--arch means nothing for the error code E201"),
        (("explain", "e201", "--batch", "3"), "--batch means nothing for the error code E201"),
        (("explain", "E201", "--all"), "--all means nothing for the error code E201"),
        (
            ("explain", "tiny.net", "--laws", "--target", "triton", "--arch", "cuda:90"),
            "--arch means nothing for --laws",
        ),
        (("show", "tiny.net", "--stage", "ast", "--batch", "3"), "--batch means nothing for --stage ast"),
        (("show", "tiny.net", "--stage", "ast", "--unfused"), "--unfused means nothing for --stage ast"),
        (("show", "tiny.net", "--target", "triton", "--threads", "2"), "they are not for the target triton"),
        (("train", "tiny.net", "--target", "triton", "--threads", "2"), "they are not for the target triton"),
        (("verify", "tiny.net", "--target", "triton", "--threads", "2"), "they are not for the target triton"),
        (("train", "tiny.net", "--scale-growth", "7"), "--scale-growth is for the loss that is scaled in f16"),
        (
            ("train", "tiny.net", "--scale-growth", "7", "--precision", "bf16"),
            "--scale-growth is for the loss that is scaled in f16",
        ),
        (("compile", "tiny.net", "-o", "out", "--threads", "2"), "there is no flag --threads"),
        (("explain", "tiny.net", "--seed", "2"), "there is no flag --seed"),
        (("show", "tiny.net", "--seed", "2"), "there is no flag --seed"),
        (("summary", "tiny.net", "--seed", "2"), "there is no flag --seed"),
        (("tune", "tiny.net", "--seed", "2"), "there is no flag --seed"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_a_flag_that_would_be_ignored_is_a_mistake(arguments: tuple[str, ...], said: str) -> None:
    done = netc(*arguments)
    assert done.exit_code == MISTAKE
    assert said in done.output
    assert not Path("out").exists()
    assert not Path("runs").exists()


def test_flags_that_are_used_are_taken() -> None:
    assert netc("explain", "E201", "--json").exit_code == 0
    assert netc("show", "tiny.net", "--stage", "ast").exit_code == 0
    assert netc("train", "tiny.net", "--scale-growth", "7", "--precision", "f16", "--folder", "run").exit_code == 0
    assert netc("train", "tiny.net", "--threads", "1", "--folder", "other").exit_code == 0


def test_scale_growth_is_taken_where_one_layer_is_f16() -> None:
    Path("half.net").write_text(NET.replace("    scores", "    @dtype(f16)\n    scores"), encoding="utf-8")
    done = netc("train", "half.net", "--scale-growth", "7", "--folder", "run")
    assert done.exit_code == 0, done.output


def test_the_seed_of_a_run_is_that_of_dropout() -> None:
    assert netc("train", "tiny.net", "--folder", "run").exit_code == 0
    import numpy as np

    np.savez("in.npz", image=np.ones((8, 1, 4, 4), np.float32), label=np.zeros(8, np.int32))
    found = {}
    for name, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        flags = ("--mode", "train", "--output", "scores", "--weights", "run/tiny.safetensors", "--seed", seed)
        done = netc("run", "tiny.net", "in.npz", *flags, "--out", f"{name}.npz")
        assert done.exit_code == 0, done.output
        found[name] = np.load(f"{name}.npz")["scores"]
    assert np.array_equal(found["a"], found["b"])
    assert not np.array_equal(found["a"], found["c"])


def test_compiling_in_train_mode_says_what_learns() -> None:
    one = ("compile", "tiny.net", "--untrained", "--batch", "2")
    done = netc(*one, "-o", "out", "--mode", "train", "--output", "scores")
    assert done.exit_code == 0
    assert "a step that learns is --train (targets c, triton)" in done.output
    without = netc("compile", "tiny.net", "--untrained", "-o", "more", "--mode", "train", "--batch", "2")
    assert without.exit_code == MISTAKE
    assert "`output`s are of test mode; name a value with --output" in without.output
    assert "--train" not in netc("compile", "tiny.net", "--untrained", "-o", "out", "--batch", "2").output


@pytest.mark.parametrize("command", ["show", "explain"])
def test_what_is_only_looked_at_needs_no_gpu(command: str) -> None:
    done = netc(command, "tiny.net", "--device", "cuda")
    assert done.exit_code == MISTAKE
    assert (
        "no driver for a GPU on this machine: use --target triton alone, which shows kernels for cuda:90" in done.output
    )
    assert "--device cpu" not in done.output
    assert netc(command, "tiny.net", "--target", "triton").exit_code == 0


def test_tuning_without_a_gpu_asks_for_no_other_device() -> None:
    told = "there is nothing to measure for numpy on cpu: use --device cuda or --target c"
    assert told in netc("tune", "tiny.net").output
    done = netc("tune", "tiny.net", "--device", "cuda")
    assert done.exit_code == MISTAKE
    assert "there is no driver for a GPU on this machine: tune on one that has a GPU" in done.output


def test_a_damaged_file_of_ones_own_says_the_remedy() -> None:
    Path("cache").mkdir()
    Path("cache/schedules.json").write_text('{"a":', encoding="utf-8")
    done = netc("explain", "tiny.net", "--target", "triton")
    assert done.exit_code == MISTAKE
    assert "schedules.json: is no schedule file" in done.output
    assert "it is your own, which `netc tune` writes: mend it, or delete it" in done.output
    assert netc("explain", "tiny.net").exit_code == 0, "numpy has no use for it"


@needs_triton
def test_a_folder_of_the_other_target_is_replaced(folder: Path) -> None:
    gpu = ("--target", "triton", "--arch", "cuda:90")
    assert netc("compile", "tiny.net", "--untrained", "-o", "net", "--batch", "2").exit_code == 0
    numpy_files = {path.name for path in (folder / "net").iterdir()}
    for flags in (gpu, ()):
        done = netc("compile", "tiny.net", "--untrained", "-o", "net", "--batch", "2", *flags)
        assert done.exit_code == 0, done.output
        assert (folder / "net" / "cuda_90").exists() == bool(flags)
    assert {path.name for path in (folder / "net").iterdir()} == numpy_files
    assert netc("compile", "tiny.net", "--untrained", "-o", "net", "--batch", "2", *gpu).exit_code == 0
    (folder / "net" / "cuda_90" / "notes.txt").write_text("mine")
    done = netc("compile", "tiny.net", "--untrained", "-o", "net", "--batch", "2")
    assert done.exit_code == MISTAKE
    assert "holds other files" in done.output
    assert (folder / "net" / "cuda_90" / "notes.txt").read_text() == "mine"


def test_a_run_that_never_began_leaves_no_folder() -> None:
    text = NET.replace("synthetic(shape: [1, 4, 4], classes: 3, batch: 4)", 'npz("none.npz", batch: 4)')
    Path("none.net").write_text(text, encoding="utf-8")
    done = netc("train", "none.net")
    assert done.exit_code == MISTAKE
    assert "none.npz: there is no such file" in done.output
    assert not list(Path("runs").glob("*/*"))
    assert netc("train", "tiny.net").exit_code == 0
    assert [path.name for path in Path("runs/tiny").iterdir()] == ["1"]


def test_a_setting_that_nothing_takes_is_a_mistake() -> None:
    for setting, said in (
        ("stepz=1", "did you mean `steps`?"),
        ("solver.lrr=1", "did you mean `solver.lr`?"),
        ("batch=8", "say which: data.batch or made.batch"),
        ("solver.lr=x", 'sgd: `lr` takes a number from 0 up, not "x"'),
        ("data.batch=0", "made: `batch` takes a whole number from 1 up, not 0"),
    ):
        done = netc("train", "tiny.net", "--set", setting)
        assert done.exit_code == MISTAKE
        assert said in done.output


def test_the_same_from_python() -> None:
    with pytest.raises(api.UserError, match="they are not for the target triton"):
        api.profile("tiny.net", threads=2, target="triton")
    with pytest.raises(api.UserError, match="are for what `netc tune` measures, not for numpy on cpu"):
        api.compile("tiny.net", schedules="tiny.json")
    with pytest.raises(api.UserError, match="not for the target numpy: use --target c or triton"):
        api.export("tiny.net", "out", frozen=True)
    with pytest.raises(api.UserError, match="`steps` takes a whole number from 1 up, not 0"):
        api.train("tiny.net", steps=0)
