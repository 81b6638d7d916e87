"""Model selection and early stopping: the keys `keep` and `stop` of a `train` block, read and checked.

keep: best(top1)                   the weights of the best test, beside the last
keep: [all, lowest(error)]         and all snapshots
stop: no better top1 for 5 tests
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from ...grammar import tree
from ...grammar.source import Span, suggest
from ..spec import TestSpec, Watched

HOW = {"best": None, "better": None, "lowest": False, "lower": False, "highest": True, "higher": True}
KEEP, STOP = ("best", "lowest", "highest"), ("better", "lower", "higher")
Fail = Callable[[str, str, Span, str], None]
Whole = Callable[[tree.Expr, str, int], int | None]


@dataclass
class Watching:
    """What the two keys say, before it is known what the net reports.

    snapshots: kept on disk, 0 for all. best, stop: the word that says how values are compared, and the value; count: of
    tests. fail: reports an error. whole: reads a whole number.
    """

    fail: Fail
    whole: Whole
    snapshots: int | None = None
    best: tuple[str, tree.Expr] | None = None
    stop: tuple[str, tree.Expr] | None = None
    count: int = 0
    told: dict[str, Watched] = field(default_factory=dict)

    def keep(self, setting: tree.Setting) -> None:
        """`keep`: how many snapshots, and the weights of which test."""
        value = setting.value
        for item in value.items if isinstance(value, tree.List) else (value,):
            weights = isinstance(item, tree.Call)
            if (self.best if weights else self.snapshots) is not None:
                what = "the weights of one test" if weights else "one number of snapshots"
                self.fail("E423", f"train: `keep` keeps {what}", item.span, "leave out this or the one before")
            if isinstance(item, tree.Name) and item.name == "all":
                self.snapshots = 0
            elif isinstance(item, tree.Call) and item.callee.name in KEEP and len(item.args) == 1:
                self.best = item.callee.name, item.args[0].value
            elif isinstance(item, tree.Number):
                self.snapshots = self.whole(item, "keep", 1)
            else:
                hint = "such as `keep: best(top1)`, `keep: all` or `keep: 5` (the last snapshots)"
                self.fail("E423", "train: `keep` says what is kept of a run", item.span, hint)

    def stops(self, setting: tree.Setting) -> None:
        """`stop`: after how many tests without a better value a run ends."""
        value = setting.value
        if isinstance(value, tree.Patience):
            no, better, tests = (word.name for word in value.words)
            if no == "no" and better in STOP and tests in ("test", "tests"):
                self.stop, self.count = (better, value.value), self.whole(value.count, "stop", 1) or 0
                return
        hint = "such as `stop: no better top1 for 5 tests`"
        self.fail("E423", "train: `stop` says when a run ends early", value.span, hint)

    def settle(self, roles: Mapping[str, str], tests: Sequence[TestSpec]) -> None:
        """What is watched, once the losses and metrics of the net are known."""
        for key, said in (("keep", self.best), ("stop", self.stop)):
            if said is not None and (found := self._watched(*said, roles, tests)) is not None:
                self.told[key] = found

    def _watched(
        self, how: str, value: tree.Expr, roles: Mapping[str, str], tests: Sequence[TestSpec]
    ) -> Watched | None:
        """A loss or metric by its name, or as `heldout.top1`; losses are better where smaller, metrics where larger."""
        parts = [value.name] if isinstance(value, tree.Name) else []
        if isinstance(value, tree.Path):
            parts = [part.name for part in value.parts]
        if not tests:
            self.fail("E423", "train: nothing is tested", value.span, "such as `test: heldout every 500`")
        elif len(parts) not in (1, 2) or parts[-1] not in roles:
            hint = suggest(parts[-1] if parts else "", roles) or f"the net reports {', '.join(roles)}"
            self.fail("E423", "train: the name of a loss or metric is wanted here", value.span, hint)
        elif len(parts) == 2 and parts[0] not in {test.data.name for test in tests}:
            names = ", ".join(test.data.name for test in tests)
            self.fail("E423", f"train: `{parts[0]}` is not tested on", value.span, f"there is {names}")
        else:
            larger = HOW[how]
            data = parts[0] if len(parts) == 2 else ""
            return Watched(parts[-1], roles[parts[-1]] == "metric" if larger is None else larger, data)
        return None
