"""The C launcher and the Python one, really run: against a fake driver that records, and computes a small net."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from netc.compiler.program import ValueRange
from netc.deployment.records import Records
from netc.runtime.state import State
from support.triton_folders import RULE, build, expected, fake_library, launches, settings, tiny_folder

ADDRESS = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")

STEPS = r"""
#include "netc_program.h"
#include <stdio.h>
#include <string.h>
static float image[256], weight[640], prob[40], rate = 0.5f;
static long long step;
static int failed(const char *message) {
    fprintf(stderr, "%s\n", message);
    return 1;
}
int main(int count, char **arguments) {
    char message[NETC_MESSAGE] = "";
    netc_program *net;
    for (int i = 0; i < 256; i++) image[i] = (float)(i % 7) / 7;
    if (count != 3 || netc_open(&net, arguments[1], 0, message)) return failed(message);
    int training = !strcmp(arguments[2], "train");
    if (netc_set(net, "image", image, sizeof image, message)) return failed(message);
    if (training && netc_set(net, ".rate", &rate, sizeof rate, message)) return failed(message);
    for (int i = 0; i < 2; i++)
        if (netc_step(net, message)) return failed(message);
    if (netc_get(net, "prob", prob, sizeof prob, message)) return failed(message);
    if (netc_get(net, "score.weight", weight, sizeof weight, message)) return failed(message);
    if (training && netc_get(net, ".step", &step, sizeof step, message)) return failed(message);
    printf("%lld %.6f %.6f\n", step, prob[13], weight[5]);
    memset(weight, 0, sizeof weight);
    if (netc_set(net, "score.weight", weight, sizeof weight, message) || netc_step(net, message) ||
        netc_get(net, "prob", prob, sizeof prob, message))
        return failed(message);
    printf("%.6f\n", prob[13]);
    if (!netc_set(net, "prob", prob, sizeof prob, message)) return failed("an output was set");
    if (!netc_set(net, "image", image, 3, message)) return failed("three bytes were an image");
    puts(message);
    if (!netc_get(net, "nothing", prob, 4, message)) return failed("there was nothing");
    puts(message);
    netc_close(net);
    return 0;
}
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, State]:
    folder = tmp_path_factory.mktemp("tiny") / "net"
    return folder, tiny_folder(folder, ("cuda:80", "cuda:90"))


