"""Data parallel training on this machine: what several ranks compute, and how quickly.

    python benchmarks/ranks.py equal [--data FOLDER] [--save FILE]    losses of 1, 2 and 4 ranks, beside float64
    python benchmarks/ranks.py rate [--save FILE]                     2 ranks of a thread, 1 rank of two
    python benchmarks/ranks.py kills [--turns 200] [--save FILE]      a rank killed at any moment, again and again
    python benchmarks/ranks.py scale [--net NET] [--save FILE]        steps of 2 and 4 ranks beside the scaling model

Ranks are started by torchrun, as a user does.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from setting import save

from netc.api.training import Run, Training
from netc.compiler.interpret import evaluate
from netc.driver import compilation
from netc.report.scaling import Link, cost_of, predicted
from netc.request import request
from netc.runtime import snapshot
from netc.runtime.learning_rate import rate
from netc.runtime.log import read_log, records

ROOT = Path(__file__).parents[1]
NETS = {"LeNet": "lenet.net", "CIFAR-10 quick": "cifar10_quick.net"}
RATE = ".rate"


def nets(arguments: argparse.Namespace) -> Iterator[tuple[str, str]]:
    """The nets whose data is there: MNIST's digits come with netc."""
    for net, name in NETS.items():
        if arguments.net not in (None, name.removesuffix(".net")):
            continue
        if net == "LeNet" or arguments.data:
            yield net, name
        else:
            print(f"{net} is left out: --data names no folder with its data", flush=True)


def train(ranks: int, folder: Path, *words: str, threads: int = 1) -> Path:
    """A run on so many ranks: its log."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += ["-m", "netc", "train", *words, "--folder", str(folder), "--threads", str(threads), "--display", "0"]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        raise SystemExit(done.stderr)
    logs = sorted(folder.rglob("log.jsonl"))
    return logs[0]


def reference(file: Path, steps: int, data: Path | None, net: str | None = None) -> list[float]:
    """The losses of the file's first block in float64: every node of the step's graph by the oracle."""
    training = Training(file, request(mode="train", update=None, data=data, threads=1))
    run = Run(training, 0)
    run.begin(None)
    graph, spec = run.step.simplified, run.spec
    state: dict[str, Any] = {name: np.array(array) for name, array in run.state.buffers.items()}
    state = {name: array.astype(np.float64) if array.dtype.kind == "f" else array for name, array in state.items()}
    found = []
    with run.stream(spec.data, "train", run.step) as stream:
        for step in range(steps):
            feeds: dict[str, Any] = {**stream.next().columns, **state}
            feeds[RATE] = np.float32(rate(spec.schedule, float(spec.solver["lr"]), step, spec.steps))
            outputs, updates = evaluate(graph, feeds)
            state |= updates
            found.append(sum(weight * float(outputs[name]) for name, weight in run.step.net.losses.items()))
    return found


def furthest(losses: Any, others: Any) -> float:
    """The largest relative difference."""
    return float(np.abs(np.asarray(losses) / np.asarray(others) - 1).max())


def equal(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Losses of 1, 2 and 4 ranks, as they are and in four parts; each beside one rank, and beside float64."""
    rows = []
    for net, name in nets(arguments):
        file = ROOT / "examples" / name
        words = [str(file), "--steps", str(arguments.steps)]
        words += ["--data", str(arguments.data)] if arguments.data else []
        exact = reference(file, arguments.steps, arguments.data)
        with tempfile.TemporaryDirectory() as folder:
            for how, more in (("one part a rank", []), ("--parts 4", ["--parts", "4"])):
                first = None
                for ranks in (1, 2, 4):
                    at = Path(folder) / f"{ranks}{len(more)}"
                    losses = read_log(train(ranks, at, *words, *more)).losses[: arguments.steps]
                    first = losses if first is None else first
                    row = {
                        "net": net,
                        "how": how,
                        "ranks": ranks,
                        "steps": len(losses),
                        "to one rank": furthest(losses, first),
                        "same bits": bool((losses == first).all()),
                        "to float64": furthest(losses, exact),
                        "to float64, first 25 steps": furthest(losses[:25], exact[:25]),
                    }
                    rows.append(row)
                    print(row, flush=True)
    return rows


def speed(log: Path, batch: int) -> float:
    """Records a second, by the median step after the first ones."""
    seconds = [one["seconds"] for one in records(log) if one["kind"] == "step"][5:]
    return batch / float(np.median(seconds))


