"""`netc compile --target triton`: one folder with everything, the same bytes each time; and what `--arch` shows."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

from netc.__main__ import cli
from netc.deployment.ahead import deploy_ahead
from netc.grammar.source import UserError
from netc.report.kernels import kernel_rows, kernel_table
from netc.runtime.state import State
from netc.runtime.triton.compile.ahead import job_of
from netc.runtime.triton.compile.architectures import architectures
from netc.runtime.triton.compile.compiling import compile_jobs
from support.json_forms import parsed
from support.tiny_net import STATE, TINY
from support.triton_folders import build, kernel_cache, launches, needs_triton, settings, tiny_folder

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
BOTH = ("cuda:90", "hip:gfx942")


@pytest.fixture(autouse=True)
def _cache(monkeypatch: pytest.MonkeyPatch) -> None:
    needs_triton()
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))


def netc(*arguments: object) -> Result:
    return CliRunner().invoke(cli, [str(one) for one in arguments])


def compiled(folder: Path, *arguments: object) -> Any:
    meant = ["--untrained"] if "--weights" not in arguments else []
    done = netc("compile", LENET, "--target", "triton", "--batch", 2, "-o", folder, *meant, *arguments)
    assert done.exit_code == 0, done.output
    return json.loads((folder / "manifest.json").read_text())


@pytest.fixture(scope="module")
def lenet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    """LeNet for two architectures."""
    needs_triton()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NETC_CACHE", str(kernel_cache()))
        patch.chdir(tmp_path_factory.mktemp("no-runs"))
        folder = tmp_path_factory.mktemp("lenet") / "net"
        yield folder, compiled(folder, "--arch", ",".join(BOTH))


def files(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_of_a_net(lenet: tuple[Path, Any]) -> None:
    folder, manifest = lenet
    held = files(folder)
    assert {"README.md", "lenet.safetensors", "weights.bin", "netc_program.py", "netc_program.c", "main.c"} < set(held)
    page = held["README.md"].decode()
    assert "a file of [1, 28, 28] values, 784 bytes for pixels or 3,136 for f32. Then value * 0.00390625" in page
    assert ".rate" not in page
    # The manifest lists every file but itself.
    assert set(manifest["files"]) == set(held) - {"manifest.json"}
    for name, entry in manifest["files"].items():
        assert entry == {"bytes": len(held[name]), "sha256": hashlib.sha256(held[name]).hexdigest()}
    assert list(manifest["archs"]) == list(BOTH)
    assert (manifest["net"], manifest["mode"], manifest["dims"]) == ("lenet", "test", {"N": 2})
    rule = manifest["transforms"]["image"]
    assert (rule["scale"], rule["mean"], rule["crop"], rule["record"]) == (1 / 256, [], [], [1, 28, 28])
    for name, arch in manifest["archs"].items():
        text = held[arch["module"]].decode()
        compile(text, arch["module"], "exec")
        lines = text.splitlines()
        assert {launch["kernel"] for launch in arch["launches"]} == set(arch["kernels"])
        for kernel, entry in arch["kernels"].items():
            assert lines[entry["line"] - 1].startswith(f"def {kernel}(")
            assert held[entry["code"]][:4] == b"\x7fELF"
            assert entry["symbol"].encode() in held[entry["assembly"]]
            assert entry["options"]["num_warps"] * (64 if name.startswith("hip") else 32) == entry["threads"]
            assert 0 < entry["registers"] <= 255
        for launch in arch["launches"]:
            assert len(launch["arguments"]) == len(arch["kernels"][launch["kernel"]]["arguments"])
        layers = {layer for launch in arch["launches"] for layer in launch["layers"]}
        assert {"conv1", "conv2", "ip1", "score"} <= layers
        places = [place for launch in arch["launches"] for place in launch["places"]]
        assert all(place.startswith("lenet.net:") for place in places)
        assert list(arch["inputs"]) == ["image"]
        assert arch["outputs"]["prob"]["shape"] == [2, 10]
        assert {"conv1.weight", "ip1.bias", ".parameters"} <= set(arch["state"])


def test_the_weights_lie_in_the_file_as_on_the_device(lenet: tuple[Path, Any]) -> None:
    from safetensors.numpy import load_file

    folder, manifest = lenet
    data = (folder / "weights.bin").read_bytes()
    entry = manifest["archs"]["cuda:90"]["state"]["conv2.weight"]
    count = int(np.prod(entry["shape"]))
    found = np.frombuffer(data, "<f4", count, entry["start"]).reshape(entry["shape"])
    np.testing.assert_array_equal(found, load_file(folder / "lenet.safetensors")["conv2.weight"])
    assert found.std() > 0


def test_the_launcher_of_lenet_runs_all_its_kernels(lenet: tuple[Path, Any], tmp_path: Path) -> None:
    folder, manifest = lenet
    classify = build(folder, tmp_path / "classify", ["main.c"], "-fsanitize=address,undefined")
    (tmp_path / "image").write_bytes(bytes(784))
    env = settings(manifest, "cuda:90", tmp_path / "record")
    done = subprocess.run([classify, folder, tmp_path / "image"], capture_output=True, text=True, env=env, check=False)
    assert not done.returncode, done.stderr
    record = (tmp_path / "record").read_text().splitlines()
    step = launches(manifest, "cuda:90", "step")
    assert len(step) > 4
    assert [line for line in record if line.startswith("launch")] == [*launches(manifest, "cuda:90", "prepare"), *step]
    assert record[-1] == "left: memory 0, modules 0, streams 0, graphs 0, contexts 0"


@pytest.mark.parametrize("archs", [BOTH[:1], pytest.param(BOTH, marks=pytest.mark.slow)])
def test_the_same_bytes_in_two_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, archs: tuple[str, ...]) -> None:
    """Also of a cache that is empty, from another folder, with another name of the folder."""
    found = []
    for number, name in enumerate(("a", "b" * 40)):
        place = tmp_path / name
        place.mkdir()
        monkeypatch.chdir(place)
        monkeypatch.setenv("TMPDIR", str(place))
        monkeypatch.setenv("PYTHONHASHSEED", str(number))
        tiny_folder(place / f"net{number}", archs, cache=place / "cache")
        found.append(files(place / f"net{number}"))
    assert list(found[0]) == list(found[1])
    assert [name for name in found[0] if found[0][name] != found[1][name]] == []


@pytest.mark.slow
def test_a_training_step(tmp_path: Path) -> None:
    """State is updated in place; rate and step are buffers of one element."""
    manifest = compiled(tmp_path / "net", "--arch", "cuda:90", "--train")
    page = (tmp_path / "net" / "README.md").read_text()
    assert "'.rate': 0.01" in page
    assert "./classify" not in page
    arch = manifest["archs"]["cuda:90"]
    assert manifest["mode"] == "train"
    assert arch["inputs"][".rate"]["shape"] == []
    assert arch["state"][".step"] == {**arch["state"][".step"], "shape": [], "stored": "i64"}
    assert {".parameters", ".step"} <= set(arch["updates"])
    assert {"nll", "top1"} <= set(arch["outputs"])
    written = [
        argument["base"]
        for launch in arch["launches"]
        for argument, known in zip(launch["arguments"], arch["kernels"][launch["kernel"]]["arguments"], strict=True)
        if known["written"]
    ]
    assert {f"state:{name}" for name in arch["updates"]} <= set(written)
    build(tmp_path / "net", tmp_path / "classify")


@pytest.mark.slow
def test_all_architectures(tmp_path: Path) -> None:
    manifest = compiled(tmp_path / "net")
    assert list(manifest["archs"]) == ["cuda:80", "cuda:90", "cuda:100", "hip:gfx942"]
    build(tmp_path / "net", tmp_path / "classify")


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "letter.txt").write_text("mine")
    for arguments, said in (
        (["--target", "triton", "--arch", "cuda:75"], "there is no architecture `cuda:75`; there are cuda:80"),
        (["--target", "triton", "--arch", "cuda:80,,cuda:90"], "--arch wants names between commas"),
        (["--target", "triton", "--arch", ""], "--arch wants names between commas"),
        (["--arch", "cuda:90"], "use --target triton"),
        (["--train"], "use --target c or triton"),
        (["--target", "triton", "--arch", "cuda:90", "--weights", tmp_path / "none.safetensors"], "none.safetensors"),
    ):
        done = netc("compile", LENET, "--batch", 2, "-o", tmp_path / "out", *arguments)
        assert done.exit_code != 0
        text = str(done.exception) if isinstance(done.exception, UserError) else done.output
        assert said in text
        assert not (tmp_path / "out").exists()
    with pytest.raises(UserError, match="holds other files"):
        tiny_folder(full)
    assert (full / "letter.txt").read_text() == "mine"


def test_a_folder_of_its_own_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    tiny_folder(folder, BOTH)
    first = files(folder)
    assert (folder / "hip_gfx942").is_dir()
    tiny_folder(folder)
    assert set(files(folder)) == {name for name in first if not name.startswith("hip_")}
    (folder / "cuda_90" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="holds other files"):
        tiny_folder(folder)
    assert not [path for path in tmp_path.iterdir() if path != folder]


def test_too_much_shared_memory_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from dataclasses import replace

    arch = replace(architectures(["cuda:90"])[0], shared=8191)
    with pytest.raises(UserError, match="score takes 8,192 bytes of shared memory and 128 threads, cuda:90 has 8,191"):
        deploy_ahead({arch: TINY}, STATE, State(STATE), tmp_path / "net")


def test_kernels_as_a_table() -> None:
    jobs = {function.name: job_of(function, TINY.source, "cuda:90") for function in TINY.functions}
    made = compile_jobs(jobs.values())
    binaries = {name: made[job] for name, job in jobs.items()}
    rows = kernel_rows(TINY, binaries)
    assert [row["kernel"] for row in rows] == ["double", "center", "score", "softmax"]
    assert rows[2] == {
        "kernel": "score",
        "kind": "dot",
        "layers": ["score"],
        "places": ["tiny.net:5"],
        "grids": [[1, 1]],
        "threads": 128,
        "registers": binaries["score"].registers,
        "spills": 0,
        "shared": 8192,
        "async_copies": binaries["score"].async_copies,
        "matrix": [],
    }
    text = str(kernel_table(TINY, binaries, "cuda:90"))
    assert "4 kernels for cuda:90: 0 spill registers, 0 take more than 200 of them" in text
    assert "8.2 kB" in text


def test_show_and_explain_with_an_architecture(lenet: tuple[Path, Any]) -> None:
    """The kernels that `compile` wrote, with the same figures."""
    kernels = lenet[1]["archs"]["cuda:90"]["kernels"]
    asked = ("--target", "triton", "--arch", "cuda:90", "--mode", "test", "--batch", 2, "--output", "prob")
    shown = netc("show", LENET, "--stage", "kernels", *asked)
    assert shown.exit_code == 0, shown.output
    assert f"{len(kernels)} kernels for cuda:90" in shown.output
    found = netc("explain", LENET, "--json", *asked)
    assert found.exit_code == 0, found.output
    for row in parsed(found.stdout)["kernels"]:
        assert row["registers"] == kernels[row["kernel"]]["registers"]
    for arguments in (("--arch", "cuda:90"), ("--target", "triton", "--arch", "cuda:1")):
        assert netc("show", LENET, "--stage", "kernels", *arguments).exit_code != 0
