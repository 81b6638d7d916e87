"""A net as C: the folder is built under sanitizers, and computes what netc does, from files of images too."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import netc
from netc.__main__ import cli
from netc.api.inference import run_files
from netc.catalogue import EXAMPLES
from netc.request import request
from netc.weights import Weights
from support.triton_folders import compiler

SANITIZED = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
SHARED = Path(__file__).parents[3] / "shared" / "data"
# The program's own text has loops that are pragmas of OpenMP, and conditions that are known for some sizes.
WARNINGS = (
    "-Wall",
    "-Wextra",
    "-Werror",
    "-Wno-unknown-pragmas",
    "-Wno-unused",
    "-Wno-enum-compare",
    "-Wno-tautological-compare",
)
NET = """
net tiny {
    input image: f32[N, 3, 12, 12]
    h = image |> conv(4, 3) as conv1 |> relu |> max_pool(2)
    output prob = h |> linear(7) as score |> softmax
}
net learning {
    input image: f32[N, 3, 12, 12]
    input label: i32[N]
    h = image |> conv(4, 3) as conv1 |> relu |> max_pool(2)
    loss nll = h |> linear(7) as score |> softmax_loss(label)
}
data photos = image_list("photos.txt", height: 16, width: 18, batch: 2, SETTINGS)
train learning {
    from: photos
    solver: sgd(lr: 0.1, momentum: 0.9)
    steps: 1
}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiler()
    monkeypatch.chdir(tmp_path)


def command(*arguments: object) -> str:
    done = CliRunner().invoke(cli, [str(one) for one in arguments])
    assert done.exit_code == 0, done.output
    return done.stderr


def written(settings: str = "crop: 12, scale: 0.02, mean: [104, 117, 123], order: bgr") -> Path:
    Path("tiny.net").write_text(NET.replace("SETTINGS", settings))
    return Path("tiny.net")


def call(*arguments: object, code: int = 0, **more: Any) -> subprocess.CompletedProcess[str]:
    words = [str(one) for one in arguments]
    done = subprocess.run(words, capture_output=True, text=True, check=False, **more)
    assert done.returncode == code, f"{words}\n{done.stdout}\n{done.stderr}"
    return done


def build(folder: Path, out: str, *sources: object, stem: str = "tiny", flags: tuple[str, ...] = SANITIZED) -> Path:
    """A program of a folder's C with a main of one's own."""
    parts = [folder / f"{stem}.c", folder / "netc_image.c", folder / "netc_jpeg.c", *sources]
    call(compiler(), "-std=gnu11", *WARNINGS, "-O1", "-g", *flags, f"-I{folder}", *parts, "-o", out, "-lm")
    return Path(out).absolute()


def photos(count: int = 3, size: tuple[int, int] = (40, 50)) -> list[Path]:
    from PIL import Image

    random = np.random.default_rng(0)
    small = random.integers(0, 256, (count, 6, 7, 3)).astype(np.uint8)
    names = [Path(f"{k}.jpg") for k in range(count)]
    for name, pixels in zip(names, small, strict=True):
        Image.fromarray(pixels).resize(size[::-1], Image.Resampling.BICUBIC).save(name, quality=90)
    return names


def by_netc(file: Path, inputs: list[Path], weights: Path) -> np.ndarray[Any, Any]:
    want = request(net="tiny", outputs=["prob"], target="numpy")
    return run_files(file, want, inputs, Weights((weights,)), notify=lambda text: None)[0]["prob"]


def ranked(out: str, classes: int = 7) -> np.ndarray[Any, Any]:
    """What the program printed, as the five best classes and their values of each image."""
    lines = [line.split(": ")[2].split() for line in out.splitlines()]
    return np.array([[float(x) for x in line] for line in lines]).reshape(-1, min(5, classes), 2)


@pytest.mark.parametrize("embed", [False, True])
def test_images_are_classified_as_netc_does_it(embed: bool) -> None:
    """Those that are resized, that have their size, and that are halved."""
    file, folder = written(), Path("out")
    flags = ["--embed"] if embed else []
    command("compile", file, "--net", "tiny", "--target", "c", "--untrained", "--batch", 2, "-o", folder, *flags)
    assert (folder / "weights.bin").exists() != embed
    program = build(folder, "program", folder / "main.c")
    weights = [] if embed else ["--weights", folder / "weights.bin"]
    for size in ((40, 50), (16, 18), (32, 36)):
        images = photos(size=size)
        wanted = by_netc(file, images, folder / "tiny.safetensors")
        found = ranked(call(program, *weights, *images).stdout)
        best = np.argsort(-wanted, axis=1, kind="stable")[:, :5]
        np.testing.assert_array_equal(found[..., 0], best)
        np.testing.assert_allclose(found[..., 1], np.take_along_axis(wanted, best, 1), atol=1e-4)


