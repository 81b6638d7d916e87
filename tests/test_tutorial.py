"""The tutorial's net and its commands, as a reader would type them."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import netc
from netc.__main__ import cli

PAGE = (Path(__file__).parents[1] / "docs" / "tutorial.md").read_text()


def test_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NETC_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    (net,) = re.findall(r"^```net\n(net digits.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    Path("digits.net").write_text(net)
    Image.fromarray(np.zeros((28, 28), np.uint8)).save("seven.png")
    np.savez("images.npz", image=np.zeros((3, 1, 28, 28), np.float32))
    commands = re.findall(r"^\$ (netc .*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
    assert len(commands) > 10
    for command in commands:
        arguments = shlex.split(command)[1:]
        if arguments[0] == "train":
            arguments += ["--steps", "120"]
        if arguments[0] == "profile":
            arguments += ["--seconds", "0.1"]
        result = CliRunner().invoke(cli, arguments)
        assert result.exit_code == 0, f"{command}: {result.output} {result.exception}"
    for made in ("a.svg", "results.npz", "digits_net/digits.py", "runs/digits/1/curves.png"):
        assert Path(made).exists()


def test_the_python_of_the_tutorial(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (net,) = re.findall(r"^```net\n(net digits.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    Path("digits.net").write_text(net)
    history = netc.train("digits.net", steps=20, quiet=True)
    assert len(history) == 20
    step = netc.compile("digits.net", mode="train", dims={"N": 50})
    generator = np.random.default_rng(0)
    x = generator.random((50, 1, 28, 28), np.float32)
    y = generator.integers(0, 10, 50).astype(np.int32)
    first = step(image=x, label=y)
    assert set(first) == {"nll", "top1"}
    for _ in range(20):
        last = step(image=x, label=y)
    assert last["nll"] < first["nll"]
    names = ["image", "enc.weight"]
    grads = netc.compile("digits.net", mode="train", update=False, dims={"N": 50}, outputs=["nll"], gradients=names)
    found = grads(image=x, label=y)
    assert found["enc.weight.grad"].shape == (64, 784)
    assert found["image.grad"].shape == x.shape
    exe = netc.compile("digits.net", dims={"N": 1}, outputs=["prob"])
    html = exe._repr_html_()
    assert "<svg" in html
    assert "enc" in html
    assert "unfused" in netc.profile("digits.net", dims={"N": 4}, seconds=0.05)._repr_html_()
