"""Kernels compiled ahead of time: the same bytes everywhere, kept by content, and refused in a line."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from netc.compiler.program import Argument, Function, UserError
from netc.runtime.triton.compile import ahead
from netc.runtime.triton.compile.ahead import Binary, Job, compile_function, job_of, packed, unit_of, unpacked
from netc.runtime.triton.compile.architectures import KNOWN, architectures, limits
from netc.runtime.triton.compile.compiling import compile_jobs
from netc.runtime.triton.compile.options import options_of
from netc.runtime.triton.compile.resources import Resources
from support.tiny_net import FUNCTIONS, SOURCE, TINY
from support.triton_folders import kernel_cache, needs_triton

SCORE = next(function for function in FUNCTIONS if function.name == "score")


@pytest.fixture(autouse=True)
def cache(monkeypatch: pytest.MonkeyPatch) -> Path:
    needs_triton()
    monkeypatch.setenv("NETC_CACHE", str(kernel_cache()))
    return kernel_cache()


def test_a_unit_is_a_function_with_what_it_calls() -> None:
    unit = unit_of(SOURCE, "double")
    assert "def scaled(" in unit
    assert "def double(" in unit
    assert "def center(" not in unit
    assert unit.count("@triton.jit") == 2
    # What stands elsewhere in the module, and where the function stands in it, makes no difference.
    assert unit_of(SOURCE.replace("- 0.5", "- 0.25").replace('"""tiny', '"""tiny\n\n'), "double") == unit
    with pytest.raises(ValueError, match="no function nothing"):
        unit_of(SOURCE, "nothing")


def test_binaries_of_all_kinds() -> None:
    """What is compiled says what it is; the options are all there, and no line of the text is in it."""
    import triton

    for arch in ("cuda:90", "hip:gfx942"):
        binary = compile_jobs([job_of(SCORE, SOURCE, arch)])[job_of(SCORE, SOURCE, arch)]
        assert binary.code[:4] == b"\x7fELF"
        assert (binary.name, binary.arch) == ("score", arch)
        assert binary.threads == 4 * limits(arch).lanes
        assert dict(binary.options)["enable_fp_fusion"] is True
        assert ".loc" not in binary.assembly
        assert "netc" not in binary.assembly
        assert unpacked(packed(binary)) == binary
    job = job_of(SCORE, SOURCE, "cuda:90")
    assert job.compiler == f"triton {triton.__version__}"
    assert replace(job, compiler="triton 0").key != job.key


def test_arguments_are_aligned_where_the_table_says_so() -> None:
    """Alignment decides on how wide asynchronous copies are, so that it is told in both directions."""
    binary = compile_function(SCORE, TINY, "cuda:80")
    assert binary.async_copies > 0
    loose = replace(SCORE, arguments=tuple(replace(a, aligned=False) for a in SCORE.arguments))
    assert compile_function(loose, TINY, "cuda:80").async_copies == 4 * binary.async_copies


def test_the_same_bytes_in_another_folder_and_environment(tmp_path: Path) -> None:
    code = (
        "import sys, hashlib; from pathlib import Path\n"
        "from support.tiny_net import FUNCTIONS, SOURCE\n"
        "from netc.runtime.triton.compile.ahead import job_of, packed\n"
        "from netc.runtime.triton.compile.compiling import compile_jobs\n"
        "jobs = [job_of(FUNCTIONS[2], SOURCE, arch) for arch in ('cuda:90', 'hip:gfx942')]\n"
        "print([hashlib.sha256(packed(b)).hexdigest() for b in compile_jobs(jobs).values()])\n"
    )
    found = []
    for number, settings in enumerate(({}, {"TRITON_DEFAULT_FP_FUSION": "0", "DISABLE_PTXAS_OPT": "1"})):
        folder = tmp_path / ("x" * (1 + 30 * number))
        folder.mkdir()
        env = {**os.environ, **settings, "HOME": str(folder), "TMPDIR": str(folder), "NETC_CACHE": str(folder / "c")}
        env["PYTHONPATH"] = os.pathsep.join(sys.path)
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=folder, check=False
        )
        assert not done.returncode, done.stderr
        found.append(done.stdout)
        # Nothing is left behind but what is kept by content.
        assert [path.name for path in folder.iterdir()] == ["c"]
        assert all(path.name in ("c", "kernels") or len(path.name) in (2, 62) for path in (folder / "c").rglob("*"))
    assert found[0] == found[1]


def test_what_is_kept_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    job = job_of(FUNCTIONS[1], SOURCE, "hip:gfx942")
    told: list[str] = []
    made = compile_jobs([job, job], told=lambda done, total, name: told.append(f"{done}/{total} {name}"))[job]
    assert told == ["1/1 center"]  # equal jobs are one
    (kept,) = (path for path in (tmp_path / "kernels").rglob("*") if path.is_file())
    digest = kept.read_bytes()
    assert hashlib.sha256(digest[32:]).digest() == digest[:32]
    # It is used: a worker could not even start now.
    monkeypatch.setattr(sys, "executable", "/nothing")
    assert compile_jobs([job])[job] == made
    monkeypatch.undo()
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    for broken in (digest[:-1], b"", digest[:40] + b"x" + digest[41:]):
        kept.write_bytes(broken)
        assert compile_jobs([job])[job] == made
        assert kept.read_bytes() == digest
    kept.unlink()
    kept.parent.rmdir()
    kept.parent.write_text("no folder")  # where nothing can be kept, nothing is
    assert compile_jobs([job])[job] == made


# A product whose blocks the assembler fits six times on a multiprocessor, at the price of two registers.
SPILLING = """import triton
import triton.language as tl


