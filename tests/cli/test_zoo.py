"""`netc zoo`: what is packed is what is checked, fetched and unpacked; what was changed is found, or refused."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import netc
from netc import driver
from netc.compiler.build import build
from netc.grammar.source import UserError
from netc.runtime.package import MANIFEST, SCHEMA
from netc.runtime.package_fetch import download, name_at
from support.commands import run
from support.json_forms import parsed, validator

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3) as fc
    loss nll = softmax_loss(scores, label)
    metric top1 = accuracy(scores, label)
    output prob = softmax(scores)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 8, scale: 1/256)
train tiny {
    from: made
    test: made
    solver: sgd(lr: 0.1)
    steps: 2
}
"""
RECORDS = 70  # more than a batch, and no multiple of one


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETC_DATA", str(tmp_path / "data"))
    Path("tiny.net").write_text(NET, encoding="utf-8")
    netc.compile("tiny.net", dims={"N": 1}).save("tiny.safetensors")
    Path("names.txt").write_text("a\nb\nc\n", encoding="utf-8")
    random = np.random.default_rng(0)
    image = random.integers(0, 256, (RECORDS, 1, 4, 4), np.uint8)
    np.savez("sample.npz", image=image, label=random.integers(0, 3, RECORDS))


def pack(*more: str, out: str = "tiny.netz") -> dict[str, Any]:
    words = ("--weights", "tiny.safetensors", "--licence", "MIT", "-o", out, "--json")
    code, text, err = run("zoo", "pack", "tiny.net", *words, *more)
    assert code == 0, err
    return parsed(text)


def pack_all(**how: str) -> dict[str, Any]:
    return pack("--sample", "sample.npz", "--labels", "names.txt", **how)


def repacked(out: str, change: Any) -> None:
    """The package with its members changed."""
    with zipfile.ZipFile("tiny.netz") as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in change(members).items():
            archive.writestr(name, data)


def test_the_figures_are_those_of_the_sample() -> None:
    said = pack_all()
    exe = netc.compile("tiny.net", dims={"N": RECORDS})
    exe.load("tiny.safetensors")
    with np.load("sample.npz") as sample:
        image, label = sample["image"].astype(np.float32) / 256, sample["label"]
    prob = exe(image=image, label=label.astype(np.int32))["prob"]
    assert said["metrics"]["top1"] == pytest.approx((prob.argmax(1) == label).mean(), abs=1e-6)
    assert said["metrics"]["nll"] == pytest.approx(-np.log(prob[np.arange(RECORDS), label]).mean(), rel=1e-4)
    assert said["records"] == RECORDS
    assert said["transform"] == [{"input": "image", "scale": 1 / 256, "mean": [], "crop": []}]
    weights = Path("tiny.safetensors").read_bytes()
    assert said["files"]["tiny.safetensors"] == {"bytes": len(weights), "sha256": hashlib.sha256(weights).hexdigest()}


def test_the_manifest_is_the_form_and_packing_is_reproducible() -> None:
    said = pack_all()
    with zipfile.ZipFile("tiny.netz") as archive:
        kept = json.loads(archive.read(MANIFEST))
    validator(SCHEMA.removeprefix("netc.")).validate(kept)
    assert kept == said
    first = Path("tiny.netz").read_bytes()
    pack_all()
    assert Path("tiny.netz").read_bytes() == first


def test_the_net_is_built_once(monkeypatch: pytest.MonkeyPatch) -> None:
    pack_all()
    count = [0]

    def counted(*args: Any, **kwargs: Any) -> Any:
        count[0] += 1
        return build(*args, **kwargs)

    monkeypatch.setattr(driver, "build", counted)
    assert run("zoo", "check", "tiny.netz")[0] == 0
    assert count == [1]


def test_check_unpack_fetch_and_list() -> None:
    pack_all()
    code, out, _ = run("zoo", "check", "tiny.netz", "--json")
    assert code == 0
    found = parsed(out)
    assert found["good"]
    assert [row["name"] for row in found["metrics"]] == ["nll", "top1"]
    assert all(row["same"] for row in found["files"])
    code, out, _ = run("zoo", "unpack", "tiny.netz", "-o", "u", "--json")
    assert code == 0
    assert parsed(out)["weights"] == str(Path("u", "tiny.safetensors"))
    assert Path("u", "tiny.net").read_text(encoding="utf-8") == NET
    assert run("zoo", "check", "u")[0] == 0
    for source in ("tiny.netz", "u"):  # the folder becomes the same file
        code, out, err = run("zoo", "fetch", source, "--json")
        assert code == 0, err
        assert Path(parsed(out)["path"]).read_bytes() == Path("tiny.netz").read_bytes()
    Path("data", "zoo", "broken.netz").write_bytes(b"PK")
    code, out, _ = run("zoo", "list", "--json")
    rows = parsed(out)["packages"]
    assert [Path(row["path"]).name for row in rows] == ["broken.netz", "tiny.netz", "u.netz"]
    assert "not a readable package" in rows[0]["error"]
    code, out, err = run("zoo", "list")
    assert "top1 0." in out
    assert "broken.netz" in err


def test_without_a_sample_hashes_alone_are_checked() -> None:
    assert pack()["metrics"] == {}
    code, out, _ = run("zoo", "check", "tiny.netz")
    assert code == 0
    assert "no sample, so no figures" in out


