"""`netc check`: what is said, on which stream, with which exit status, and how fast."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from safetensors.numpy import save_file

import netc
from netc.__main__ import cli
from support.commands import run
from support.json_forms import parsed

LENET = Path(__file__).parents[2] / "examples" / "lenet.net"
WRONG = """net a {
    input x: f32[N, 8]
    y = x |> linear(clases: 10)
    output z = conv(y, 3, 5)
}
"""
UNUSED = "net a {\n    input x: f32[N, 8]\n    y = relu(x)\n    output z = x\n}\n"


def test_fine() -> None:
    assert run("check", LENET) == (0, f"{LENET}: no errors\n", "")


def test_errors_with_place_and_caret(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    code, out, err = run("check", file)
    assert code == 2
    assert out == ""
    assert f"{file}:3:21: error[E201]: linear: `clases` is not a setting\n" in err
    assert " 3 |     y = x |> linear(clases: 10)\n   |                     ^^^^^^" in err


def test_warnings_do_not_fail(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(UNUSED)
    code, out, err = run("check", file)
    assert (code, err) == (0, "")
    assert "warning[W601]" in out
    assert out.endswith("no errors, 1 warning\n")


def test_json(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    code, out, _ = run("check", file, "--json")
    assert code == 2
    first = parsed(out)["problems"][0]
    assert set(first) == {"severity", "code", "message", "file", "line", "column", "hint", "notes"}
    assert (first["code"], first["severity"], first["line"], first["column"]) == ("E201", "error", 3, 21)
    assert parsed(run("check", LENET, "--json")[1])["problems"] == []


REFERS = """net tiny {
    input x: f32[N, 4]
    input label: i32[N]
    loss nll = softmax_loss(x |> linear(3) as fc, label)
}
data few = npz("few.npz", batch: 4, columns: [x, label])
train tiny {
    from: few
    weights: "w.safetensors"
    solver: sgd(lr: 0.1)
    steps: 2
}
"""


@pytest.fixture
def refers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("a.net").write_text(REFERS, encoding="utf-8")
    return Path("a.net")


def few(width: int) -> None:
    np.savez("few.npz", a=np.zeros((8, width), np.float32), b=np.zeros(8, np.int32))


def test_files_that_are_not_here_are_warnings(refers: Path) -> None:
    code, out, err = run("check", refers)
    assert (code, err) == (0, "")
    assert out == (
        "a.net:6:12: warning[W608]: few.npz: there is no such file\n"
        ' 6 | data few = npz("few.npz", batch: 4, columns: [x, label])\n'
        "   |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^ it is not on this machine; training needs it\n"
        "a.net:9:14: warning[W608]: w.safetensors: there is no such file\n"
        ' 9 |     weights: "w.safetensors"\n'
        "   |              ^^^^^^^^^^^^^^^ it is not on this machine; training needs it\n"
        "a.net: no errors, 2 warnings\n"
    )
    assert run("check", refers, "--strict")[0] == 2
    assert run("check", refers, "--no-files") == (0, "a.net: no errors\n", "")
    assert [problem.code for problem in netc.check(refers)] == ["W608", "W608"]
    assert netc.check(refers, files=False) == []


def test_data_and_weights_that_do_not_fit_are_errors(refers: Path) -> None:
    few(5)
    save_file({"fc.weight": np.zeros((3, 7), np.float32), "fc_bias": np.zeros(3, np.float32)}, "w.safetensors")
    code, _, err = run("check", refers)
    assert code == 2
    assert "a.net:6:12: error[E440]: few: the column `x` is [4, 5], the input is f32[N,4]\n" in err
    assert "a.net:9:14: error[E441]: w.safetensors: fc.weight is [3,7], the net wants [3,4]; fc.bias is missing" in err
    assert "(is it fc_bias [3]?)" in err
    few(4)
    save_file({"fc.weight": np.zeros((3, 4), np.float32), "fc.bias": np.zeros(3, np.float32)}, "w.safetensors")
    assert run("check", refers)[0] == 0
    Path("few.npz").write_bytes(b"nothing")
    code, _, err = run("check", refers)
    assert code == 2
    assert "a.net:6:12: error[E440]: few.npz: " in err


@pytest.mark.parametrize("command", ["train", "test"])
def test_training_tells_the_same_place(refers: Path, command: str) -> None:
    refers.write_text(REFERS.replace("    steps", "    test: few\n    steps").replace("    weights", "    # weights"))
    few(5)
    if command == "test":
        save_file({"fc.weight": np.zeros((3, 4), np.float32), "fc.bias": np.zeros(3, np.float32)}, "w.safetensors")
    code, out, err = run(command, refers, *(["--weights", "w.safetensors"] if command == "test" else []))
    assert (code, out) == (2, "")
    assert err == (
        "a.net:6:12: error[E440]: few: the column `x` is [4, 5], the input is f32[N,4]\n"
        ' 6 | data few = npz("few.npz", batch: 4, columns: [x, label])\n'
        "   |            ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^\n"
    )


def test_values_that_are_damaged_have_a_place_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is found in a batch, long after the file was opened."""
    monkeypatch.chdir(tmp_path)
    Path("a.net").write_text(REFERS.replace('    weights: "w.safetensors"\n', ""), encoding="utf-8")
    np.savez("few.npz", a=np.zeros((8, 4), np.float32), b=np.full(8, 7, np.int32))
    assert run("check", "a.net")[0] == 0
    code, _, err = run("train", "a.net")
    assert code == 2
    assert "a.net:6:12: error[E440]: few: `label` holds the label 7;" in err


