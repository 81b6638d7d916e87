"""What drives a GPU, without one: `support/cuda_stand_in.py`, in Triton's interpreter. The real one: `tests/gpu`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

ROOT = Path(__file__).parents[2]
CHECKS = [
    "steps_are_replayed",
    "nothing_waits_inside_a_step",
    "replay_is_the_same_as_launching",
    "calls_between_launches_are_recorded_with_them",
    "a_step_that_cannot_be_recorded_is_launched",
    "times_are_taken",
    "what_is_timed_first_of_all_is_one_step",
    "a_replay_that_leaves_something_out_is_found",
    "programs_share_the_state",
    "memory_that_is_not_there",
    "page_locked_memory_that_is_not_there",
    "large_outputs_have_no_memory_of_their_own",
]


@pytest.fixture(scope="module")
def found() -> dict[str, str]:
    """How each check ended: nothing, or a traceback. One process for all, since it imports torch."""
    pytest.importorskip("torch")
    path = os.pathsep.join([str(ROOT), str(ROOT / "tests"), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "support.cuda_stand_in"],
        env={**os.environ, "TRITON_INTERPRET": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, str] = json.loads(done.stdout)
    assert list(answers) == CHECKS
    return answers


@pytest.mark.parametrize("check", CHECKS)
def test_the_device(check: str, found: dict[str, str]) -> None:
    assert not found[check], found[check]
