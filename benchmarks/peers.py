"""A target of netc beside others on the CPU: the same nets, batch and threads, in turns.

    python benchmarks/peers.py [--target c] [--threads 1 2] [--rounds 12] [--only lenet-train-64] [--save FILE]

The peers are PyTorch, eager and by `torch.compile`, and of a forward pass ONNX Runtime and OpenVINO, which run the
model that netc exports; one that is not installed is left out (the extra `peers` has all). Each is a process that stays
warm and times some steps when told to; rounds alternate between the peers, so that other work on the machine meets all
of them. Reported: the median and the least time of each, the most memory its process held, and the speed beside the
fastest peer, as the median of the ratios of neighbouring rounds. With one thread a time is the processor's, which other
work disturbs less than a clock.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FILES = {
    "mobilenet": ROOT / "examples/imagenet/mobilenet.net",
    "squeezenet": ROOT / "benchmarks/squeezenet.net",
}


@dataclass(frozen=True)
class Case:
    """One step. asked: how many times the speed of the fastest peer the target c is to have."""

    net: str
    mode: str
    batch: int
    asked: float

    def __str__(self) -> str:
        return f"{self.net}-{self.mode}-{self.batch}"


CASES = {
    str(case): case
    for case in (
        *(Case("lenet", "test", batch, 1.0) for batch in (1, 64)),
        *(Case("cifar10_full", "test", batch, 1.5) for batch in (1, 64)),
        *(Case(net, "test", 1, 1.1) for net in ("caffenet", "googlenet", "squeezenet", "resnet18", "mobilenet")),
        *(Case(net, "test", 8, asked) for net, asked in (("caffenet", 1.15), ("googlenet", 1.15), ("resnet18", 1.4))),
        *(Case(net, "test", 8, 1.0) for net in ("squeezenet", "mobilenet")),
        Case("lenet", "train", 64, 1.5),
        *(Case(net, "train", 64, 1.8) for net in ("cifar10_quick", "cifar10_full")),
        *(Case(net, "train", 16, 1.6) for net in ("caffenet", "resnet18")),
    )
}
USUAL = [name for name, case in CASES.items() if case.net in ("lenet", "cifar10_full") and case.batch == 64]
# By the module that each needs; the first is netc.
PEERS = {"netc": "netc", "torch": "torch", "compile": "torch", "onnx": "onnxruntime", "openvino": "openvino"}
LEARNS = ("netc", "torch", "compile")
# What a worker runs in one round, in seconds.
ROUND = 0.35


def file_of(net: str) -> Path:
    """The text of a net."""
    return FILES.get(net, ROOT / "examples" / f"{net}.net")


def netc_executable(net: str, mode: str, threads: int, batch: int, target: str) -> tuple[Any, dict[str, Any]]:
    """One step of an example, and made-up inputs for it."""
    import numpy as np

    from netc.driver import compilation
    from netc.report.profiling import made_up_feeds
    from netc.runtime.state import State

    outputs = ["prob"] if mode == "test" else None
    how = {"threads": threads, "outputs": outputs, "target": target}
    made = compilation(file_of(net), mode=mode, dims={"N": batch}, **how)
    state = State(made.state)
    state.fill(0)
    for info in made.layout:
        if info.kind == "statistic":  # they begin at 0, by which nothing can be divided
            state[info.name] = np.ones(info.type.shape, np.float32)
    step = made.executables(state)[-1]
    feeds = dict(made_up_feeds(made.program.inputs))
    if ".rate" in feeds:
        feeds[".rate"] = np.float32(1e-3)
    return step, feeds


def netc_step(net: str, mode: str, threads: int, batch: int, target: str) -> Callable[[], Any]:
    """The same as a call."""
    step, feeds = netc_executable(net, mode, threads, batch, target)
    return lambda: step.run(feeds)


def torch_step(net: str, mode: str, threads: int, batch: int, compiled: bool = False) -> Callable[[], Any]:
    """The same step in PyTorch: modules, cross entropy, SGD with momentum and weight decay."""
    import torch
    import torch_nets

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    of = torch_nets.NETS[net]
    model = of.module(train=mode == "train")
    x, label = torch.rand(batch, *of.shape), torch.randint(0, of.classes, (batch,))
    if mode == "test":
        model.eval()
        probabilities = torch.compile(torch_nets.probabilities) if compiled else torch_nets.probabilities

        def forward() -> Any:
            with torch.no_grad():
                return probabilities(model, x)

        return forward
    solver = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=of.decay)
    losses = torch.compile(torch_nets.losses) if compiled else torch_nets.losses

    def step() -> Any:
        solver.zero_grad(set_to_none=True)
        loss = losses(of, model, x, label)
        loss.backward()
        solver.step()
        return loss.item()

    return step


def exported(net: str, batch: int, folder: Path) -> Path:
    """The forward pass as netc writes it for ONNX."""
    from netc.onnx.exporting import export, model_of, save
    from netc.request import request

    want = request(outputs=["prob"], dims={"N": batch})
    path = folder / "net.onnx"
    save(model_of(export(file_of(net), want, untrained=True)), path)
    return path


def onnx_step(net: str, threads: int, batch: int) -> Callable[[], Any]:
    """The forward pass in ONNX Runtime."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = exported(net, batch, Path(folder))
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {one.name: rng.random([batch, *one.shape[1:]], np.float32) for one in session.get_inputs()}
    return lambda: session.run(None, feeds)


