"""A net is built once a command: once for each mode, batch and set of outputs that the command is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

import netc
from netc import driver
from netc.__main__ import COMMANDS, cli
from netc.compiler.build import build
from netc.compiler.net import Net
from netc.compiler.text import print_graph

NET = """net tiny {
    input image: f32[N, 1, 4, 4]
    input label: i32[N]
    scores = image |> linear(3)
    loss nll = softmax_loss(scores, label)
    output prob = softmax(scores)
}
data made = synthetic(shape: [1, 4, 4], classes: 3, batch: 4)
data more = synthetic(shape: [1, 4, 4], classes: 3, batch: 2)
train tiny {
    from: made
    solver: sgd(lr: 0.1)
    steps: 2
    test: more
}
"""
PROTOTXT = """
name: "tiny"
layer { name: "x" type: "Input" top: "x" input_param { shape { dim: 4 dim: 3 } } }
layer { name: "ip" type: "InnerProduct" bottom: "x" top: "y" inner_product_param { num_output: 2 } }
"""
STEP, TEST = ("train", 4), ("test", 4)
# Of each command: what it is called with, and the nets that it builds, each by its mode and its N.
CALLS: dict[str, tuple[tuple[str, ...], list[tuple[str, int]]]] = {
    "convert": (("tiny.prototxt",), []),  # whose graphs are compared, each as `load` reads it
    "new": (("--list",), []),
    "demo": (("--help",), []),  # four calls of the API, one after the other
    "caffe": (("device_query",), []),  # the tools of Caffe that other commands do not stand for build no net
    "check": (("tiny.net",), []),  # `load` tries each net; those that data are held to are no programs
    "fmt": (("--check", "tiny.net"), []),
    "show": (("tiny.net", "--stage", "kernels"), [STEP]),
    "summary": (("tiny.net",), [TEST]),
    "train": (("tiny.net", "--folder", "run"), [STEP, ("test", 2)]),
    "test": (("tiny.net", "--weights", "tiny.safetensors"), [STEP, ("test", 2)]),
    "run": (("tiny.net", "in.npz", "--weights", "tiny.safetensors"), [("test", 3)]),
    "compile": (("tiny.net", "--untrained", "-o", "out"), [TEST]),
    "profile": (("tiny.net", "--seconds", "0.01"), [STEP]),
    "scale": (("tiny.net", "--link", "50GB/s", "--step", "5ms"), [STEP]),
    "tune": (("tiny.net",), []),  # without a GPU
    "opt": (("graph.txt", "--stage", "simplify"), []),
    "explain": (("tiny.net",), [STEP]),
    "verify": (("tiny.net",), [("train", 2), ("test", 2)]),
    "data": (("list",), []),
    "zoo": (("list", "."), []),  # `pack` and `check` build one: tests/cli/test_zoo.py
    "devices": ((), []),
    "completion": (("bash",), []),
}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """The nets that are built from now on, in a folder with a net, weights and three records."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NETC_CACHE", str(tmp_path / "cache"))
    Path("tiny.net").write_text(NET, encoding="utf-8")
    netc.compile("tiny.net", dims={"N": 1}).save("tiny.safetensors")
    Path("tiny.prototxt").write_text(PROTOTXT, encoding="utf-8")
    np.savez("in.npz", image=np.ones((3, 1, 4, 4), np.float32))
    Path("graph.txt").write_text(print_graph(netc.compile("tiny.net").compilation.net.graph), encoding="utf-8")
    found: list[tuple[str, int]] = []

    def counted(*args: Any, **kwargs: Any) -> Net:
        net = build(*args, **kwargs)
        found.append((net.mode, int(net.dims["N"])))
        return net

    monkeypatch.setattr(driver, "build", counted)
    return found


@pytest.mark.parametrize("command", COMMANDS)
def test_a_net_is_built_once_a_command(command: str, built: list[tuple[str, int]]) -> None:
    arguments, nets = CALLS[command]
    done = CliRunner().invoke(cli, [command, *arguments])
    assert done.exit_code == (2 if command == "tune" else 0), done.output
    assert built == nets


def test_ahead_of_time_too(built: list[tuple[str, int]], monkeypatch: pytest.MonkeyPatch) -> None:
    """For two GPUs and with a training step the net is one; what differs is made from its graph."""
    pytest.importorskip("triton")
    arguments = ("compile", "tiny.net", "-o", "out", "--target", "triton", "--arch", "cuda:80,cuda:90", "--train")
    done = CliRunner().invoke(cli, arguments)
    assert done.exit_code == 0, done.output
    assert built == [STEP]


def test_a_batch_of_few_records_is_built_for_them(built: list[tuple[str, int]]) -> None:
    """One record without its axis looks like one of one channel: then the net is built for what was read."""
    np.savez("in.npz", image=np.ones((4, 4, 4), np.float32)[:1], other=np.zeros((9, 2)))
    flags = ("--weights", "tiny.safetensors", "--batch", "8")
    done = CliRunner().invoke(cli, ["run", "tiny.net", "in.npz", *flags])
    assert done.exit_code == 0, done.output
    assert built == [("test", 1)]