@triton.jit
def product(in0, in1, partial, ROWS: tl.constexpr, COLUMNS: tl.constexpr, DEPTH: tl.constexpr):
    tile = tl.program_id(0)
    m = (tile % 2 * ROWS + tl.arange(0, ROWS))[:, None]
    n = (tile // 2 * COLUMNS + tl.arange(0, COLUMNS))[None, :]
    part = tl.program_id(2)
    total = tl.zeros((ROWS, COLUMNS), tl.float32)
    inside = n < 500
    for start in range(part * 128, tl.minimum(part * 128 + 128, 800), DEPTH):
        k = start + tl.arange(0, DEPTH)
        x0 = tl.load(in0 + (m * 800 + k[None, :]))
        x1 = tl.load(in1 + (n * 800 + k[:, None]), mask=inside, other=0.0)
        total = tl.dot(x0, x1, total, input_precision="ieee")
    inside_2 = n < 500
    tl.store(partial + (part * 32000 + m * 500 + n), total, mask=inside_2)
"""


def test_no_register_is_spilled_while_there_are_others() -> None:
    arguments = (Argument("in0", "f32"), Argument("in1", "f32"), Argument("partial", "f32", written=True))
    constants = (("ROWS", 32), ("COLUMNS", 64), ("DEPTH", 32))
    job = job_of(Function("product", "dot", "", "", arguments, constants, 4, 4), SPILLING, "cuda:90")
    binary = compile_jobs([job])[job]
    assert (binary.spills, binary.resources.local) == (0, 0)
    assert binary.registers <= 200


@pytest.mark.parametrize(
    ("registers", "spills", "tried", "taken"),
    [
        (80, 0, [], None),
        (80, 2, [96], 96),
        (96, 2, [128], 128),
        (168, 9, [200], 200),
        (255, 0, [200], 200),
        (255, 4, [200], 200),
        (80, 999, [96, 128, 168, 200], None),
        (255, 999, [200], None),
    ],
)
def test_registers_are_given_where_too_few_or_too_many_are_taken(
    monkeypatch: pytest.MonkeyPatch, registers: int, spills: int, tried: list[int], taken: int | None
) -> None:
    """999 stands for a kernel that spills with any number."""
    asked: list[int] = []

    def made(job: Job, options: Mapping[str, Any]) -> Binary:
        given = options["maxnreg"]
        asked.extend([given] if given else [])
        used = Resources(given or registers, spills if not given or spills == 999 else 0, 0, 0, 0, ())
        return Binary("score", job.arch, "cubin", b"", "", 4, 32, 0, 1, used, tuple(options.items()))

    monkeypatch.setattr(ahead, "_compiled", made)
    binary = ahead.compile_job(job_of(SCORE, SOURCE, "cuda:90"))
    assert (asked, dict(binary.options)["maxnreg"]) == (tried, taken)


def test_a_kernel_that_triton_refuses_is_one_line() -> None:
    job = job_of(FUNCTIONS[1], SOURCE.replace("- 0.5", "- nothing"), "hip:gfx942")
    with pytest.raises(UserError, match="center does not compile for hip:gfx942") as caught:
        compile_jobs([job])
    assert "\n" not in str(caught.value)
    assert "nothing" in str(caught.value)
    wrong = replace(FUNCTIONS[1], arguments=(*FUNCTIONS[1].arguments, Argument("more", "f32")))
    with pytest.raises(UserError, match="its table says"):
        compile_jobs([job_of(wrong, SOURCE, "hip:gfx942")])


def test_a_worker_that_dies_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "python").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "python").chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setenv("NETC_CACHE", str(tmp_path))
    with pytest.raises(UserError, match="the process that compiled it has ended"):
        compile_jobs([job_of(FUNCTIONS[1], SOURCE, "hip:gfx942")])


def test_an_interpreting_process_compiles_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    with pytest.raises(RuntimeError, match="interprets"):
        compile_function(SCORE, TINY, "cuda:90")


def test_architectures() -> None:
    assert [arch.name for arch in architectures(["cuda:90", " cuda:90", "hip:gfx942"])] == ["cuda:90", "hip:gfx942"]
    for names in ([], ["cuda:91"], ["CUDA:90"], ["../x"]):
        with pytest.raises(UserError, match="there are cuda:80, cuda:90, cuda:100, hip:gfx942"):
            architectures(names)
    assert limits("cuda:90").shared > limits("cuda:80").shared > limits("hip:gfx942").shared
    for arch in KNOWN.values():
        options = options_of(4, 3, arch.backend)
        assert json.loads(json.dumps(options)) == options
        assert options["num_stages"] == (3 if arch.backend == "cuda" else 2)