def openvino_step(net: str, threads: int, batch: int) -> Callable[[], Any]:
    """The forward pass in OpenVINO, in float32."""
    import numpy as np
    import openvino

    how = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    core = openvino.Core()
    with tempfile.TemporaryDirectory() as folder:
        model = core.read_model(exported(net, batch, Path(folder)))
        model.reshape([batch, *list(model.inputs[0].partial_shape)[1:]])
        infer = core.compile_model(model, "CPU", how).create_infer_request()
    rng = np.random.default_rng(0)
    feeds = [rng.random(tuple(one.shape), np.float32) for one in model.inputs]
    return lambda: infer.infer(feeds)


def most_memory() -> int:
    """Of this process so far, in bytes."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def worker(peer: str, name: str, threads: int, target: str) -> None:
    """Answer each line on stdin with the milliseconds of the steps of one round, and at last with the memory held."""
    case = CASES[name]
    __import__(PEERS[peer])
    bare = most_memory()
    if peer == "netc":
        step = netc_step(case.net, case.mode, threads, case.batch, target)
    elif peer in ("torch", "compile"):
        step = torch_step(case.net, case.mode, threads, case.batch, compiled=peer == "compile")
    else:
        step = (onnx_step if peer == "onnx" else openvino_step)(case.net, threads, case.batch)
    clock = time.process_time if threads == 1 else time.perf_counter
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        step()
        times, end = [], time.perf_counter() + ROUND
        while time.perf_counter() < end or len(times) < 3:
            start = clock()
            step()
            times.append(1e3 * (clock() - start))
        print(json.dumps(times), flush=True)
    print(json.dumps([bare, most_memory()]), flush=True)


def compare(name: str, threads: int, rounds: int, target: str, chosen: Sequence[str]) -> dict[str, Any]:
    """One case: the peers in turns."""
    case = CASES[name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    peers = {}
    for peer in chosen if case.mode == "test" else [peer for peer in chosen if peer in LEARNS]:
        command = [sys.executable, __file__, "--worker", peer, name, "--threads", str(threads), "--target", target]
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit(f"{name}: {peer} does not run")
        peers[peer] = process
    times: dict[str, list[list[float]]] = {peer: [] for peer in peers}
    for i in range(rounds):
        for peer in peers if i % 2 == 0 else reversed(peers):
            process = peers[peer]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            times[peer].append(json.loads(process.stdout.readline()))
    memory = {peer: json.loads(process.communicate()[0]) for peer, process in peers.items()}
    return row_of(case, threads, target, times, memory)


def row_of(
    case: Case,
    threads: int,
    target: str,
    times: dict[str, list[list[float]]],
    memory: dict[str, list[int]],
) -> dict[str, Any]:
    """What is kept of a case. times: milliseconds by peer and round; memory: bytes, before and at most."""
    medians = {peer: [statistics.median(one) for one in rounds] for peer, rounds in times.items()}
    others = [peer for peer in times if peer != "netc"]
    fastest = min(others, key=lambda peer: statistics.median(medians[peer]))
    speeds = {
        peer: sorted(theirs / ours for theirs, ours in zip(medians[peer], medians["netc"], strict=True))
        for peer in others
    }
    return {
        "case": str(case),
        "threads": threads,
        "target": target,
        "asked": case.asked,
        "ms": {peer: statistics.median(found) for peer, found in medians.items()},
        "least_ms": {peer: min(map(min, found)) for peer, found in times.items()},
        "fastest": fastest,
        "speed": {peer: statistics.median(found) for peer, found in speeds.items()},
        "speed_quartiles": {peer: [f[len(f) // 4], f[-1 - len(f) // 4]] for peer, f in speeds.items()},
        "bytes_imported": {peer: found[0] for peer, found in memory.items()},
        "bytes_most": {peer: found[1] for peer, found in memory.items()},
    }


def told(row: dict[str, Any]) -> str:
    """A line about a case."""
    parts = [f"{peer} {ms:.2f} ({row['least_ms'][peer]:.2f}) ms" for peer, ms in row["ms"].items()]
    low, high = row["speed_quartiles"][row["fastest"]]
    speed = f"{row['speed'][row['fastest']]:.2f} [{low:.2f}, {high:.2f}] of the fastest's speed"
    return "   ".join([*parts, f"{speed}, asked {row['asked']}"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="numpy")
    parser.add_argument("--threads", type=int, nargs="+", default=[2])
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", choices=[*CASES, "all"], action="append")
    parser.add_argument("--peers", default=",".join(PEERS), help="some of %(default)s; netc is always one")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--worker", nargs=2, metavar=("PEER", "CASE"))
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker, threads=given.threads[0], target=given.target)
        return
    wanted = {"netc", *given.peers.split(",")}
    chosen = [peer for peer, module in PEERS.items() if peer in wanted and (peer == "netc" or find_spec(module))]
    if len(chosen) == 1:
        parser.error(f"no peer of {given.peers} is installed: pip install 'netc[peers]'")
    rows: list[dict[str, Any]] = []
    names = USUAL if not given.only else CASES if "all" in given.only else given.only
    for name, threads in [(name, threads) for name in names for threads in given.threads]:
        rows.append(compare(name, threads, given.rounds, given.target, chosen))
        print(f"{name:20s} threads {threads}   {told(rows[-1])}", flush=True)
        if given.save:
            from setting import save  # not at the top: it imports netc, which a worker of torch must not load

            save(given.save, rows)


if __name__ == "__main__":
    main()
