"""Where a run stands, told by the rank that keeps its files to those that have none."""

from __future__ import annotations

from typing import Any, NoReturn

from ..interruption import RankLost


def standing(run: Any) -> dict[str, Any]:
    """What the loop needs beside the state to go on as the first rank does, as JSON."""
    return {
        "done": run.done,
        "tested": run.tested,
        "recent": list(run.recent),
        "position": run.stream.position,
        "saved": run.saved is not None,
        "tests": [
            {"kind": "test", "step": int(step), "data": data, "values": {name: float(curve[name][i]) for name in curve}}
            for data, curve in run.history.tests.items()
            for i, step in enumerate(curve.steps)
        ],
    }


def stand(run: Any, told: dict[str, Any]) -> None:
    """Stand where the first rank does."""
    run.done, run.tested = told["done"], told["tested"]
    run.recent.extend(told["recent"])
    run.stream.seek(told["position"])
    run.saved = run.elsewhere if told["saved"] else None
    for record in told["tests"]:
        run.history.add(record)


def go_down(run: Any, lost: RankLost) -> NoReturn:
    """Another process is gone: save how things stand after the last whole step, where this one can, and say so."""
    if run.place is not None:
        run.state.undo()
        run.state.drop_gradients()
        run.stream.seek(run.place)
    if run.saved is None and run.group.whole:
        run.snapshot()
    where = f"saved in {run.saved}; go on with --resume" if run.folder and run.saved else "see rank 0"
    message = f"{lost}; stopped after step {run.done:,}, {where}"
    run.log.write("stop", step=run.done, reason=message)
    raise RankLost(message) from None
