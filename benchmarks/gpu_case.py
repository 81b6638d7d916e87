"""One case of `gpu.py`, in a process of its own: netc, PyTorch eager and `torch.compile` in turns on one GPU.

    python3 benchmarks/gpu_case.py caffenet-train-bf16 [--rounds 11]
    python3 benchmarks/gpu_case.py ceilings

Prints lines of JSON, each with all that is known by then: the last one counts, whatever ends the process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "build" / "packages")]

CHECKED_RATE, RATE = 0.1, 1e-4  # of the step that is compared, and of those that are timed
BURST = 0.03  # seconds of a turn
MOST = 400  # calls of a turn

Step = Callable[[int], float]  # runs so many calls, gives the milliseconds of one


def turns(steps: Mapping[str, Step], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of each peer in each round; who begins goes round, so that all meet the same clocks and heat."""
    counts = {name: max(3, min(MOST, int(1e3 * BURST / max(step(3), 1e-3)))) for name, step in steps.items()}
    found: dict[str, list[float]] = {name: [] for name in steps}
    names = [*steps]
    for i in range(rounds):
        for name in names[i % len(names) :] + names[: i % len(names)]:
            found[name].append(steps[name](counts[name]))
    return found


def summary(found: Mapping[str, Sequence[float]]) -> dict[str, Any]:
    """Medians, and how many times netc is as fast as each peer: the median of the rounds' ratios with quartiles."""
    result: dict[str, Any] = {"rounds": len(found["netc"])}
    for name, times in found.items():
        result[f"{name}_ms"] = round(statistics.median(times), 5)
        result[f"{name}_least_ms"] = round(min(times), 5)
        if name != "netc":
            ratios = sorted(a / b for a, b in zip(times, found["netc"], strict=True))
            result[f"{name}_over_netc"] = round(statistics.median(ratios), 4)
            quartiles = ratios[len(ratios) // 4], ratios[-1 - len(ratios) // 4]
            result[f"{name}_over_netc_quartiles"] = [round(r, 4) for r in quartiles]
    return result


def roofline(launches: Sequence[Any], least: int, ceilings: Mapping[str, float], precision: str) -> dict[str, float]:
    """Milliseconds below which nothing goes: of the whole program, and of its kernels one by one.

    The program's: its operations at the measured rate of a large product, or the bytes of inputs, state and outputs,
    each once. The kernels': the same of each launch with the bytes that it reads and writes, in sum.
    """
    rate, bandwidth = ceilings[f"{precision}_flops"], ceilings["bytes"]
    flops = sum(launch.flops for launch in launches)
    kernels = sum(max(launch.flops / rate, launch.bytes / bandwidth) for launch in launches)
    return {"roofline_ms": 1e3 * max(flops / rate, least / bandwidth), "kernel_roofline_ms": 1e3 * kernels}


class Case:
    """netc's program and PyTorch's module of one case, with equal weights."""

    def __init__(self, name: str) -> None:
        import numpy as np
        import torch
        import torch_nets

        self.name = name
        self.net_name, self.mode, self.precision = name.rsplit("-", 2)
        self.net = torch_nets.NETS[self.net_name]
        self.train = self.mode == "train"
        self.torch, self.nets, self.np = torch, torch_nets, np
        torch.backends.cuda.matmul.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        torch.backends.cudnn.benchmark = True
        rng = np.random.default_rng(11)
        self.image = rng.standard_normal((self.net.batch, *self.net.shape)).astype(np.float32)
        self.label = rng.integers(0, self.net.classes, self.net.batch).astype(np.int32)
        self.values: dict[str, Any] = {}
        self.multipliers: list[tuple[float, float]] = []
        self.result: dict[str, Any] = {"net": self.net_name, "mode": self.mode, "precision": self.precision}
        self.result |= {"batch": self.net.batch}

    def say(self, **known: Any) -> None:
        """Tell what is known by now."""
        self.result |= known
        print(json.dumps(self.result), flush=True)

    # netc.

    def compile_netc(self) -> None:
        from netc.driver import compilation
        from netc.numbers import numbers

        np, train = self.np, self.train
        start = time.perf_counter()
        wish = numbers("bf16" if self.precision == "bf16" else "f32", tf32=self.precision == "tf32", target="triton")
        made = compilation(
            ROOT / "examples" / f"{self.net_name}.net",
            mode="train" if train else "test",
            dims={"N": self.net.batch},
            outputs=None if train else ["prob"],
            target="triton",
            device="cuda",
            numbers=wish,
        )
        state = made.new_state(0)
        rng = np.random.default_rng(12)
        for info in made.layout:
            if info.kind == "parameter":
                shape = tuple(map(int, info.type.shape))
                scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
                self.values[info.name] = (scale * rng.standard_normal(shape)).astype(np.float32)
                state[info.name] = self.values[info.name]
                self.multipliers.append((info.lr, info.decay))
        self.state = state
        self.executable = made.executables(state)[0]
        self.feeds: dict[str, Any] = {"image": self.image}
        if train:
            self.feeds |= {"label": self.label, ".rate": np.float32(CHECKED_RATE)}
        self.outputs = self.executable.run(self.feeds)
        program = self.executable.program
        tables = (program.inputs, program.outputs, program.state)
        self.least = sum(t.nbytes for table in tables for t in table.values())
        self.least += sum(program.state[name].nbytes for name in program.updates)
        self.launches = [launch for launch in program.launches if launch.phase == "step"]
        self.say(
            netc_compile_s=round(time.perf_counter() - start, 2),
            netc_bytes=program.arena_bytes + sum(t.nbytes for t in (*program.inputs.values(), *program.state.values())),
            launches=len(self.launches),
            flops=sum(launch.flops for launch in self.launches),
            kernel_bytes=sum(launch.bytes for launch in self.launches),
            least_bytes=self.least,
        )

    def netc_step(self, times: int) -> float:
        return 1e3 * self.executable.seconds(self.feeds, times)

    # PyTorch.

    def model(self) -> Any:
        """The module with netc's parameters, on the GPU."""
        found = self.net.make()
        self.nets.load(found, [*self.values.values()])
        return found.cuda().train(self.train)

    def torch_step(self, model: Any, *, compiled: bool, channels_last: bool) -> Callable[[], Any]:
        """A call of a forward pass, or of a training step with its update, as one would write it."""
        torch, half = self.torch, self.precision == "bf16"
        layout = torch.channels_last if channels_last else torch.contiguous_format
        model = model.to(memory_format=layout)
        x = torch.from_numpy(self.image).cuda().to(memory_format=layout)
        label = torch.from_numpy(self.label).cuda().long()
        options = {"mode": "max-autotune"}
        if not self.train:
            model = model.bfloat16() if half else model
            x = x.bfloat16() if half else x

            def probabilities(x: Any) -> Any:
                return self.nets.probabilities(model, x)

            forward = torch.compile(probabilities, **options) if compiled else probabilities

            def run() -> Any:
                with torch.no_grad():
                    return forward(x)

            return run

        def losses(x: Any, label: Any) -> Any:
            with torch.autocast("cuda", torch.bfloat16, enabled=half):
                return self.nets.losses(self.net, model, x, label)

        loss_of = torch.compile(losses, **options) if compiled else losses
        solver = self.nets.solver(self.net, model, self.multipliers, RATE)

        def step() -> Any:
            solver.zero_grad(set_to_none=True)
            loss = loss_of(x, label)
            loss.backward()
            solver.step()
            return loss

        return step

    def timed(self, call: Callable[[], Any]) -> Step:
        """Milliseconds of a call by the GPU's clock."""
        cuda = self.torch.cuda

        def step(times: int) -> float:
            first, last = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
            first.record()
            for _ in range(times):
                call()
            last.record()
            last.synchronize()
            return float(first.elapsed_time(last)) / times

        return step

    def eager(self) -> Step:
        """Eager PyTorch in the layout that is quicker; memory and what it computes are told."""
        torch = self.torch
        found: dict[bool, tuple[float, Step, int]] = {}
        for channels_last in (False, True):
            torch.cuda.empty_cache()
            before = torch.cuda.memory_allocated()
            torch.cuda.reset_peak_memory_stats()
            step = self.timed(self.torch_step(self.model(), compiled=False, channels_last=channels_last))
            step(5)
            found[channels_last] = min(step(5), step(5)), step, torch.cuda.max_memory_allocated() - before
        self.channels_last = found[True][0] < found[False][0]
        self.say(
            eager_layouts_ms={"NCHW": round(found[False][0], 4), "NHWC": round(found[True][0], 4)},
            eager_bytes=found[self.channels_last][2],
        )
        return found[self.channels_last][1]

    def compiled(self) -> Step:
        """`torch.compile(mode="max-autotune")`, which brings its own CUDA graphs; compiled and warm."""
        start = time.perf_counter()
        call = self.torch_step(self.model(), compiled=True, channels_last=self.channels_last)
        step = self.timed(call)
        for _ in range(4):  # compiles, records, replays
            step(1)
        self.say(compile_s=round(time.perf_counter() - start, 1))
        return step

    # Right?

    def check(self) -> None:
        """Compare netc's outputs with those of eager PyTorch in f32 with the same weights."""
        np, torch = self.np, self.torch
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        model = self.model().eval()
        x = torch.from_numpy(self.image).cuda()
        if not self.train:
            with torch.no_grad():
                expected = self.nets.probabilities(model, x).cpu().numpy().astype(np.float64)
            self.say(error=_error(np, self.outputs["prob"], expected))
        else:
            label = torch.from_numpy(self.label).cuda().long()
            if self.net.drops:
                self.say(finite=bool(all(np.isfinite(v).all() for v in self.outputs.values())))
            else:
                solver = self.nets.solver(self.net, model, self.multipliers, CHECKED_RATE)
                loss = self.nets.losses(self.net, model, x, label)
                loss.backward()
                solver.step()
                ours = np.concatenate([(self.state[n] - v).ravel() for n, v in self.values.items()])
                learned = [p.detach().cpu().numpy() for p in model.parameters()]
                theirs = [p - v for p, v in zip(learned, self.values.values(), strict=True)]
                self.say(
                    loss_error=_error(np, self.outputs["nll"], np.float64(loss.item())),
                    error=_error(np, ours, np.concatenate([t.ravel() for t in theirs])),
                )
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"

    def run(self, rounds: int, ceilings: Mapping[str, float]) -> None:
        """Everything, told bit by bit; what fails becomes an entry and does not end the rest."""
        steps: dict[str, Step] = {}
        self._try("netc", self.compile_netc)
        if "netc_error" not in self.result:
            self._try("check", self.check)
            steps["netc"] = self.netc_step
            if self.train:
                self.feeds[".rate"] = self.np.float32(RATE)
                for name, value in self.values.items():
                    self.state[name] = value
        if not self.values:  # netc did not come so far: PyTorch has nothing to be compared with
            return
        for name, make in (("eager", self.eager), ("compile", self.compiled)):
            self._try(name, partial(self._add, steps, name, make))
            if "netc" in steps and name in steps:
                self._try("timing", partial(self._measure, steps, rounds, ceilings))

    @staticmethod
    def _add(steps: dict[str, Step], name: str, make: Callable[[], Step]) -> None:
        steps[name] = make()

    def _measure(self, steps: Mapping[str, Step], rounds: int, ceilings: Mapping[str, float]) -> None:
        found = summary(turns(steps, rounds))
        bounds = roofline(self.launches, self.least, ceilings, self.precision) if ceilings else {}
        ms = found["netc_ms"]
        rates = {f"{name}_images_per_s": round(1e3 * self.net.batch / found[f"{name}_ms"]) for name in steps}
        shares = {name.replace("_ms", "_fraction"): round(bound / ms, 4) for name, bound in bounds.items()}
        self.say(**found, **rates, **{k: round(v, 5) for k, v in bounds.items()}, **shares)

    def _try(self, name: str, work: Callable[[], Any]) -> None:
        try:
            work()
        except Exception as error:  # of whatever kind: it is told, and the rest goes on
            traceback.print_exc()
            self.say(**{f"{name}_error": f"{type(error).__name__}: {' '.join(str(error).split())[:400]}"})


def _error(np: Any, found: Any, expected: Any) -> float:
    """The norm of the difference over that of what is expected."""
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


def ceilings() -> dict[str, float]:
    """What the GPU reaches through PyTorch: bytes a second of a large copy, operations a second of large products."""
    import torch

    def seconds(work: Callable[[], Any]) -> float:
        times = []
        for _ in range(3):
            work()
        for _ in range(10):
            first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            first.record()
            work()
            last.record()
            last.synchronize()
            times.append(1e-3 * first.elapsed_time(last))
        return statistics.median(times)

    found = {}
    a = torch.randn(1 << 29, device="cuda")
    b = torch.empty_like(a)
    found["bytes"] = 2 * a.nbytes / seconds(partial(b.copy_, a))
    del a, b
    for name, dtype, tf32, n in (
        ("bf16", torch.bfloat16, False, 8192),
        ("tf32", torch.float32, True, 8192),
        ("f32", torch.float32, False, 4096),
    ):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        x, y = (torch.randn(n, n, device="cuda", dtype=dtype) for _ in range(2))
        found[f"{name}_flops"] = 2 * n**3 / seconds(partial(torch.matmul, x, y))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case")
    parser.add_argument("--rounds", type=int, default=11)
    parser.add_argument("--ceilings", type=json.loads, default={})
    given = parser.parse_args()
    if given.case == "ceilings":
        print(json.dumps(ceilings()), flush=True)
        return
    Case(given.case).run(given.rounds, given.ceilings)


if __name__ == "__main__":
    main()
