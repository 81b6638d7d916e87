"""`netc show`, `summary`, `explain`, `profile`: a net looked at from all sides."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest

from support.commands import run
from support.json_forms import parsed

EXAMPLES = Path(__file__).parents[2] / "examples"
LENET = str(EXAMPLES / "lenet.net")


def test_show_ast() -> None:
    code, out, _ = run("show", LENET, "--stage", "ast")
    assert code == 0
    assert out.startswith("File")
    assert "NetDef" in out
    assert "TrainDef" in out


def test_show_graph_names_types() -> None:
    _, out, _ = run("show", LENET, "--batch", "8")
    assert "conv" in out
    assert "f32[N,20,24,24]" in out


def test_show_gradient_holds_the_update() -> None:
    _, out, _ = run("show", LENET, "--stage", "gradient", "--batch", "8")
    assert "conv_weight_grad" in out
    assert ".history0" in out
    code, _, err = run("show", LENET, "--stage", "gradient", "--mode", "test")
    assert code == 2
    assert "--mode train" in err


def test_show_fused_and_kernels() -> None:
    _, fused, _ = run("show", LENET, "--stage", "fused", "--batch", "8")
    assert "kernel" in fused
    _, kernels, _ = run("show", LENET, "--stage", "kernels", "--batch", "8")
    _, apart, _ = run("show", LENET, "--stage", "kernels", "--batch", "8", "--unfused")
    assert "lenet (train) for numpy" in kernels
    assert "lenet.net:" in kernels

    def launches(text: str) -> int:
        return int(text.split(": ")[1].split(" launches")[0])

    assert 2 * launches(kernels) < launches(apart)


def test_show_source_is_python() -> None:
    _, out, _ = run("show", LENET, "--stage", "source", "--batch", "8", "--mode", "test")
    tree = ast.parse(out)
    assert "bind" in {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert "# conv1" in out


@pytest.mark.parametrize("stage", ["graph", "gradient", "fused", "kernels"])
def test_show_draws(stage: str, tmp_path: Path) -> None:
    out = tmp_path / "a.svg"
    code, _, _ = run("show", LENET, "--stage", stage, "--svg", str(out))
    assert code == 0
    text = "".join(ElementTree.parse(out).getroot().itertext())
    assert "conv1" in text
    assert ("backward" in text) == (stage == "gradient")


@pytest.mark.parametrize("stage", ["ast", "source"])
def test_show_draws_no_text(stage: str, tmp_path: Path) -> None:
    code, _, err = run("show", LENET, "--stage", stage, "--svg", str(tmp_path / "a.svg"))
    assert code == 2
    assert "--svg draws" in err
    assert not list(tmp_path.iterdir())


def test_summary() -> None:
    code, out, _ = run("summary", LENET, "--output", "prob")
    assert code == 0
    assert "431,080 parameters" in out
    assert "nll" not in out
    rows = {line.split()[0]: line for line in out.splitlines() if line.strip()}
    assert "f32[N,20,24,24]" in rows["conv1"]
    assert "25,050" in rows["conv2"]


def test_summary_json() -> None:
    found = parsed(run("summary", LENET, "--json", "--batch", "16")[1])
    assert {"params", "flops", "activation_bytes", "peak_bytes", "layers"} <= set(found)
    assert found["params"] == 431080
    conv2 = next(row for row in found["layers"] if row["name"] == "conv2")
    assert conv2["params"] == 25050
    assert conv2["tops"] == ["f32[N,50,8,8]"]
    larger = parsed(run("summary", LENET, "--json", "--dim", "N=32")[1])
    assert larger["activation_bytes"] == pytest.approx(2 * found["activation_bytes"], rel=0.01)


def test_settings_change_the_net() -> None:
    found = parsed(run("summary", LENET, "--json", "--set", "classes=20")[1])
    assert found["params"] == 431080 + 10 * 501


def out_of_fusion(text: str) -> int:
    """How many edges stay apart, from the first line of `netc explain`."""
    looked, fused = re.findall(r"(\d+) edges looked at, (\d+) fused", text)[0]
    return int(looked) - int(fused)


def test_explain_the_laws() -> None:
    code, out, _ = run("explain", LENET, "--laws")
    assert code == 0
    rows = parsed(run("explain", LENET, "--laws", "--json")[1])["laws"]
    assert {"pass", "law", "why", "layer", "place", "refused", "times"} == set(rows[0])
    applied, refused = ([row for row in rows if (row["refused"] is not None) == told] for told in (False, True))
    assert (
        f"{len({row['law'] for row in applied})} laws applied, at {sum(row['times'] for row in applied)} nodes" in out
    )
    (transposed,) = (row for row in applied if row["law"].startswith("transpose(dot") and row["layer"] == "ip1")
    assert (transposed["pass"], transposed["place"], transposed["why"]) == ("simplify", "lenet.net:12", None)
    assert all(row["layer"] == "(solver)" for row in refused)
    for row in rows:
        assert row["law"] in out
        assert all(text in out for text in (row["refused"], row["why"]) if text)
    places = run("explain", LENET, "--laws", "--all")[1]
    assert {row["place"] for row in rows} <= set(places.split())


def test_explain_a_net() -> None:
    code, out, _ = run("explain", LENET, "--batch", "8")
    assert code == 0
    assert "edges looked at" in out
    listed = out.splitlines()[3:]
    assert sum(int(line.split()[-1]) for line in listed) == out_of_fusion(out)
    said = [line.split("  ")[1] for line in listed if line.startswith("  apart: ")]
    assert len(set(said)) == len(said) < len(listed), "each reason once, its edges under it"
    rows = parsed(run("explain", LENET, "--batch", "8", "--json")[1])["edges"]
    assert {"producer", "consumer", "layers", "fused", "reason", "bytes_saved"} == set(rows[0])
    assert any(row["fused"] for row in rows)
    assert all(row["reason"] for row in rows)
    assert sum(not row["fused"] for row in rows) == out_of_fusion(out), "JSON has every edge"
    assert any(row["layers"] == ["(solver)"] for row in rows)
    assert all(row["bytes_saved"] == 0 for row in rows if not row["fused"])
    assert len(run("explain", LENET, "--batch", "8", "--all")[1].splitlines()) > len(out.splitlines())


def test_profile_json_is_the_promised_form() -> None:
    code, out, _ = run("profile", LENET, "--batch", "8", "--seconds", "0.2", "--json", "--threads", "1")
    assert code == 0
    found = parsed(out)
    keys = {
        "net",
        "target",
        "device",
        "mode",
        "batch",
        "threads",
        "fused",
        "unfused",
        "ratio",
        "max_memory",
        "kernels",
        "layers",
        "memory",
        "schema",
    }
    assert set(found) == keys
    measured = {"ms", "spread", "kernels", "bytes", "flops", "peak_bytes"}
    assert set(found["fused"]) == set(found["unfused"]) == measured
    assert set(found["kernels"][0]) == {"name", "ms", "bytes", "flops", "layers", "lines"}
    assert (found["net"], found["target"], found["device"], found["mode"]) == ("lenet", "numpy", "cpu", "train")
    assert (found["batch"], found["threads"]) == (8, 1)
    assert len(found["kernels"]) == found["fused"]["kernels"] < found["unfused"]["kernels"]
    assert found["fused"]["bytes"] < found["unfused"]["bytes"]
    assert found["fused"]["peak_bytes"] < found["unfused"]["peak_bytes"]
    assert found["ratio"] > 0
    layers = {row["name"]: row for row in found["layers"]}
    assert sum(row["ms"] for row in layers.values()) == pytest.approx(sum(k["ms"] for k in found["kernels"]))
    assert "conv2" in layers
    solver = [k for k in found["kernels"] if k["layers"] == ["(solver)"]]
    train = next(i for i, line in enumerate(Path(LENET).read_text().splitlines(), 1) if line.startswith("train "))
    assert solver
    assert all(k["lines"] == [f"lenet.net:{train}"] for k in solver)
    assert layers["(solver)"]["ms"] == pytest.approx(sum(k["ms"] for k in solver))
    assert all(k["layers"] for k in found["kernels"])


def test_profile_tables() -> None:
    code, out, _ = run("profile", LENET, "--batch", "4", "--seconds", "0.1", "--mode", "test", "--top", "2")
    assert code == 0
    assert "the 2 slowest of" in out
    assert "unfused / fused = " in out


@pytest.mark.parametrize("command", ["profile", "train", "compile"])
@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--target", "opencl"], "there is no target `opencl`; there are numpy, c, triton"),
        (
            ["--target", "numpy", "--device", "cuda"],
            "the target numpy does not run on cuda; use --device cpu, or --target triton",
        ),
        (["--device", "cuda:1"], "--device cuda"),
    ],
)
def test_targets_and_devices_that_are_refused(command: str, flags: list[str], told: str, tmp_path: Path) -> None:
    out = ["-o", str(tmp_path / "x")] if command == "compile" else []
    code, _, err = run(command, LENET, *flags, *out)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert told in err


@pytest.mark.parametrize("command", ["show", "summary", "explain", "profile"])
def test_mistakes_have_a_message(command: str, tmp_path: Path) -> None:
    broken = tmp_path / "a.net"
    broken.write_text("net a {\n    input x: f32[N, 2]\n    output y = rellu(x)\n}\n")
    code, _, err = run(command, str(broken))
    assert code == 2
    assert "did you mean `relu`?" in err
    assert run(command, str(tmp_path / "no.net"))[0] == 2
    code, _, err = run(command, LENET, "--net", "lenett")
    assert code == 2
    assert len(err.splitlines()) == 1
    assert run(command, LENET, "--output", "probb")[0] == 2


LOSSLESS = """net plain {
    input x: f32[N, 8]
    output y = x |> linear(4) |> softmax
}
"""


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        (("show",), "= dot("),
        (("show", "--stage", "source"), "def bind("),
        (("explain",), "edges looked at"),
        (("profile", "--seconds", "0.05"), "plain: test, batch 2"),
    ],
)
def test_a_net_without_a_loss_is_looked_at_as_it_is_tested(
    command: tuple[str, ...], shown: str, tmp_path: Path
) -> None:
    net = tmp_path / "plain.net"
    net.write_text(LOSSLESS, encoding="utf-8")
    code, out, err = run(command[0], net, *command[1:])
    assert code == 0
    assert shown in out
    assert "\n0 edges" not in out
    assert err == "netc: test mode, since no loss of `plain` is wanted\n"
    code, out, err = run(command[0], net, *command[1:], "--mode", "train")
    assert (code, out) == (2, "")
    assert "`plain` computes nothing in train mode" in err


def test_the_mode_that_was_taken_is_said() -> None:
    _, out, err = run("show", LENET, "--stage", "kernels", "--batch", "2")
    assert "lenet (train)" in out
    assert err == "netc: train mode, since a loss of `lenet` is wanted\n"
    _, out, err = run("show", LENET, "--stage", "kernels", "--batch", "2", "--output", "prob")
    assert "lenet (test)" in out
    assert "no loss of `lenet` is wanted" in err
    assert run("show", LENET, "--batch", "2", "--mode", "train")[2] == ""


@pytest.mark.parametrize("command", ["show", "profile"])
def test_a_picture_is_called_what_it_is(command: str, tmp_path: Path) -> None:
    out = tmp_path / "picture.png"
    code, _, err = run(command, LENET, "--svg", out)
    assert code == 2
    assert "--svg writes SVG, and picture.png is no name for it; call it picture.svg" in err
    assert not list(tmp_path.iterdir())