def test_the_folder_says_what_it_is_and_is_replaced_after_make() -> None:
    file, folder = written(), Path("out")
    Path("names.txt").write_text("\n".join(f'class "{k}" ??=' for k in range(7)))
    flags = ("--net", "tiny", "--target", "c", "--untrained", "-o", folder, "--labels", "names.txt")
    told = command("compile", file, *flags, "--batch", 1)
    assert "records of `image`: (value - (104, 117, 123)) * 0.02, cropped to 12 x 12" in told
    manifest = json.loads((folder / "manifest.json").read_text())
    assert set(manifest["files"]) | {"manifest.json"} == {path.name for path in folder.iterdir()}
    assert manifest["images"] == {"image": {"size": [16, 18], "order": "bgr"}}
    call("make", "-C", folder, "OPENMP=", "CFLAGS=-O0", f"CC={compiler()}")
    (image,) = photos(1)
    shutil.copy(image, folder / "0.jpg")
    assert call("./tiny", "0.jpg", cwd=folder).stdout.startswith('0.jpg: prob: class "')
    (folder / "0.jpg").unlink()
    command("compile", file, *flags)
    done = CliRunner().invoke(cli, ["compile", "tiny.net", "--target", "numpy", "--cc", "cc", "--untrained", "-o", "x"])
    assert "--cc are for source: use --target c as well" in done.stderr


MISTAKES = r"""
#include "tiny.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
static long made;
void *__real_malloc(size_t), *__real_calloc(size_t, size_t), *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t n) { made++; return __real_malloc(n); }
void *__wrap_calloc(size_t n, size_t m) { made++; return __real_calloc(n, m); }
void *__wrap_realloc(void *p, size_t n) { made++; return __real_realloc(p, n); }
static float prob[14], image[864];
static unsigned char pixels[3000];
static void say(int status) { printf("%d %s\n", status, tiny_message(status)); }
int main(int count, char **arguments) {
    tiny_net *net;
    long before;
    say(tiny_create(&net, "none", 1));
    say(tiny_create(&net, arguments[0], 1));
    say(tiny_create(&net, arguments[1], count));
    before = made;
    say(tiny_set(net, "image", image, 3));
    say(tiny_set(net, "prob", prob, sizeof prob));
    say(tiny_set(net, "nothing", prob, 4));
    say(tiny_get(net, "prob", prob, 4));
    say(tiny_set_image(net, 2, pixels, 10, 100, 3));
    say(tiny_set_image(net, 1, pixels, 10, 100, 2));
    say(tiny_set_image(net, 1, pixels, 0, 100, 3));
    say(tiny_set_image(net, 0, pixels, 10, 100, 3));
    say(tiny_step(net));
    say(tiny_get(net, "prob", prob, sizeof prob));
    if (made != before) puts("memory was asked for");
    if (tiny_at(1000) || tiny_find("x") || strcmp(tiny_at(0)->name, "image")) puts("wrong values");
    tiny_destroy(net);
    tiny_destroy(NULL);
    return 0;
}
"""


def test_mistakes_of_callers_are_statuses_and_nothing_is_allocated() -> None:
    folder = Path("out")
    command("compile", written(), "--net", "tiny", "--target", "c", "--untrained", "--batch", 2, "-o", folder)
    Path("mistakes.c").write_text(MISTAKES)
    wrapped = "-Wl,--wrap=malloc,--wrap=calloc,--wrap=realloc"
    program = build(folder, "mistakes", "mistakes.c", flags=("-fsanitize=undefined", wrapped))
    lines = call(program, folder / "weights.bin").stdout.splitlines()
    assert [int(line.split()[0]) for line in lines if line[0].isdigit()] == [2, 3, 0, 5, 4, 4, 5, 7, 7, 7, 0, 0, 0]
    assert len(lines) == 13
    whole, program = (folder / "weights.bin").read_bytes(), build(folder, "program", folder / "main.c")
    for changed in (whole[:-1], whole + b"x", whole[:100] + bytes([whole[100] ^ 1]) + whole[101:]):
        (folder / "weights.bin").write_bytes(changed)
        done = call(program, "--weights", folder / "weights.bin", "x.jpg", code=2)
        assert done.stderr == "out/weights.bin: the weights are not those that were compiled with this program\n"