def rates(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Batches of 64 a rank: two ranks of a thread beside one rank of two threads, in turns."""
    rows = []
    for net, name in nets(arguments):
        words = [str(ROOT / "examples" / name), "--steps", str(arguments.steps), "--batch", "128"]
        words += ["--data", str(arguments.data)] if arguments.data else []
        with tempfile.TemporaryDirectory() as folder:
            found: dict[str, list[float]] = {"two ranks": [], "two threads": []}
            for turn in range(arguments.turns):
                for how, ranks, threads in (("two ranks", 2, 1), ("two threads", 1, 2)):
                    at = Path(folder) / f"{turn}{ranks}"
                    found[how].append(speed(train(ranks, at, *words, threads=threads), 128))
                time.sleep(0.1)
            two, one = (float(np.median(values)) for values in found.values())
            rows.append({"net": net, "records/s": found, "ratio": two / one})
            print(rows[-1], flush=True)
    return rows


SMALL = """net small {
    input image: f32[N, 1, 8, 8]
    input label: i32[N]
    x = image |> conv(4, 3) |> batch_norm |> relu |> linear(24) |> relu |> dropout(0.2)
    scores = x |> linear(3)
    loss nll = softmax_loss(scores, label)
}

data made = synthetic(shape: [1, 8, 8], classes: 3, batch: 16, records: 200, scale: 1/256, shuffle: true)

train small {
    from: made
    solver: adam(lr: 0.001)
    steps: 1000000
    display: every 0
    snapshot: every 7
}
"""


def kills(arguments: argparse.Namespace) -> dict[str, Any]:
    """One run on 2, 3 or 4 ranks, of which a random one is killed at a random moment, and which then goes on.

    In four parts, so that the losses must have the bits of a run of one process that nobody killed. After each kill
    every snapshot is read, with its hash.
    """
    sys.path.insert(0, str(ROOT / "tests"))
    from support.ranks import Ranks

    chance = random.Random(arguments.seed)
    counts = {"kills": 0, "of rank 0": 0, "before the first step": 0, "snapshots read": 0, "saved by the others": 0}
    with tempfile.TemporaryDirectory() as name, Ranks() as server:
        folder = Path(name)
        (folder / "small.net").write_text(SMALL)
        words = ["train", "small.net", "--folder", "run", "--threads", "1", "--parts", "4"]
        log, done = folder / "run" / "log.jsonl", 0
        for _ in range(arguments.turns):
            ranks = chance.choice((2, 4))
            victim, lines = chance.randrange(ranks), log.read_bytes().count(b"\n") if log.exists() else 0
            again = ["--resume"] if log.exists() else []
            when = (victim, int(signal.SIGKILL), lines + chance.choice((0, 1, 3, 10, 30)), chance.random() * 0.3)
            ended = server.run(ranks, folder, *words, *again, kill=when)
            if ended.codes[victim] != -signal.SIGKILL or 70 in ended.codes:
                raise SystemExit(f"rank {victim} of {ranks} was to be killed: {ended}")
            others = "".join(ended.err)
            counts["kills"] += 1
            counts["of rank 0"] += victim == 0
            counts["saved by the others"] += "go on with --resume" in others
            for path in sorted((folder / "run" / "snapshots").glob("step-*.json")):
                snapshot.read(path)
                counts["snapshots read"] += 1
            reached = len(read_log(log)) if log.exists() else 0
            counts["before the first step"] += reached == done
            done = reached
        found = read_log(log).losses
        whole = server.run(1, folder, *words, "--folder", "whole", "--steps", str(len(found)))
        if any(whole.codes):
            raise SystemExit(whole.err)
        same = bool((read_log(folder / "whole" / "log.jsonl").losses == found).all())
    print(counts, "steps", len(found), "same bits as without a kill:", same)
    if not same:
        raise SystemExit("the losses are others")
    return {**counts, "steps": len(found), "same bits": same}


SUMS = """
import os, sys, time
import numpy as np, torch, torch.distributed as ranks
torch.set_num_threads(1)
ranks.init_process_group("gloo")
a, made = np.ones((256, 256), np.float32), np.empty((256, 256), np.float32)
def middle(times):
    return sorted(times)[len(times) // 2]
tiny = torch.zeros(2, dtype=torch.float64)
def computed(values):
    # Some 20 ms of products; beside them sums of these values, one after the other, and a small one that is waited for.
    ranks.barrier()
    began = time.perf_counter()
    sent, apart = [], max(1, turns // (len(values) + 1))
    for turn in range(turns):
        if turn % apart == apart - 1 and len(sent) < len(values):
            sent.append(ranks.all_reduce(values[len(sent)], async_op=True))
        np.matmul(a, a, out=made)
    if values:
        ranks.all_reduce(tiny)
    for one in sent:
        one.wait()
    return time.perf_counter() - began
turns = 20
turns = max(20, int(turns * 0.02 / middle([computed([]) for _ in range(9)])))
for size in map(int, sys.argv[1:]):
    values, times, held = [torch.zeros(size // 4) for _ in range(3)], [], []
    for turn in range(60):
        ranks.barrier()
        began = time.perf_counter()
        ranks.all_reduce(values[0])
        times.append(time.perf_counter() - began)
    for turn in range(30):
        alone = computed([])
        held.append((computed(values) - alone) / (len(values) + 1))
    if ranks.get_rank() == 0:
        print(size, middle(times), middle(held), flush=True)
ranks.destroy_process_group()
"""
SIZES = (4096, 1 << 18, 1 << 20, 4 << 20)
ALONE = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
LEAST = 50  # steps of each process that are beside those of all others


def link_of(ranks: int, folder: Path) -> Link:
    """Latency and bandwidth of sums of so many processes, by least squares over the sizes; see `ring`.

    And by how much a sum makes products longer that all processes compute beside it.
    """
    (folder / "sums.py").write_text(SUMS)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command += [str(folder / "sums.py"), *map(str, SIZES)]
    done = subprocess.run(command, capture_output=True, text=True, env=ALONE | os.environ)
    if done.returncode:
        raise SystemExit(done.stderr)
    sizes, times, held = np.array([[*map(float, line.split())] for line in done.stdout.splitlines()]).T
    turns, shares = 2 * (ranks - 1), 2 * (ranks - 1) / ranks
    rows = np.stack([np.full(len(sizes), turns), shares * sizes], axis=1)
    # Relative errors count alike.
    latency, second = np.linalg.lstsq(rows / times[:, None], np.ones(len(sizes)), rcond=None)[0]
    overhead, work = np.linalg.lstsq(np.stack([np.ones(len(sizes)), sizes], axis=1), held, rcond=None)[0]
    least = (max(0.0, float(one)) for one in (latency, overhead, work))
    # Where processes share cores, larger sums may take no longer than small ones, as far as is seen.
    return Link(1 / max(float(second), 1e-12), *least)


def beside_each_other(processes: int, folder: Path, *words: str) -> float:
    """Seconds of a step of one process of a thread, while so many run that have nothing to do with each other.

    They do not begin at once, nor end: only steps count that were made while all of them were at work.
    """
    how = ["--threads", "1", "--display", "0"]
    commands = [
        [sys.executable, "-m", "netc", "train", *words, "--folder", str(folder / str(one)), *how]
        for one in range(processes)
    ]
    path = f"{ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    running = [subprocess.Popen(one, env=environment, stdout=subprocess.DEVNULL) for one in commands]
    ended = [one.wait() for one in running]  # all of them
    if any(ended):
        raise SystemExit("a run failed")
    # The first block's, where a file has several.
    logs = [min((folder / str(process)).rglob("log.jsonl")) for process in range(processes)]
    steps = [[(one["time"], one["seconds"]) for one in records(log) if one["kind"] == "step"] for log in logs]
    start, stop = max(one[5][0] for one in steps), min(one[-1][0] for one in steps)
    common = [[seconds for when, seconds in one if start < when <= stop] for one in steps]
    if min(map(len, common)) < LEAST:
        raise SystemExit(f"{[*map(len, common)]} steps of the processes are beside each other: ask for more by --steps")
    return float(np.median([np.median(one) for one in common]))


def seconds_of(log: Path) -> float:
    """Seconds of a step, by the middle half of a run, where all processes are at work."""
    seconds = [one["seconds"] for one in records(log) if one["kind"] == "step"]
    return float(np.median(seconds[len(seconds) // 4 : 3 * len(seconds) // 4]))


def scale(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Steps of 2 and 4 ranks, measured and predicted: from a step beside as many others, and the sums alone.

    Where there are fewer cores than ranks times two, sums take the processor from the steps, and hide behind nothing:
    `in turn` is the prediction for that.
    """
    rows = []
    for net, name in nets(arguments):
        file = ROOT / "examples" / name
        words = [str(file), "--steps", str(arguments.steps)]
        words += ["--data", str(arguments.data)] if arguments.data else []
        words += ["--target", arguments.target] if arguments.target else []
        want = {"target": arguments.target} if arguments.target else {}
        dims = {"N": arguments.batch}
        cost = cost_of(compilation(file, request(mode="train", update=None, threads=1, dims=dims, ranks=2, **want)))
        for ranks in arguments.ranks:
            with tempfile.TemporaryDirectory() as folder:
                at = Path(folder)
                link = link_of(ranks, at)
                alone = beside_each_other(ranks, at, *words, "--batch", str(arguments.batch))
                log = train(ranks, at / "ranks", *words, "--batch", str(arguments.batch * ranks))
                measured = seconds_of(log)
            found = predicted(cost.scaled(alone), ranks, link)
            row = {
                "net": net,
                "target": arguments.target or "chosen",
                "batch": arguments.batch,
                "ranks": ranks,
                "bandwidth": link.bandwidth,
                "latency": link.latency,
                "overhead": link.overhead,
                "work": link.work,
                "step alone, ms": 1e3 * alone,
                "measured, ms": 1e3 * measured,
                "predicted, ms": 1e3 * found.seconds,
                "predicted in turn, ms": 1e3 * (alone + found.sums),
                "predicted / measured": found.seconds / measured,
                "in turn / measured": (alone + found.sums) / measured,
            }
            rows.append(row)
            print(row, flush=True)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["equal", "rate", "kills", "scale"])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--net", choices=[name.removesuffix(".net") for name in NETS.values()])
    parser.add_argument("--target", choices=["c", "numpy"], help="scale: in place of what netc chooses")
    parser.add_argument("--batch", type=int, default=64, help="scale: of a rank")
    parser.add_argument("--ranks", type=int, nargs="+", default=[2, 4], help="scale: how many")
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--save", type=Path)
    arguments = parser.parse_args()
    results = {"equal": equal, "rate": rates, "kills": kills, "scale": scale}[arguments.what](arguments)
    if arguments.save:
        save(arguments.save, results)


if __name__ == "__main__":
    main()
