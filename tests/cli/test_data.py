"""`netc data`, `netc devices`, `netc explain CODE`: what needs no net."""

from __future__ import annotations

from pathlib import Path

import pytest

from netc.grammar.codes import CODES
from support.commands import run
from support.json_forms import parsed


def test_data_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NETC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, _ = run("data", "list", "--json")
    assert code == 0
    rows = {row["name"]: row for row in parsed(out)["sets"]}
    assert set(rows) >= {"mnist", "fashion_mnist", "cifar10"}
    assert rows["mnist"]["where"].startswith("embedded")
    assert rows["cifar10"]["where"] is None
    assert set(rows["mnist"]) == {"name", "what", "where", "bytes", "terms"}
    code, out, _ = run("data", "list")
    assert "netc data fetch cifar10" in out


def test_data_list_looks_into_the_folder(tmp_path: Path) -> None:
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"):
        (tmp_path / name).write_bytes(b"")
    _, out, _ = run("data", "list", "--json", "--data", str(tmp_path))
    assert next(row["where"] for row in parsed(out)["sets"] if row["name"] == "mnist") == str(tmp_path)


def test_data_fetch_of_nothing() -> None:
    code, _, err = run("data", "fetch", "imagenet")
    assert code == 2
    assert err == "netc: error: there is no data set `imagenet`; there are mnist, fashion_mnist, cifar10\n"


def test_devices() -> None:
    code, out, _ = run("devices", "--json")
    assert code == 0
    cpu, cuda = parsed(out)["devices"]
    assert (cpu["device"], cuda["device"]) == ("cpu", "cuda")
    assert next(iter(cpu["targets"])) == "numpy"
    assert "cores" in cpu["what"]
    assert cuda["what"]  # the GPU, or what is missing
    text = run("devices")[1]
    assert "numpy" in text
    if "triton" in cpu["targets"]:
        assert "Triton's interpreter: slow, for checking kernels" in text


@pytest.mark.parametrize("code", sorted(CODES))
def test_each_code_is_explained(code: str) -> None:
    status, out, _ = run("explain", code)
    assert status == 0
    assert out.startswith(f"{code}: {CODES[code].title}\n")


def test_explain_knows_small_letters_and_json() -> None:
    code = next(iter(CODES))
    assert parsed(run("explain", code.lower(), "--json")[1])["code"] == code


@pytest.mark.parametrize(
    ("name", "hint"),
    [("conv2d", "conv"), ("Dense", "linear"), ("InnerProduct", "linear"), ("Adam", "adam"), ("relo", "relu")],
)
def test_explain_knows_other_names(name: str, hint: str) -> None:
    status, _, err = run("explain", name)
    assert status == 2
    assert f"`{hint}" in err.partition("; ")[2]


def test_explain_of_no_code() -> None:
    status, _, err = run("explain", "E000")
    assert status == 2
    assert "no error code, layer, solver, schedule, filler, source of data or .net file" in err