THREADS = r"""
#include "tiny.h"
#include <pthread.h>
#include <stdio.h>
#include <string.h>
static const char *weights;
static unsigned char pixels[2][40 * 50 * 3];
static float found[2][14];
static void *work(void *which) {
    const size_t k = *(size_t *)which;
    tiny_net *net;
    if (tiny_create(&net, weights, 1)) return NULL;
    for (int i = 0; i < 20; i++)
        if (tiny_set_image(net, 0, pixels[k], 40, 50, 3) || tiny_step(net)) return NULL;
    tiny_get(net, "prob", found[k], sizeof found[k]);
    tiny_destroy(net);
    return NULL;
}
int main(int count, char **arguments) {
    pthread_t threads[2];
    size_t numbers[2] = {0, 1};
    weights = arguments[count - 1];
    for (int k = 0; k < 2; k++)
        for (size_t i = 0; i < sizeof pixels[k]; i++) pixels[k][i] = (unsigned char)(i * (size_t)(k + 3) % 251);
    for (int k = 0; k < 2; k++) pthread_create(&threads[k], NULL, work, &numbers[k]);
    for (int k = 0; k < 2; k++) pthread_join(threads[k], NULL);
    float before[2][14];
    memcpy(before, found, sizeof found);
    memset(found, 0, sizeof found);
    for (int k = 0; k < 2; k++) work(&numbers[k]);
    puts(memcmp(before, found, sizeof found) ? "different" : before[0][0] > 0 ? "alike" : "nothing");
    return 0;
}
"""


def test_nets_in_several_threads_do_not_meet() -> None:
    folder = Path("out")
    command("compile", written(), "--net", "tiny", "--target", "c", "--untrained", "--batch", 2, "-o", folder)
    Path("threads.c").write_text(THREADS)
    program = build(folder, "threads", "threads.c", flags=("-fsanitize=thread", "-pthread"))
    assert call(program, folder / "weights.bin").stdout == "alike\n"


TRAINING = r"""
#include "learning.h"
#include <stdio.h>
static float image[864], weight[4 * 27], rate = 0.1f, nll;
static int label[2] = {3, 6};
int main(int count, char **arguments) {
    learning_net *net;
    int status = learning_create(&net, arguments[count - 1], 1);
    for (int i = 0; i < 864; i++) image[i] = (float)(i % 11) / 11 - 0.5f;
    for (int i = 0; i < 3 && !status; i++)
        status = learning_set(net, "image", image, sizeof image) || learning_set(net, "label", label, sizeof label) ||
                 learning_set(net, ".rate", &rate, sizeof rate) || learning_step(net) ||
                 learning_get(net, "nll", &nll, sizeof nll);
    if (status || learning_get(net, "conv1.weight", weight, sizeof weight)) return 1;
    printf("%.6f\n", nll);
    for (int i = 0; i < 4 * 27; i++) printf("%.6f\n", weight[i]);
    label[1] = 7;
    printf("%d\n", learning_set(net, "label", label, sizeof label));
    learning_destroy(net);
    return 0;
}
"""


def test_a_step_that_learns() -> None:
    file, folder = written(), Path("out")
    command("compile", file, "--target", "c", "--train", "--seed", 3, "--batch", 2, "-o", folder)
    Path("steps.c").write_text(TRAINING)
    lines = call(build(folder, "steps", "steps.c", stem="learning"), folder / "weights.bin").stdout.splitlines()
    step = netc.compile(file, mode="train", dims={"N": 2}, seed=3, target="numpy")
    image = (np.arange(864) % 11).astype(np.float32).reshape(2, 3, 12, 12) / np.float32(11) - np.float32(0.5)
    label = np.array([3, 6], np.int32)
    for _ in range(3):
        nll = step(image=image, label=label, **{".rate": np.float32(0.1)})["nll"]
    assert float(lines[0]) == pytest.approx(float(nll), abs=2e-6)
    np.testing.assert_allclose([float(x) for x in lines[1:-1]], step.state["conv1.weight"].reshape(-1), atol=3e-6)
    assert lines[-1] == "6"  # a label that is no class


def test_a_program_for_another_machine() -> None:
    """ARM's, by its cross compiler, in an emulator."""
    cross, emulator = shutil.which("aarch64-linux-gnu-gcc"), shutil.which("qemu-aarch64-static")
    if cross is None or emulator is None:
        pytest.skip("gcc-aarch64-linux-gnu or qemu-user-static is not installed")
    file, images, folder = written(), photos(2), Path("out")
    flags = ("--cc", "aarch64-linux-gnu-gcc -static", "--batch", 2, "-o", folder)
    command("compile", file, "--net", "tiny", "--target", "c", "--untrained", *flags)
    wanted = by_netc(file, images, folder / "tiny.safetensors")
    found = ranked(call(emulator, folder / "tiny", "--weights", folder / "weights.bin", *images).stdout)
    best = np.argsort(-wanted, axis=1, kind="stable")[:, :5]
    np.testing.assert_array_equal(found[..., 0], best)
    np.testing.assert_allclose(found[..., 1], np.take_along_axis(wanted, best, 1), atol=1e-4)


