"""Under torchrun itself: a run on two processes, one of which is killed, and which goes on by itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from netc.runtime.log import read_log, records

ROOT = Path(__file__).parents[3]
NET = """net small {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    scores = image |> linear(24) |> tanh |> linear(3)
    loss nll = softmax_loss(scores, label)
}

data made = synthetic(shape: [1, 8, 8], classes: 3, batch: 16, records: 200, scale: 1/256, shuffle: true)

train small {
    from: made
    solver: adam(lr: 0.001)
    steps: 3000
    display: every 0
    snapshot: every 50
}
"""


def workers(of: int) -> list[int]:
    """The processes that a process started."""
    return [int(word) for word in Path(f"/proc/{of}/task/{of}/children").read_text().split()]


@pytest.mark.slow
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="/proc tells who started whom")
def test_a_run_goes_on_by_itself(tmp_path: Path) -> None:
    (tmp_path / "small.net").write_text(NET)
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    train = ["-m", "netc", "train", "small.net", "--threads", "1"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--max-restarts", "2"]
    log = tmp_path / "runs" / "small" / "1" / "log.jsonl"
    with (tmp_path / "told.txt").open("w") as told:
        run = subprocess.Popen(
            [sys.executable, *torchrun, *train], cwd=tmp_path, env=environment, stdout=told, stderr=subprocess.STDOUT
        )
        end = time.monotonic() + 120
        while not (log.exists() and log.read_bytes().count(b"\n") > 200) and time.monotonic() < end:
            time.sleep(0.01)
        os.kill(workers(run.pid)[-1], signal.SIGKILL)
        try:
            assert run.wait(200) == 0, (tmp_path / "told.txt").read_text()
        finally:
            run.terminate()
    assert "another process is gone" in (tmp_path / "told.txt").read_text()
    kinds = [one["kind"] for one in records(log)]
    assert kinds.count("resume") == 1
    assert kinds[-1] == "end"
    assert [path.name for path in (tmp_path / "runs" / "small").iterdir()] == ["1"]
    whole = [sys.executable, *torchrun[:-2], *train, "--folder", "whole"]
    subprocess.run(whole, cwd=tmp_path, env=environment, check=True, capture_output=True, timeout=200)
    assert (read_log(log).losses == read_log(tmp_path / "whole" / "log.jsonl").losses).all()
