"""A target of netc beside PyTorch eager and ONNX Runtime on the CPU: the same nets, batch and threads.

    python benchmarks/peers.py [--target c] [--threads 2] [--rounds 12] [--only lenet-train] [--save results/peers.json]

Each peer is a process that stays warm and times some steps when told to; rounds alternate between the peers, so that
other work on the machine meets all of them. Reported: the median and the least time of each, and the median of the
ratios of neighbouring rounds; with one thread the processor's time, which other work disturbs less than a clock. Needs
torch and onnxruntime (the extra `test`). ONNX Runtime runs the model that netc exports, and does not train.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# name -> net, mode, batch, target ratio
CASES = {
    "lenet-test": ("lenet", "test", 64, 1.2),
    "lenet-train": ("lenet", "train", 64, 1.5),
    "cifar10_full-test": ("cifar10_full", "test", 64, 1.5),
    "cifar10_full-train": ("cifar10_full", "train", 64, None),
    "caffenet-test": ("caffenet", "test", 8, None),
    "caffenet-train": ("caffenet", "train", 16, None),
    "googlenet-test": ("googlenet", "test", 8, None),
    "googlenet-train": ("googlenet", "train", 8, None),
}
USUAL = [name for name in CASES if CASES[name][0] in ("lenet", "cifar10_full")]
PEERS = ("netc", "torch", "onnx")
# What a worker runs in one round, in seconds.
ROUND = 0.35


def netc_step(
    net: str, mode: str, threads: int, batch: int, fused: bool = True, target: str = "numpy"
) -> Callable[[], Any]:
    """A call that runs one step of an example."""
    import numpy as np

    from netc.driver import compilation
    from netc.report.profiling import made_up_feeds
    from netc.runtime.state import State

    outputs = ["prob"] if mode == "test" else None
    how = {"threads": threads, "outputs": outputs, "fused": fused, "target": target}
    made = compilation(ROOT / "examples" / f"{net}.net", mode=mode, dims={"N": batch}, **how)
    state = State(made.state)
    state.fill(0)
    step = made.executables(state)[-1]
    feeds = dict(made_up_feeds(made.program.inputs))
    if ".rate" in feeds:
        feeds[".rate"] = np.float32(1e-3)
    return lambda: step.run(feeds)


def torch_step(net: str, mode: str, threads: int, batch: int) -> Callable[[], Any]:
    """The same step in PyTorch: modules, cross entropy, SGD with momentum and weight decay."""
    import torch
    import torch_nets

    torch.set_num_threads(threads)
    of = torch_nets.NETS[net]
    model = of.module(train=mode == "train")
    x, label = torch.rand(batch, *of.shape), torch.randint(0, of.classes, (batch,))
    if mode == "test":
        model.eval()

        def forward() -> Any:
            with torch.no_grad():
                return torch_nets.probabilities(model, x)

        return forward
    solver = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=of.decay)

    def step() -> Any:
        solver.zero_grad(set_to_none=True)
        loss = torch_nets.losses(of, model, x, label)
        loss.backward()
        solver.step()
        return loss.item()

    return step


def onnx_step(net: str, threads: int, batch: int) -> Callable[[], Any]:
    """The forward pass in ONNX Runtime, of the model that netc exports."""
    import numpy as np
    import onnxruntime

    from netc.onnx.exporting import export, model_of, save
    from netc.request import request

    want = request(outputs=["prob"], dims={"N": batch})
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "net.onnx"
        save(model_of(export(ROOT / "examples" / f"{net}.net", want, untrained=True)), path)
        session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(0)
    feeds = {one.name: rng.random([batch, *one.shape[1:]], np.float32) for one in session.get_inputs()}
    return lambda: session.run(None, feeds)


def worker(peer: str, name: str, threads: int, target: str) -> None:
    """Answer each line on stdin with the milliseconds of the steps of one round."""
    net, mode, batch, _ = CASES[name]
    if peer == "netc":
        step = netc_step(net, mode, threads, batch, target=target)
    else:
        step = torch_step(net, mode, threads, batch) if peer == "torch" else onnx_step(net, threads, batch)
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


def compare(name: str, threads: int, rounds: int, asked: str) -> dict[str, Any]:
    """One case: the peers in turns."""
    _, mode, batch, target = CASES[name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    peers = {}
    for peer in PEERS if mode == "test" else PEERS[:2]:
        command = [sys.executable, __file__, "--worker", peer, name, "--threads", str(threads), "--target", asked]
        peers[peer] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment, cwd=ROOT
        )
    times: dict[str, list[list[float]]] = {peer: [] for peer in peers}
    for process in peers.values():
        assert process.stdout is not None
        process.stdout.readline()
    for i in range(rounds):
        for peer in peers if i % 2 == 0 else reversed(peers):
            process = peers[peer]
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write("go\n")
            process.stdin.flush()
            times[peer].append(json.loads(process.stdout.readline()))
    for process in peers.values():
        process.communicate()
    medians = {peer: [statistics.median(r) for r in found] for peer, found in times.items()}
    found: dict[str, Any] = {"case": name, "batch": batch, "threads": threads, "of": asked, "target": target}
    for peer in peers:
        found |= {f"{peer}_ms": statistics.median(medians[peer]), f"{peer}_least_ms": min(map(min, times[peer]))}
    for peer in [*peers][1:]:
        ratios = sorted(a / b for a, b in zip(medians["netc"], medians[peer], strict=True))
        prefix = "" if peer == "torch" else f"{peer}_"
        found[f"{prefix}ratio"] = statistics.median(ratios)
        found[f"{prefix}ratio_quartiles"] = [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]]
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="numpy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", choices=[*CASES], action="append")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--worker", nargs=2, metavar=("PEER", "CASE"))
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker, threads=given.threads, target=given.target)
        return
    found = []
    for name in given.only or USUAL:
        result = compare(name, given.threads, given.rounds, given.target)
        found.append(result)
        print(f"{name:20s} {told(result)}", flush=True)
    if given.save:
        from setting import save  # not at the top: it imports netc, which a worker of torch must not load

        save(given.save, found)


def told(result: dict[str, Any]) -> str:
    """A line about a case."""
    parts = [f"netc {result['netc_ms']:7.2f} ({result['netc_least_ms']:.2f}) ms"]
    for peer, prefix in (("torch", ""), ("onnx", "onnx_")):
        if f"{peer}_ms" in result:
            low, high = result[f"{prefix}ratio_quartiles"]
            times = f"{peer} {result[f'{peer}_ms']:7.2f} ({result[f'{peer}_least_ms']:.2f}) ms"
            parts.append(f"{times}, ratio {result[f'{prefix}ratio']:.2f} [{low:.2f}, {high:.2f}]")
    return "   ".join([*parts, f"target {result['target']}"])


if __name__ == "__main__":
    main()
