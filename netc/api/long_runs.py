"""Autotuning of long runs: the products of a run that is long enough are timed before its first step.

What is chosen changes the last bits of results, so a run keeps its choices: in a file of its folder, with which alone
it is resumed, and in the user's cache, from which the next long run takes them. Other commands ask neither.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ..compiler.spec import TrainSpec
from ..driver import Compilation
from ..machine import microarchitecture
from ..passes.host_calls import split
from ..passes.lowering.algorithms import key_of, sites
from ..passes.lowering.measured import CPU, TuningKey, TuningTable, plain
from ..runtime.folder import LOG
from ..tuning_files import TuningFiles, own_file, read_file, write_file
from .algorithms import Stopwatch, chosen_algorithms
from .choosing import work

FILE, CACHE = "algorithms.json", "algorithms-of-runs.json"
# Whether it pays: operations a second of a thread, the part of a run that is saved, and what measuring takes: seconds
# in all, and for each product. By these, and not by the clock, so that the same run decides the same each time.
RATE, GAIN = 1e11, 0.05
ONCE, EACH = 10.0, 1.5


@dataclass(frozen=True)
class RunPrograms:
    """The programs of a run, with the algorithms that they take from files. table: those, to be kept with the run."""

    step: Compilation
    tests: tuple[Compilation, ...]
    table: TuningTable | None = None

    def keep(self, folder: Path | None, *, resume: bool) -> None:
        """Write what was chosen into the folder of the run that begins there."""
        if folder is None or self.table is None or resume or any(folder.glob(LOG)):
            return
        folder.mkdir(parents=True, exist_ok=True)
        write_file(folder / FILE, self.table)


def pays(spec: TrainSpec, step: Compilation) -> bool:
    """Whether a run is so long that timing its products first saves more than it takes, about."""
    seconds = work(spec, step) / (RATE * step.threads)
    return GAIN * seconds > ONCE + EACH * len({*_keys([step])})


def with_algorithms(
    spec: TrainSpec,
    step: Compilation,
    tests: Sequence[Compilation],
    folder: Path | None,
    notify: Callable[[str], None],
    *,
    resume: bool,
    measures: bool,
    watch: Stopwatch | None = None,
) -> RunPrograms:
    """The programs of a run: as its folder says where it goes on, else measured first if that pays.

    measures: it may. watch: what times, without it this machine. What the user names by --schedules, or freezes, is
    taken as it is.
    """
    want, kept = step.request, folder / FILE if folder is not None else None
    plainly = RunPrograms(step, tuple(tests))
    measurable = want.choice.measurable and want.choice.row.threads and want.fused
    if not measurable or want.schedules.file is not None:
        return plainly
    if resume:
        there = kept is not None and kept.exists()
        return _from(TuningFiles(kept, want.schedules.frozen, own=False), step, tests) if there else plainly
    files = want.schedules
    if measures and not files.frozen and not want.numbers.direct and len(split(step.simplified)) == 1:
        cache = _cache()
        if cache is not None and pays(spec, step):
            files = _measured(step, cache, notify, watch)
    found = _from(files, step, tests)
    return replace(found, table=_taken(files.table(), [step, *tests]))


def _measured(step: Compilation, cache: Path, notify: Callable[[str], None], watch: Stopwatch | None) -> TuningFiles:
    """Files with an entry for each product of a step; those that none has are timed, and kept in the cache."""
    files = TuningFiles(cache, under=True) if cache.exists() else step.request.schedules
    device = plain(microarchitecture())
    there = {(place.key, place.device, place.threads) for place in files.table().entries}
    if all((key, device, step.threads) in there for key in _keys([step])):
        return files
    notify("a long run: its products are timed first (--no-tune leaves that)")
    found = chosen_algorithms(step, watch)
    cache.parent.mkdir(parents=True, exist_ok=True)
    # What other runs have chosen stays.
    write_file(cache, read_file(cache).over(found.table) if cache.exists() else found.table)
    by_rule, now = found.totals()
    changed = sum(row.chosen != row.site.rule for row in found.rows)
    told = f"{now / 1e3:.2f} ms of products a step, {by_rule / 1e3:.2f} by rule"
    notify(f"{changed} of {len(found.rows)} products that have a choice take another algorithm: {told}")
    return TuningFiles(cache, under=True)


def _from(files: TuningFiles, step: Compilation, tests: Sequence[Compilation]) -> RunPrograms:
    if files == step.request.schedules:
        return RunPrograms(step, tuple(tests))
    return RunPrograms(step.on(schedules=files), tuple(one.on(schedules=files) for one in tests))


def _taken(table: TuningTable, programs: Iterable[Compilation]) -> TuningTable:
    """The entries of a table that programs take, as for this processor and these threads."""
    device, found = microarchitecture(), {}
    for one in programs:
        for key in _keys([one]):
            if (entry := table.find(key, CPU, device, one.threads)) is not None:
                found[TuningKey(CPU, plain(device), key, one.threads)] = entry
    return TuningTable(found)


def _keys(programs: Iterable[Compilation]) -> list[str]:
    """What names the products of programs in tables."""
    graphs = [one.simplified for one in programs]
    return [key_of(node, learns=bool(graph.updates)) for graph in graphs for node in sites(graph)]


def _cache() -> Path | None:
    """Where the choices of long runs are kept, for others like them; None without a home folder."""
    own = own_file()
    return own.with_name(CACHE) if own is not None else None