def in_cplusplus(*flags: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    """The example of C++, configured by CMake with the folder `out`."""
    if not shutil.which("cmake") or not shutil.which("g++"):
        pytest.skip("cmake or a C++ compiler is not installed")
    for name in ("classification.cpp", "CMakeLists.txt", "compare.py"):
        shutil.copy(EXAMPLES / "cpp" / name, name)
    return call("cmake", "-S", ".", "-B", "build", f"-DNET_FOLDER={Path('out').absolute()}", *flags, code=code)


@pytest.mark.slow
def test_a_cat_in_cplusplus() -> None:
    """MobileNetV2 by CMake and the class for C++: the five best classes are those of another implementation."""
    model, photo = SHARED / "models" / "mobilenetv2_mod11l_imagenet", SHARED / "imagenet_meta" / "photos" / "cat.jpg"
    if not model.is_dir() or not photo.is_file():
        pytest.skip("../shared/data is not there")
    shutil.copy(SHARED / "imagenet_meta" / "synset_words.txt", ".")
    flags = ("--batch", 1, "--output", "prob", "--target", "c", "--labels", "synset_words.txt", "-o", "out")
    command("compile", model / "test.prototxt", "--weights", next(model.glob("*.caffemodel")), *flags)
    in_cplusplus("-DCMAKE_BUILD_TYPE=Debug")
    call("cmake", "--build", "build", "--target", "classification")
    words = ("compare.py", "build/classification", photo, model / "ref_cv2_cat.npz")
    said = json.loads(call(sys.executable, *words).stdout)
    assert said["same"] == 1
    assert said["apart"] < 1e-3


def test_mistakes_in_cplusplus_are_messages() -> None:
    """The same program with a small net; it says what netc does of a photo, and needs no RTTI."""
    file, (photo,) = written(), photos(1)
    assert "There is no tiny.hpp in the folder\n\n    /" in in_cplusplus("-DNET=tiny", code=1).stderr
    command("compile", file, "--net", "tiny", "--target", "c", "--untrained", "--batch", 1, "-o", "out")
    in_cplusplus("-DNET=tiny", "-DCMAKE_CXX_FLAGS=-fno-rtti -Wpedantic -Werror -O0")
    call("cmake", "--build", "build", "--target", "classification")
    wanted = by_netc(file, [photo], Path("out/tiny.safetensors"))[0]
    best = np.argsort(-wanted)[:2]
    lines = call("build/classification", "--top", "2", "--threads", "2", photo).stdout.splitlines()
    assert lines[0] == "---------- Prediction for 0.jpg ----------"
    assert [line.split(" - ")[1] for line in lines[1:]] == [f'"{k}"' for k in best]
    np.testing.assert_allclose([float(line.split()[0]) for line in lines[1:]], wanted[best], atol=1e-4)
    for words, message in (
        ((), "usage: classification [--weights FILE] [--threads N] [--top N] IMAGE..."),
        (("none.jpg",), "classification: none.jpg: the file cannot be read"),
        (("tiny.net",), "classification: tiny.net: the file is no image of JPEG, PNG, BMP, PPM or PGM"),
        (("--top", "0"), "classification: --top: a number from 1 to 1000 is wanted, not `0`"),
        (("--best",), "classification: --best: there is no such flag; there are --weights, --threads and --top"),
        (("--weights",), "classification: --weights: a value is wanted after it"),
        (
            ("--weights", "tiny.net", photo),
            "classification: tiny.net: the weights are not those that were compiled with this program",
        ),
    ):
        done = call("build/classification", *words, code=2)
        assert (done.stdout, done.stderr) == ("", f"{message}\n")


INDEXED = """
net words {
    input word: i32[N]
    output vector = word + 1 |> embed(size: 8, out: 3) as enc
}
"""


def test_indices_that_the_net_computes_and_raw_files() -> None:
    """A net without images reads a file for each input; what it cannot know it says."""
    Path("words.net").write_text(INDEXED)
    folder = Path("out")
    command("compile", "words.net", "--target", "c", "--untrained", "--batch", 4, "-o", folder)
    program = build(folder, "program", folder / "main.c", stem="words")
    flags = ("--weights", folder / "weights.bin", "word.raw")
    word = np.array([0, 6, 3, -1], np.int32)
    Path("word.raw").write_bytes(word.tobytes())
    found = ranked(call(program, *flags).stdout, classes=3)
    wanted = netc.compile("words.net", dims={"N": 4}, target="numpy")
    wanted.load(folder / "words.safetensors")
    table = wanted(word=word)["vector"]
    best = np.argsort(-table, axis=1, kind="stable")
    np.testing.assert_array_equal(found[..., 0], best)
    for wrong in (7, -2):
        Path("word.raw").write_bytes(np.array([0, 6, wrong, 1], np.int32).tobytes())
        done = call(program, *flags, code=2)
        assert done.stderr == "word.raw: a layer was given a label or an index that it cannot know\n"
    Path("word.raw").write_bytes(b"short")
    assert call(program, *flags, code=2).stderr == "word.raw: the value has another size\n"