@pytest.fixture(scope="module")
def classify(tiny: tuple[Path, State], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(tiny[0], tmp_path_factory.mktemp("built") / "classify", ["main.c"], *ADDRESS)


def read(folder: Path) -> Any:
    return json.loads((folder / "manifest.json").read_text())


def pixels(tmp_path: Path) -> tuple[Path, np.ndarray[Any, Any]]:
    raw = np.random.default_rng(3).integers(0, 256, 64).astype(np.uint8)
    path = tmp_path / "image.u8"
    path.write_bytes(raw.tobytes())
    image = np.zeros((4, 64), np.float32)
    image[0] = (raw - np.float32(3)) / 256
    return path, image


@pytest.mark.parametrize("capability", [80, 86, 90, 120])
def test_main_classifies_an_image(tiny: tuple[Path, State], classify: Path, tmp_path: Path, capability: int) -> None:
    """On the device's own code, on that of an older one of its kind, and from PTX on one that came later."""
    folder, state = tiny
    path, image = pixels(tmp_path)
    arch = "cuda:90" if capability == 90 else "cuda:80"
    record = tmp_path / "record"
    env = settings(read(folder), arch, record, FAKE_CUDA_CAPABILITY=str(capability))
    done = subprocess.run([classify, folder, path], capture_output=True, text=True, env=env, check=False)
    assert not done.returncode, done.stderr
    prob = expected(state, image)[0]
    best = np.argsort(-prob, kind="stable")[:5]
    assert done.stdout.splitlines() == [f"{n} {prob[n]:.4f}" for n in best.tolist()]
    manifest = read(folder)
    assert record.read_text().splitlines() == [
        *["load ptx" if capability == 120 else "load cubin"] * 4,
        *launches(manifest, arch, "prepare"),
        "graph of the step",
        *launches(manifest, arch, "step"),
        "left: memory 0, modules 0, streams 0, graphs 0, contexts 0",
    ]


def test_an_image_of_floats(tiny: tuple[Path, State], classify: Path, tmp_path: Path) -> None:
    image = np.zeros((4, 64), np.float32)
    raw = np.random.default_rng(1).normal(size=64).astype(np.float32) * 256
    (tmp_path / "image.f32").write_bytes(raw.tobytes())
    image[0] = (raw - np.float32(3)) / 256  # a record, whatever its type
    env = settings(read(tiny[0]), "cuda:90", tmp_path / "record")
    done = subprocess.run(
        [classify, tiny[0], tmp_path / "image.f32"], capture_output=True, text=True, env=env, check=True
    )
    best = int(expected(tiny[1], image)[0].argmax())
    assert done.stdout.startswith(f"{best} ")


def test_a_mean_image_and_a_crop(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    mean = random.normal(size=(1, 10, 13)).astype(np.float32) * 50
    rule = {**RULE, "mean": [], "mean_file": "mean.npy", "crop": [8, 8], "record": [1, 10, 13]}
    records = Records({"image": rule}, {"mean.npy": mean}, [f"class {k}" for k in range(10)])
    folder = tmp_path / "net"
    state = tiny_folder(folder, records=records)
    raw = random.integers(0, 256, (1, 10, 13)).astype(np.uint8)
    (tmp_path / "image.u8").write_bytes(raw.tobytes())
    image = np.zeros((4, 1, 8, 8), np.float32)
    image[0] = ((raw - mean) * np.float32(1 / 256))[:, 1:9, 2:10]
    prob = expected(state, image)
    program = build(folder, tmp_path / "classify", ["main.c"], *ADDRESS)
    env = settings(read(folder), "cuda:90", tmp_path / "record")
    done = subprocess.run([program, folder, tmp_path / "image.u8"], capture_output=True, text=True, env=env, check=True)
    best = np.argsort(-prob[0], kind="stable")[:5].tolist()
    assert done.stdout.splitlines() == [f"class {n} {prob[0, n]:.4f}" for n in best]
    assert done.stderr == f"image: {rule['text']}\n"

    library = fake_library(tmp_path / "libcuda.so")
    np.savez(tmp_path / "in.npz", image=np.stack([raw, raw * 0, raw, raw]))
    call: list[str | Path] = [sys.executable, "-c", COMMAND, folder, library, tmp_path / "in.npz"]
    done = subprocess.run(call, capture_output=True, text=True, env=env, check=True)
    first = [f"class {n} {prob[0, n]:.4f}" for n in best[:3]]
    assert done.stdout.splitlines()[1] == f"  0: {', '.join(first)}"
    assert done.stderr == f"image: {rule['text']}; --as-is takes values as they are\n"


COMMAND = """
import sys
from functools import partial
sys.path.insert(0, sys.argv[1])
import netc_program
netc_program.Net = partial(netc_program.Net, library=sys.argv[2])
sys.exit(netc_program.main(sys.argv[3:]))
"""

INDICES = r"""
#include "netc_program.h"
#include <stdio.h>
static float image[256];
int main(int count, char **arguments) {
    char message[NETC_MESSAGE] = "";
    netc_program *net;
    if (count != 3 || netc_open(&net, arguments[1], 0, message)) return 2;
    for (int i = 0; i < 256; i++) image[i] = (float)(i % 7);
    if (netc_set(net, "image", image, sizeof image, message)) puts(message);
    image[9] = 7;
    if (netc_set(net, "image", image, sizeof image, message)) puts(message);
    image[9] = 255;
    if (netc_set(net, "image", image, sizeof image, message)) puts(message);
    netc_close(net);
    return 0;
}
"""


def test_numbers_that_a_layer_cannot_know(tmp_path: Path) -> None:
    """Both launchers refuse what is fed, as an executable does."""
    folder = tmp_path / "net"
    tiny_folder(folder, ranges=(ValueRange("image", 7, 255, "classes", "`nll` (a.net:3)"),))
    (tmp_path / "steps.c").write_text(INDICES)
    program = build(folder, tmp_path / "steps", [tmp_path / "steps.c"], *ADDRESS)
    env = settings(read(folder), "cuda:90", tmp_path / "record")
    done = subprocess.run([program, folder, "test"], capture_output=True, text=True, env=env, check=True)
    said = "image holds the label 7; `nll` (a.net:3) knows the 7 classes 0 to 6"
    assert done.stdout == f"{said}\n"
    library = fake_library(tmp_path / "libcuda.so")
    np.savez(tmp_path / "in.npz", image=np.full((4, 1, 8, 8), 7, np.float32))
    call: list[str | Path] = [sys.executable, "-c", COMMAND, folder, library, tmp_path / "in.npz", "--as-is"]
    done = subprocess.run(call, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stderr) == (2, f"{tmp_path / 'in.npz'}: {said}\n")


CALLS = (
    "cuInit",
    "cuDeviceGet",
    "cuDevicePrimaryCtxRetain",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuFuncGetAttribute",
    "cuMemAlloc",
    "cuMemsetD8",
    "cuMemcpyHtoD",
    "cuStreamCreate",
    "cuStreamBeginCapture",
    "cuGraphInstantiateWithFlags",
    "cuLaunchKernel",
    "cuGraphLaunch",
    "cuStreamSynchronize",
    "cuMemcpyDtoH",
)


@pytest.mark.parametrize("call", CALLS)
def test_an_error_of_the_driver_is_one_line_and_leaves_nothing(
    tiny: tuple[Path, State], classify: Path, tmp_path: Path, call: str
) -> None:
    record = tmp_path / "record"
    env = settings(read(tiny[0]), "cuda:90", record, FAKE_CUDA_FAIL=call)
    done = subprocess.run(
        [classify, tiny[0], pixels(tmp_path)[0]], capture_output=True, text=True, env=env, check=False
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert "out of memory (CUDA error 2)" in done.stderr
    assert record.read_text().splitlines()[-1] == "left: memory 0, modules 0, streams 0, graphs 0, contexts 0"


@pytest.mark.parametrize("what", ["shorter", "other", "missing", "longer"])
@pytest.mark.parametrize("name", ["weights.bin", "cuda_90/score.cubin"])
def test_files_that_are_not_those_compiled(
    tiny: tuple[Path, State], classify: Path, tmp_path: Path, name: str, what: str
) -> None:
    import shutil

    folder = tmp_path / "copy"
    shutil.copytree(tiny[0], folder)
    data = (folder / name).read_bytes()
    changed = {"shorter": data[:-1], "other": data[:-1] + bytes([data[-1] ^ 1]), "longer": data + b"\0"}
    if what == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(changed[what])
    env = settings(read(folder), "cuda:90", tmp_path / "record")
    done = subprocess.run([classify, folder, pixels(tmp_path)[0]], capture_output=True, text=True, env=env, check=False)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert name in done.stderr


def test_other_mistakes_of_callers(tiny: tuple[Path, State], classify: Path, tmp_path: Path) -> None:
    (tmp_path / "short").write_bytes(b"x" * 63)
    env = settings(read(tiny[0]), "cuda:90", tmp_path / "record")
    for arguments, said in (
        ([tiny[0], tmp_path / "short"], "has not the 64 bytes of pixels, nor the 256 of f32 values"),
        ([tiny[0], tmp_path / "none"], "cannot be read"),
        ([tmp_path / "none", tmp_path / "short"], "cannot be read"),
        ([tiny[0]], "usage:"),
    ):
        done = subprocess.run([classify, *arguments], capture_output=True, text=True, env=env, check=False)
        assert done.returncode == 2
        assert said in done.stderr
    old = settings(read(tiny[0]), "cuda:90", tmp_path / "record", FAKE_CUDA_CAPABILITY="75")
    done = subprocess.run([classify, tiny[0], tmp_path / "short"], capture_output=True, text=True, env=old, check=False)
    assert "compute capability 7.5" in done.stderr


@pytest.mark.parametrize("training", [False, True])
def test_steps_from_a_program_of_ones_own(tmp_path: Path, training: bool) -> None:
    folder = tmp_path / "net"
    state = tiny_folder(folder, training=training)
    (tmp_path / "steps.c").write_text(STEPS)
    program = build(folder, tmp_path / "steps", [tmp_path / "steps.c"], *ADDRESS)
    env = settings(read(folder), "cuda:90", tmp_path / "record")
    done = subprocess.run(
        [program, folder, "train" if training else "test"], capture_output=True, text=True, env=env, check=False
    )
    assert not done.returncode, done.stderr
    image = (np.arange(256) % 7).astype(np.float32) / np.float32(7)
    weight = state["score.weight"].copy()
    if training:  # two steps with a rate of a half; the second sees what the first one left
        for name in ("score.weight", "score.bias"):
            state[name] = state[name] / 2
    first = expected(state, image, doubled=not training)
    state["score.weight"] = np.zeros((10, 64))
    if training:
        state["score.bias"] = state["score.bias"] / 2
    second = expected(state, image)
    lines = done.stdout.splitlines()
    assert lines[0] == f"{2 if training else 0} {first[1, 3]:.6f} {weight[0, 5] * (0.25 if training else 1):.6f}"
    assert lines[1] == f"{second[1, 3]:.6f}"  # what is made of the weights was made again
    assert lines[2] == "`image` has 1024 bytes, 3 are given"
    assert lines[3] == "there is no value `nothing`"


PYTHON = """
import sys
import numpy as np
sys.path.insert(0, sys.argv[1])
from netc_program import Net
image = np.float32(np.arange(256).reshape(4, 1, 8, 8) % 7) / np.float32(7)
with Net(library=sys.argv[2]) as net:
    np.save(sys.argv[3], net(image=image)["prob"])
    net.set("score.weight", np.zeros((10, 64)))
    np.save(sys.argv[4], net()["prob"])
    assert not net.get("score.weight").any() and net.get("score.bias").any()
    for name, value in (("prob", image), ("image", image[0]), ("nothing", 1)):
        try:
            net.set(name, value)
        except ValueError as error:
            print(error)
"""


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_library(tmp_path_factory.mktemp("fake") / "libcuda.so")


def test_the_python_launcher(tiny: tuple[Path, State], library: Path, tmp_path: Path) -> None:
    folder, state = tiny
    record = tmp_path / "record"
    done = subprocess.run(
        [sys.executable, "-c", PYTHON, folder, library, tmp_path / "a.npy", tmp_path / "b.npy"],
        capture_output=True,
        text=True,
        env=settings(read(folder), "cuda:90", record),
        check=False,
    )
    assert not done.returncode, done.stderr
    image = (np.arange(256) % 7).astype(np.float32) / np.float32(7)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected(state, image), rtol=1e-5)
    bias = np.exp(state["score.bias"] - state["score.bias"].max())
    np.testing.assert_allclose(np.load(tmp_path / "b.npy")[2], bias / bias.sum(), rtol=1e-5)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["there", "image", "there"]
    manifest = read(folder)
    step = [*launches(manifest, "cuda:90", "prepare"), *launches(manifest, "cuda:90", "step")]
    assert record.read_text().splitlines() == [
        *["load cubin"] * 4,
        *step,
        *step,
        "left: memory 0, modules 0, streams 0, graphs 0, contexts 0",
    ]


def test_the_python_launcher_on_amd(tmp_path: Path) -> None:
    """The same calls by HIP's names; the fake driver's are renamed."""
    import shutil

    from netc.deployment.standalone import CALLS

    rename = shutil.which("objcopy")
    if rename is None:
        pytest.skip("there is no objcopy")
    folder = tmp_path / "net"
    state = tiny_folder(folder, ("hip:gfx942",))
    fake = tmp_path / "fake.o"
    fake_library(fake, "-c")
    pairs = [*CALLS.values(), ("fake_set_device", "hipSetDevice"), ("fake_error", "hipGetErrorString")]
    subprocess.run([rename, *(f"--redefine-sym={a}={b}" for a, b in pairs), fake], check=True)
    library = tmp_path / "libamdhip64.so"
    subprocess.run(["gcc", "-shared", fake, "-o", library, "-lm"], check=True)
    record = tmp_path / "record"
    arguments: list[Any] = [sys.executable, "-c", PYTHON, folder, library, tmp_path / "a.npy", tmp_path / "b.npy"]
    env = settings(read(folder), "hip:gfx942", record)
    done = subprocess.run(arguments, capture_output=True, text=True, env=env, check=False)
    assert not done.returncode, done.stderr
    image = (np.arange(256) % 7).astype(np.float32) / np.float32(7)
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), expected(state, image), rtol=1e-5)
    step = [line for line in record.read_text().splitlines() if "launch" in line]
    manifest = read(folder)
    assert step == 2 * [*launches(manifest, "hip:gfx942", "prepare"), *launches(manifest, "hip:gfx942", "step")]
    env["FAKE_CUDA_FAIL"] = "cuMemAlloc"
    failed = subprocess.run(arguments, capture_output=True, text=True, env=env, check=False)
    assert "hipMalloc: out of memory (error 2)" in failed.stderr