def test_a_changed_file_is_found() -> None:
    pack_all()
    repacked("bad.netz", lambda files: {**files, "names.txt": b"b\na\nc\n"})
    code, out, _ = run("zoo", "check", "bad.netz", "--json")
    assert code == 1
    found = parsed(out)
    assert [row["name"] for row in found["files"] if not row["same"]] == ["names.txt"]
    assert [row["found"] for row in found["metrics"]] == [None, None]
    code, _, err = run("zoo", "unpack", "bad.netz", "-o", "u")
    assert (code, Path("u").exists()) == (2, False)
    assert "names.txt is not the file that was packed" in err
    assert not list(Path().glob(".partial-*"))


def test_figures_that_do_not_hold() -> None:
    pack_all()

    def better(files: dict[str, bytes]) -> dict[str, bytes]:
        said = json.loads(files[MANIFEST])
        said["metrics"]["top1"] += 0.01
        return {**files, MANIFEST: json.dumps(said).encode()}

    repacked("bad.netz", better)
    code, out, _ = run("zoo", "check", "bad.netz", "--json")
    assert code == 1
    assert [row["holds"] for row in parsed(out)["metrics"]] == [True, False]
    code, _, err = run("zoo", "fetch", "bad.netz")
    assert code == 2
    assert "is not what its manifest says" in err
    assert not list(Path("data", "zoo").iterdir())


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("file", "../tiny.net", "`file` names no file of it"),
        ("schema", "netc.zoo.pack/9", "not of the form netc.zoo.pack/1"),
        ("tolerance", -1, "a tolerance below 0"),
        ("more", 1, "the keys are not"),
        ("files", {"../a": {"bytes": 1, "sha256": "0" * 64}}, "is no name for a file of a package"),
        ("files", {"a": {"bytes": 1 << 60, "sha256": "0" * 64}}, "is not from 0 to"),
        ("transform", [], "what it does to records, is not what the manifest says"),
    ],
)
def test_manifests_that_lie(key: str, value: object, told: str) -> None:
    pack_all()
    repacked(
        "bad.netz", lambda files: {**files, MANIFEST: json.dumps(json.loads(files[MANIFEST]) | {key: value}).encode()}
    )
    code, _, err = run("zoo", "check", "bad.netz")
    assert code == 2
    assert told in err


def test_a_link_in_a_folder_is_refused() -> None:
    pack_all()
    run("zoo", "unpack", "tiny.netz", "-o", "u")
    Path("u", "names.txt").unlink()
    Path("u", "names.txt").symlink_to("../names.txt")
    code, _, err = run("zoo", "check", "u")
    assert code == 2
    assert "names.txt is a link" in err


def test_mistakes() -> None:
    words = ("zoo", "pack", "tiny.net", "--weights", "tiny.safetensors", "--licence", "MIT")
    assert "a package is called NAME.netz" in run(*words, "-o", "a.zip")[2]
    assert "two files of the package" in run(*words, "-o", "a.netz", "--with", "tiny.net")[2]
    Path("still.net").write_text("net still {\n    input x: f32[N, 3]\n    output y = relu(x)\n}\n")
    np.savez("x.npz", x=np.ones((2, 3), np.float32))
    told = run("zoo", "pack", "still.net", *words[3:], "-o", "a.netz", "--sample", "x.npz")[2]
    assert "has no loss and no metric in test mode" in told
    assert not Path("a.netz").exists()
    pack_all()
    assert "its SHA-256 is" in run("zoo", "fetch", "tiny.netz", "--sha256", "0" * 64)[2]
    assert run("zoo", "fetch", "tiny.netz")[0] == 0
    assert "is there already" in run("zoo", "fetch", "tiny.netz")[2]
    assert "packages are fetched by https://" in run("zoo", "fetch", "http://example.org/a.netz")[2]


@pytest.mark.parametrize(
    "address", ["http://a.org/a.netz", "https:///a.netz", "https://a.org/a.zip", "https://[/a.netz"]
)
def test_addresses_that_are_none(address: str) -> None:
    with pytest.raises(UserError):
        name_at(address)


def answering(monkeypatch: pytest.MonkeyPatch, *answers: tuple[int, dict[str, str], bytes]) -> list[str]:
    """Answers of servers, in their order, in the place of the network; the addresses that are asked."""
    import requests
    from urllib3 import HTTPResponse

    asked: list[str] = []

    def send(self: object, request: Any, **_: Any) -> Any:
        status, headers, body = answers[len(asked)]
        asked.append(request.url)
        made = requests.Response()
        made.status_code, made.url, made.request = status, request.url, request
        made.headers.update(headers)
        made.raw = HTTPResponse(io.BytesIO(body), headers=headers, status=status, preload_content=False)
        return made

    monkeypatch.setattr(requests.adapters.HTTPAdapter, "send", send)
    return asked


def test_an_address_is_fetched_by_way_of_another(monkeypatch: pytest.MonkeyPatch) -> None:
    pack_all()
    data = Path("tiny.netz").read_bytes()
    asked = answering(monkeypatch, (302, {"location": "https://b.org/x"}, b""), (200, {}, data))
    code, _, err = run("zoo", "fetch", "https://a.org/tiny.netz", "--sha256", hashlib.sha256(data).hexdigest())
    assert code == 0, err
    assert asked == ["https://a.org/tiny.netz", "https://b.org/x"]
    assert Path("data", "zoo", "tiny.netz").read_bytes() == data


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((302, {"location": "http://b.org/x"}, b""), "leads away from https"),
        ((200, {}, bytes(101)), "more than 100 bytes"),
        ((404, {}, b""), "cannot be fetched: HTTPError"),
    ],
)
def test_transfers_that_are_refused(
    answer: tuple[int, dict[str, str], bytes], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = answering(monkeypatch, answer)
    with pytest.raises(UserError, match=told):
        download("https://a.org/a.netz", Path("got"), most=100)
    assert len(asked) == 1
