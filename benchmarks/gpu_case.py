"""One case of `gpu.py`, in a process of its own: netc, PyTorch eager and `torch.compile` in turns on one GPU.

    python3 benchmarks/gpu_case.py caffenet-train-bf16 [--rounds 11]
    python3 benchmarks/gpu_case.py ceilings

Prints lines of JSON, each with all that is known by then: the last one counts, whatever ends the process.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from gpu_times import Step, ceilings, roofline, summary, turns

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks"), str(ROOT / "build" / "packages")]

CHECKED_RATE, RATE = 0.1, 1e-4  # of the step that is compared, and of those that are timed


def without_dropout(text: str) -> str:
    """A net's text without its dropout, whose masks are PyTorch's own there."""
    return re.sub(r"\s*\|> dropout\([\d.]+\)", "", text)


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
        self.channels_last = False
        self.result: dict[str, Any] = {"net": self.net_name, "mode": self.mode, "precision": self.precision}
        self.result |= {"batch": self.net.batch}

    def say(self, **known: Any) -> None:
        """Tell what is known by now."""
        self.result |= known
        print(json.dumps(self.result), flush=True)

    # netc.

    @property
    def example(self) -> Path:
        return ROOT / "examples" / f"{self.net_name}.net"

    def compilation(self, path: Path) -> Any:
        """The program of a file, in this case's mode and numbers."""
        from netc.driver import compilation
        from netc.numbers import numbers

        wish = numbers("bf16" if self.precision == "bf16" else "f32", tf32=self.precision == "tf32", target="triton")
        return compilation(
            path,
            mode="train" if self.train else "test",
            dims={"N": self.net.batch},
            outputs=None if self.train else ["prob"],
            target="triton",
            device="cuda",
            numbers=wish,
        )

    def compile_netc(self) -> None:
        """Compile the program, launch its first step, and hold a replay to its bits."""
        np = self.np
        start = time.perf_counter()
        made = self.compilation(self.example)
        rng = np.random.default_rng(12)
        for info in made.layout:
            if info.kind == "parameter":
                shape = tuple(map(int, info.type.shape))
                scale = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.1
                self.values[info.name] = (scale * rng.standard_normal(shape)).astype(np.float32)
                self.multipliers.append((info.lr, info.decay))
        self.state, self.executable = self.opened(made)
        self.feeds: dict[str, Any] = {"image": self.image}
        if self.train:
            self.feeds |= {"label": self.label, ".rate": np.float32(CHECKED_RATE)}
        self.outputs, differing = self.executable.twice(self.feeds)
        if differing:
            self.say(replay_error=f"a replay gives other bits than the launches: {', '.join(differing)[:300]}")
        elif not _replays(self.executable):
            self.say(replay_error="the step is not replayed: its kernels are launched singly")
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

    def opened(self, made: Any) -> tuple[Any, Any]:
        """A state with this case's parameters, and the program on it."""
        state = made.new_state(0)
        for name, value in self.values.items():
            state[name] = value
        return state, made.executables(state)[0]

    def netc_step(self, times: int) -> float:
        return 1e3 * self.executable.seconds(self.feeds, times)

    # PyTorch.

    def model(self) -> Any:
        """The module with netc's parameters, on the GPU."""
        found = self.net.module(train=self.train)
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
        """Compare what netc computed with eager PyTorch in f32 with the same weights.

        Where a training step has dropout, the same step without it is compiled and compared, in the same sizes.
        """
        np, torch = self.np, self.torch
        start = time.perf_counter()
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        x = torch.from_numpy(self.image).cuda()
        if not self.train:
            with torch.no_grad():
                expected = self.nets.probabilities(self.model().eval(), x).cpu().numpy().astype(np.float64)
            self.say(error=_error(np, self.outputs["prob"], expected))
        else:
            self._check_step(x, *self._step_without_dropout())
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = self.precision == "tf32"
        self.say(check_s=round(time.perf_counter() - start, 2))

    def _step_without_dropout(self) -> tuple[Any, Any]:
        """The outputs of a step and the state after it."""
        if not self.net.drops:
            return self.outputs, self.state
        np = self.np
        arrays = [*self.outputs.values(), *(self.state[name] for name in self.values)]
        self.say(finite=bool(all(np.isfinite(array).all() for array in arrays)))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / self.example.name
            path.write_text(without_dropout(self.example.read_text()))
            state, executable = self.opened(self.compilation(path))
        return executable.run(self.feeds), state

    def _check_step(self, x: Any, outputs: Mapping[str, Any], state: Mapping[str, Any]) -> None:
        np, torch = self.np, self.torch
        model = self.model().eval()
        solver = self.nets.solver(self.net, model, self.multipliers, CHECKED_RATE)
        loss = self.nets.losses(self.net, model, x, torch.from_numpy(self.label).cuda().long())
        loss.backward()
        solver.step()
        ours = np.concatenate([(state[n] - v).ravel() for n, v in self.values.items()])
        learned = [p.detach().cpu().numpy() for p in model.parameters()]
        theirs = [p - v for p, v in zip(learned, self.values.values(), strict=True)]
        weighted = sum(w * float(outputs[name]) for name, w in zip(self.net.losses, self.net.weights, strict=True))
        self.say(
            loss_error=_error(np, weighted, loss.item()),
            error=_error(np, ours, np.concatenate([t.ravel() for t in theirs])),
        )

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
            self._try("timing", partial(self._measure, steps, rounds, ceilings))
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


def _replays(executable: Any) -> bool:
    """Whether steps of a program are replays of a recording, where it runs on a GPU."""
    loaded = getattr(executable._engine, "_loaded", None)
    return loaded is None or loaded._graph is not None


def _error(np: Any, found: Any, expected: Any) -> float:
    """The norm of the difference over that of what is expected."""
    difference = np.asarray(found, np.float64) - np.asarray(expected, np.float64)
    return float(np.linalg.norm(difference) / np.linalg.norm(expected))


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
