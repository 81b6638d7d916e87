"""A target of netc beside PyTorch eager on the CPU: the same nets, batch and threads, in processes of their own.

    python benchmarks/peers.py [--target c] [--threads 2] [--rounds 12] [--only lenet-train] [--save results/peers.json]

Each peer is a process that stays warm and times some steps when told to; rounds alternate between the peers, so that
other work on the machine meets both. Reported: the median and the least time of each, and the median of the ratios of
neighbouring rounds. Needs torch (the extra `test`).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
BATCH = 64
# name -> net, mode, target ratio
CASES = {
    "lenet-test": ("lenet", "test", 1.2),
    "lenet-train": ("lenet", "train", 1.5),
    "cifar10_full-test": ("cifar10_full", "test", 1.5),
    "cifar10_full-train": ("cifar10_full", "train", None),
}
# What a worker runs in one round, in seconds.
ROUND = 0.35


def netc_step(net: str, mode: str, threads: int, fused: bool = True, target: str = "numpy") -> Callable[[], Any]:
    """A call that runs one step of an example."""
    import numpy as np

    from netc.driver import compilation
    from netc.report.profiling import made_up_feeds
    from netc.runtime.state import State

    outputs = ["prob"] if mode == "test" else None
    how = {"threads": threads, "outputs": outputs, "fused": fused, "target": target}
    made = compilation(ROOT / "examples" / f"{net}.net", mode=mode, dims={"N": BATCH}, **how)
    state = State(made.state)
    state.fill(0)
    step = made.executables(state)[-1]
    feeds = dict(made_up_feeds(made.program.inputs))
    if ".rate" in feeds:
        feeds[".rate"] = np.float32(1e-3)
    return lambda: step.run(feeds)


def torch_step(net: str, mode: str, threads: int) -> Callable[[], Any]:
    """The same step in PyTorch: modules, cross entropy, SGD with momentum and weight decay."""
    import torch
    from torch import nn
    from torch.nn import functional

    torch.set_num_threads(threads)
    if net == "lenet":
        pool = nn.MaxPool2d(2, 2, ceil_mode=True)
        layers = [
            nn.Conv2d(1, 20, 5),
            pool,
            nn.Conv2d(20, 50, 5),
            pool,
            nn.Flatten(),
            nn.Linear(800, 500),
            nn.ReLU(),
            nn.Linear(500, 10),
        ]
        x = torch.rand(BATCH, 1, 28, 28)
    else:
        norm = [_Within(3, 5e-5, 0.75) for _ in range(2)]
        average = nn.AvgPool2d(3, 2, ceil_mode=True)
        layers = [
            nn.Conv2d(3, 32, 5, padding=2),
            nn.MaxPool2d(3, 2, ceil_mode=True),
            nn.ReLU(),
            norm[0],
            nn.Conv2d(32, 32, 5, padding=2),
            nn.ReLU(),
            average,
            norm[1],
            nn.Conv2d(32, 64, 5, padding=2),
            nn.ReLU(),
            average,
            nn.Flatten(),
            nn.Linear(1024, 10),
        ]
        x = torch.rand(BATCH, 3, 32, 32)
    model = nn.Sequential(*layers)
    label = torch.randint(0, 10, (BATCH,))
    if mode == "test":
        model.eval()

        def forward() -> Any:
            with torch.no_grad():
                return functional.softmax(model(x), 1)

        return forward
    solver = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step() -> Any:
        solver.zero_grad(set_to_none=True)
        loss = functional.cross_entropy(model(x), label)
        loss.backward()
        solver.step()
        return loss.item()

    return step


def _Within(size: int, alpha: float, beta: float) -> Any:
    """Caffe's LRN over a square of space, as PyTorch's ops."""
    import torch
    from torch import nn
    from torch.nn import functional

    class Within(nn.Module):  # type: ignore[misc]
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = functional.avg_pool2d(x * x, size, 1, size // 2)
            return x * (1 + alpha * mean) ** -beta

    return Within()


def worker(peer: str, net: str, mode: str, threads: int, target: str) -> None:
    """Answer each line on stdin with the milliseconds of the steps of one round."""
    step = netc_step(net, mode, threads, target=target) if peer == "netc" else torch_step(net, mode, threads)
    for _ in range(3):
        step()
    print("ready", flush=True)
    for _ in sys.stdin:
        step()
        times, end = [], time.perf_counter() + ROUND
        while time.perf_counter() < end or len(times) < 3:
            start = time.perf_counter()
            step()
            times.append(1e3 * (time.perf_counter() - start))
        print(json.dumps(times), flush=True)


def compare(name: str, threads: int, rounds: int, asked: str) -> dict[str, Any]:
    """One case: both peers in turns."""
    net, mode, target = CASES[name]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "OPENBLAS_NUM_THREADS": str(threads)}
    peers = {}
    for peer in ("netc", "torch"):
        command = [sys.executable, __file__, "--worker", peer, net, mode, "--threads", str(threads), "--target", asked]
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
    ratios = sorted(a / b for a, b in zip(medians["netc"], medians["torch"], strict=True))
    return {
        "case": name,
        "threads": threads,
        "of": asked,
        "netc_ms": statistics.median(medians["netc"]),
        "netc_least_ms": min(min(r) for r in times["netc"]),
        "torch_ms": statistics.median(medians["torch"]),
        "torch_least_ms": min(min(r) for r in times["torch"]),
        "ratio": statistics.median(ratios),
        "ratio_quartiles": [ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]],
        "target": target,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--target", default="numpy")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", choices=[*CASES], action="append")
    parser.add_argument("--save", type=Path)
    parser.add_argument("--worker", nargs=3, metavar=("PEER", "NET", "MODE"))
    given = parser.parse_args()
    if given.worker:
        worker(*given.worker, threads=given.threads, target=given.target)
        return
    found = []
    for name in given.only or CASES:
        result = compare(name, given.threads, given.rounds, given.target)
        found.append(result)
        print(
            f"{name:20s} netc {result['netc_ms']:7.2f} ({result['netc_least_ms']:.2f}) ms   "
            f"torch {result['torch_ms']:7.2f} ({result['torch_least_ms']:.2f}) ms   ratio {result['ratio']:.2f} "
            f"[{result['ratio_quartiles'][0]:.2f}, {result['ratio_quartiles'][1]:.2f}]   target {result['target']}",
            flush=True,
        )
    if given.save:
        from setting import save  # not at the top: it imports netc, which a worker of torch must not load

        save(given.save, found)


if __name__ == "__main__":
    main()
