"""The tuner, with a clock and a bench of its own: it climbs, skips what does not fit, keeps to its time."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from netc.compiler.program import Function, Launch, Program
from netc.runtime.triton.compile.tune import Site, tune


def program(chosen: Mapping[str, int]) -> Program:
    """A launch for each kernel; its function is named after the choice. The last has a finishing launch."""
    launches = [Launch(f"{key}_{n}", (), (), (), 0, 0, kernel=key) for key, n in chosen.items()]
    last = [*chosen][-1]
    return Program(
        name="made",
        mode="test",
        target="triton",
        dims={},
        inputs={},
        outputs={},
        state={},
        updates=(),
        functions=tuple(Function(launch.function, "map", "", "") for launch in launches),
        launches=(
            Launch("once", (), (), (), 0, 0, phase="prepare"),
            *launches,
            Launch("finish", (), (), (), 0, 0, kernel=last),
        ),
        buffers=(),
        arena_bytes=0,
        source="",
    )


class Fake:
    """Kernels are fastest at a number of their own; some numbers do not fit; time passes with each measurement."""

    def __init__(self, best: Mapping[str, int], unfit: Collection[str] = (), noise: Sequence[float] = (1.0,)) -> None:
        self.best, self.bad, self.noise = best, unfit, noise
        self.now = 0.0
        self.asked: list[list[str]] = []

    def clock(self) -> float:
        return self.now

    def unfit(self, program: Program, functions: Collection[str]) -> Collection[str]:
        return [name for name in functions if name in self.bad]

    def seconds(self, program: Program) -> Sequence[float]:
        steps = [launch.function for launch in program.launches if launch.phase == "step"]
        assert not set(steps) & set(self.bad)
        self.asked.append(steps)
        self.now += 1.0
        factor = self.noise[len(self.asked) % len(self.noise)]
        return [1.0 if name == "finish" else self._time(name) * factor for name in steps]

    def _time(self, name: str) -> float:
        key, _, number = name.partition("_")
        return 10.0 + abs(int(number) - self.best[key])


def near(choice: int) -> list[int]:
    return [n for n in (choice + 1, choice - 1) if 0 <= n < 20]


def sites(**start: int) -> list[Site[int]]:
    return [Site(key, n, near) for key, n in start.items()]


def test_every_kernel_climbs_to_its_best_at_once() -> None:
    bench = Fake({"a": 9, "b": 2})
    found = tune(sites(a=5, b=5), program, bench, clock=bench.clock)
    assert {key: f.choice for key, f in found.items()} == {"a": 9, "b": 2}
    assert (found["a"].before, found["a"].seconds) == (14.0, 10.0)
    assert found["b"].seconds == 11.0  # with the launch that finishes it
    rounds = len(bench.asked) - 1 - 10  # the first, and the turns at the end
    assert rounds < found["a"].tried + found["b"].tried


def test_the_order_is_always_the_same() -> None:
    runs = []
    for _ in range(2):
        bench = Fake({"a": 9, "b": 2})
        tune(sites(a=5, b=5), program, bench, clock=bench.clock)
        runs.append(bench.asked)
    assert runs[0] == runs[1]


def test_what_does_not_fit_is_neither_run_nor_kept() -> None:
    bench = Fake({"a": 9, "b": 2}, unfit=("a_7",))
    found = tune(sites(a=5, b=5), program, bench, clock=bench.clock)
    assert found["a"].choice == 6
    assert found["b"].choice == 2


def test_the_search_ends_with_its_time() -> None:
    bench = Fake({"a": 19, "b": 0})
    found = tune(sites(a=1, b=18), program, bench, budget=4.0, clock=bench.clock)
    assert 1 < found["a"].choice < 8
    assert len(bench.asked) <= 5 + 10


def test_a_gain_that_does_not_hold_is_given_back() -> None:
    """One lucky measurement: a second look at the end finds that nothing was gained."""

    class Lucky(Fake):
        def _time(self, name: str) -> float:
            return 5.0 if name == "a_6" and len(self.asked) == 2 else 10.0

    bench = Lucky({"a": 5})
    found = tune(sites(a=5), program, bench, clock=bench.clock)
    assert bench.asked[1] == ["a_6", "finish"]
    assert found["a"].choice == 5
    assert found["a"].seconds == found["a"].before


def test_small_differences_are_noise() -> None:
    class Even(Fake):
        def _time(self, name: str) -> float:
            return 10.0 if name == "a_5" else 9.9

    bench = Even({"a": 5})
    assert tune(sites(a=5), program, bench, clock=bench.clock)["a"].choice == 5