def test_folders_and_standard_input(refers: Path) -> None:
    Path("below").mkdir()
    (Path("below") / "b.net").write_text(WRONG)
    (Path("below") / "c.prototxt").write_text("nam: 1")
    (Path("below") / "notes.txt").write_text("no net")
    code, _, err = run("check", ".")
    assert code == 2
    assert re.findall(r"^(\S+?):", err, re.MULTILINE) == ["below/b.net", "below/c.prototxt"]
    few(4)
    assert run("check", "a.net", LENET, "--no-files")[1] == f"a.net, {LENET}: no errors\n"
    Path("other").mkdir()
    assert run("check", "other") == (2, "", "netc: error: other: there is no .net or .prototxt in this folder\n")
    result = CliRunner().invoke(cli, ["check", "-"], input=WRONG)
    assert result.exit_code == 2
    assert result.stderr.startswith("<stdin>:3:21: error[E201]")
    assert (
        CliRunner().invoke(cli, ["check", "-"], input=b"\0").stderr.startswith("netc: error: <stdin>: this is no text")
    )


def test_a_problem_of_a_file_that_several_name_is_said_once(refers: Path) -> None:
    layers = (
        'name: "a" layer { name: "data" type: "Data" top: "data" top: "label" '
        'data_param { source: "no" batch_size: 4 } }'
        'layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 3 } }'
        'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" }'
    )
    Path("net.prototxt").write_text(layers, encoding="utf-8")
    Path("solver.prototxt").write_text(
        'net: "net.prototxt" base_lr: 0.1 lr_policy: "fixed" max_iter: 3', encoding="utf-8"
    )
    code, out, _ = run("check", "net.prototxt", "solver.prototxt")
    assert code == 0
    assert out.count("warning[W608]: no: there is no such file") == 1


def test_sizes_that_the_data_say_are_checked(refers: Path) -> None:
    refers.write_text(REFERS.replace("f32[N, 4]", "f32[N, C]"), encoding="utf-8")
    few(4)
    save_file({"fc.weight": np.zeros((3, 7), np.float32), "fc.bias": np.zeros(3, np.float32)}, "w.safetensors")
    code, _, err = run("check", refers)
    assert code == 2
    assert "error[E441]: w.safetensors: fc.weight is [3,7], the net wants [3,4]" in err


def test_a_size_that_the_data_would_say_names_the_data(refers: Path) -> None:
    refers.write_text(
        REFERS.replace("f32[N, 4]", "f32[N, C]").replace("    weights", "    # weights"), encoding="utf-8"
    )
    for command in ("train", "summary"):
        code, _, err = run(command, refers)
        assert code == 2
        assert "a.net:2:21: error[E314]: `C` has no value" in err
        assert err.endswith("   = the data `few` would say it, but: few.npz: there is no such file\n")
    few(4)
    assert run("summary", refers)[0] == 0


def test_a_file_that_cannot_be_read_hides_no_other(refers: Path) -> None:
    code, out, err = run("check", "no.net", refers, "--no-files")
    assert (code, out, err) == (2, "", "netc: error: no.net: cannot be read: No such file or directory\n")
    code, out, err = run("check", "no.net", "a.net", "--json")
    assert code == 2
    assert [one["code"] for one in parsed(out)["problems"]] == ["W608", "W608"]


def test_a_list_of_all_there_is_is_said_once(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(REFERS.replace("steps: 2", "qqq: 2\n    zzz: 3"), encoding="utf-8")
    code, _, err = run("check", file)
    assert code == 2
    assert err.count("keys: from, test, solver") == 1
    assert "| ^^^ as at line 11\n" in err.replace("     ^", " ^")
    hints = [one["hint"] for one in parsed(run("check", file, "--json")[1])["problems"] if one["code"] == "E421"]
    assert hints[0] == hints[1], "each has its own for programs"


def test_several_files(tmp_path: Path) -> None:
    wrong = tmp_path / "a.net"
    wrong.write_text(WRONG)
    code, _, err = run("check", LENET, wrong)
    assert code == 2
    assert "E201" in err


def test_dims_and_settings_are_checked() -> None:
    assert run("check", LENET, "--batch", "8", "--set", "classes=20")[0] == 0
    code, _, err = run("check", LENET, "--set", "clases=20")
    assert code == 2
    assert "did you mean `classes`?" in err
    code, _, err = run("check", LENET, "--dim", "T=3")
    assert code == 2
    assert "`T`" in err
    assert run("check", LENET, "--net", "lnet")[0] == 2


def test_files_that_are_none(tmp_path: Path) -> None:
    for name, words in (("no.net", "no.net"), (".", "")):
        code, _, err = run("check", tmp_path / name)
        assert code == 2
        assert words in err
        assert len(err.splitlines()) == 1
    binary = tmp_path / "b.net"
    binary.write_bytes(b"\x00\x01\x02")
    assert run("check", binary)[0] == 2


def test_api_gives_the_same(tmp_path: Path) -> None:
    file = tmp_path / "a.net"
    file.write_text(WRONG)
    problems = netc.check(file)
    assert next(p.code for p in problems) == "E201"
    assert str(problems[0]).splitlines()[0].endswith("`clases` is not a setting")


def test_it_answers_at_once(tmp_path: Path) -> None:
    """Processor time of the whole command, its bytecode cached: 0.4 s is the promise, 0.27 s usual."""
    code = (
        "import os, subprocess, sys\n"
        f"subprocess.run([sys.executable, '-m', 'netc', 'check', {str(LENET)!r}], check=True, capture_output=True)\n"
        "times = os.times()\n"
        "print(times.children_user + times.children_system)\n"
    )
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "PYTHONPYCACHEPREFIX": str(tmp_path)}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    seconds = min(
        float(subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=True).stdout)
        for _ in range(4)
    )
    assert seconds < 0.4
