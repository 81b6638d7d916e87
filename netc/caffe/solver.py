"""Caffe's solvers under the names that pycaffe has: a training loop of single steps, tests, snapshots and callbacks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..compiler.caffe.files import located
from ..compiler.caffe.solvers import Wanted, train_net
from ..compiler.caffe.solvers import test_nets as nets_to_test
from ..grammar.caffe.message import Message
from ..grammar.caffe.schema import fields_of
from ..grammar.caffe.text_format import read
from ..grammar.caffe.upgrade import upgraded_solver
from ..grammar.parse import read_source
from ..grammar.source import SourceError, SourceErrors, UserError
from ..runtime.caffe.blob import Blob
from ..runtime.caffe.hdf5 import is_hdf5, read_solver_state_hdf5, write_solver_state_hdf5
from ..runtime.caffe.solver_state import SolverState, read_solver_state, write_solver_state
from ..runtime.learning_rate import rate
from .core import Core
from .files import write_net
from .net import PycaffeNet
from .process import TEST, TRAIN, log, set_random_seed
from .solver_update import Update, plan_of
from .table import read_net, table, upgraded

Array = npt.NDArray[Any]
Call = Callable[[], object]


class SolverParam:
    """What a solver's prototxt says, by the names of its fields; what is set here holds from the next step on."""

    def __init__(self, message: Message) -> None:
        self._message = message
        self._set: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name not in fields_of("SolverParameter"):
            raise AttributeError(f"a solver has no parameter {name!r}")
        if name in self._set:
            return self._set[name]
        return self._message.all(name) if fields_of("SolverParameter")[name].repeated else self._message.get(name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name.startswith("_"):
            object.__setattr__(self, name, value)
        elif name not in ("base_lr", "max_iter", "display", "snapshot", "layer_wise_reduce"):
            raise AttributeError(f"the parameter {name!r} of a solver cannot be set")
        else:
            self._set[name] = value


class Solver:
    """A solver of a prototxt. `net` learns; `test_nets` have its parameters when they are tested.

    type: Caffe's name of the solver, in the place of the file's. RuntimeError for a file that is not there.
    """

    type: str | None = None

    def __init__(self, file: str | Path) -> None:
        self._path = Path(file)
        self._message = _read(self._path)
        self.param = SolverParam(self._message)
        if self.param.random_seed >= 0:
            set_random_seed(int(self.param.random_seed))
        self.plan = plan_of(self._message, self.type or self.param.type)
        errors: list[SourceError] = []
        wanted = train_net(self._message, errors.append)
        tests = nets_to_test(self._message, errors.append)
        if errors or wanted is None:
            raise SourceErrors(errors)
        self.net = self._net(wanted, TRAIN)
        self.test_nets = [self._net(one, TEST) for one in tests]
        for names in self.param.weights:
            for name in names.split(","):
                self.net.copy_from(name.strip())
        self.iter = 0
        self._update = Update(self.net._core, self.plan)
        self._callbacks: list[tuple[Call, Call]] = []
        self._losses: deque[float] = deque(maxlen=max(int(self.param.average_loss), 1))
        self._began, self._shown = time.monotonic(), 0

    def _net(self, wanted: Wanted, phase: int) -> PycaffeNet:
        if isinstance(wanted.item, Message):
            message = upgraded(wanted.item)
        else:
            found = located(wanted.item.value, self._path.parent)
            message = read_net(found or wanted.item.value)
        state = wanted.state
        level, stages = int(state.get("level")), state.all("stage")
        return PycaffeNet.of(Core(table(message, ("TRAIN", "TEST")[phase], level, stages), phase))

    @property
    def lr(self) -> float:
        """The rate of the next update."""
        return rate(self.plan.schedule, float(self.param.base_lr), self.iter, max(int(self.param.max_iter), 1))

    # Steps ----------------------------------------------------------------------------------------------------------

    def step(self, count: int) -> None:
        """Do so many iterations, with the tests, lines of the log and snapshots that fall into them."""
        stop = self.iter + count
        self._losses.clear()
        while self.iter < stop:
            self.net.clear_param_diffs()
            interval = self.param.test_interval
            if interval and self.iter % interval == 0 and (self.iter or self.param.test_initialization):
                self.test_all()
            for begin, _ in self._callbacks:
                begin()
            self._losses.append(self._batches())
            if self.param.display and self.iter % self.param.display == 0:
                self._display()
            for _, ready in self._callbacks:
                ready()
            self.apply_update()
            if self.param.snapshot and self.iter % self.param.snapshot == 0:
                self.snapshot()

    def _batches(self) -> float:
        """The batches of an iteration, forward and back: the mean of their losses."""
        total, last = 0.0, len(self.net.layers) - 1
        for _ in range(self.plan.batches):
            total += self.net._forward(0, last)
            self.net._backward(last, 0)
        return total / self.plan.batches

    def apply_update(self) -> None:
        """Take from the parameters what their diffs say; these hold afterwards what was taken."""
        self._update.run(self.lr, self.iter)
        self.iter += 1

    def solve(self, resume_file: str | Path | None = None) -> None:
        """Go on to `max_iter`, from a solver state if one is named; then a snapshot, and a test where one is due."""
        if resume_file is not None:
            self.restore(resume_file)
        log(f"Solving {self.net._core.table.message.get('name')}")
        self.step(int(self.param.max_iter) - self.iter)
        if self.param.snapshot_after_train and not (self.param.snapshot and self.iter % self.param.snapshot == 0):
            self.snapshot()
        if self.param.display and self.iter % self.param.display == 0:
            self._losses.append(self.net._forward(0, len(self.net.layers) - 1))
            log(f"Iteration {self.iter}, loss = {_mean(self._losses):g}")
        if self.param.test_interval and self.iter % self.param.test_interval == 0:
            self.test_all()
        log("Optimization Done.")

    def add_callback(self, on_start: Call, on_gradients_ready: Call) -> None:
        """Call functions in each iteration, before its first batch and before its update."""
        self._callbacks.append((on_start, on_gradients_ready))

    def share_weights(self, net: PycaffeNet) -> None:
        """Give another net the parameters of the one that learns, as one memory."""
        net.share_with(self.net)

    # Tests and the log ----------------------------------------------------------------------------------------------

    def test_all(self) -> None:
        """Test every net that the solver has for that, and log its outputs."""
        for number, net in enumerate(self.test_nets):
            log(f"Iteration {self.iter}, Testing net (#{number})")
            net.share_with(self.net)
            count, loss = int(self.param.test_iter[number]), 0.0
            sums: dict[str, Array] = {}
            for _ in range(count):
                loss += net._forward(0, len(net.layers) - 1)
                for name in net.outputs:
                    value = net.blobs[name].data.astype(np.float64)
                    sums[name] = sums.get(name, 0.0) + value
            if self.param.test_compute_loss:
                log(f"Test loss: {loss / max(count, 1):g}")
            self._outputs(net, "Test", {name: total / count for name, total in sums.items()})

    def _display(self) -> None:
        now = time.monotonic()
        done, seconds = self.iter - self._shown, now - self._began
        pace = f"{done / seconds if seconds else 0.0:g} iter/s, {seconds:g}s/{self.param.display} iters"
        log(f"Iteration {self.iter} ({pace}), loss = {_mean(self._losses):g}")
        self._outputs(self.net, "Train", {name: self.net.blobs[name].data for name in self.net.outputs})
        log(f"Iteration {self.iter}, lr = {self.lr:g}")
        self._began, self._shown = now, self.iter

    def _outputs(self, net: PycaffeNet, what: str, values: dict[str, Array]) -> None:
        number, weights = 0, net.blob_loss_weights
        for name, array in values.items():
            for value in np.ravel(array):
                weight = weights[name]
                loss = f" (* {weight:g} = {weight * value:g} loss)" if weight else ""
                log(f"    {what} net output #{number}: {name} = {value:g}{loss}")
                number += 1

    # Snapshots ------------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Write `<prefix>_iter_<n>.caffemodel` and `.solverstate`, or both with `.h5` behind."""
        hdf5 = self.param.snapshot_format == "HDF5"
        prefix = self.param.snapshot_prefix or str(self._path.with_suffix(""))
        if Path(prefix).is_dir():
            prefix = str(Path(prefix) / self._path.stem)
        end = ".h5" if hdf5 else ""
        model, path = (Path(f"{prefix}_iter_{self.iter}.{kind}{end}") for kind in ("caffemodel", "solverstate"))
        log(f"Snapshotting to {'HDF5' if hdf5 else 'binary proto'} file {model}")
        write_net(self.net, model, hdf5=hdf5, diffs=bool(self.param.snapshot_diff))
        state = SolverState(self.iter, tuple(map(Blob, self._update.histories())), str(model), self._current_step())
        (write_solver_state_hdf5 if hdf5 else write_solver_state)(path, state)

    def _current_step(self) -> int:
        """How often the policies `step` and `multistep` have changed the rate."""
        if self.plan.schedule.name == "step":
            return self.iter // int(self.plan.schedule["every"])
        if self.plan.schedule.name == "multistep":
            return sum(self.iter >= at for at in self.plan.schedule["at"])
        return 0

    def restore(self, path: str | Path) -> None:
        """Go on from a `.solverstate` and the weights that it names; UserError where it is of another net or solver."""
        path = Path(path)
        if not path.is_file():
            raise RuntimeError(f"Could not open file {path}")
        state = (read_solver_state_hdf5 if is_hdf5(path) else read_solver_state)(path)
        own = self._update.histories()
        if len(state.history) != len(own):
            many = f"{len(state.history)} histories, this solver keeps {len(own)}"
            raise UserError(f"{path}: is of another net or solver: it has {many}")
        for number, (array, blob) in enumerate(zip(own, state.history, strict=True)):
            if not blob.fits(array.shape):
                shapes = f"{list(blob.shape)}, here {list(array.shape)}"
                raise UserError(f"{path}: is of another net: history {number} is {shapes}")
        if state.learned_net:
            named = Path(state.learned_net)
            self.net.copy_from(named if named.is_file() else path.parent / named.name)
        for array, blob in zip(own, state.history, strict=True):
            np.copyto(array, blob.data.reshape(array.shape), casting="same_kind")
        self.net._core.state.touch()
        self.iter = state.iter


def _mean(losses: deque[float]) -> float:
    return sum(losses) / max(len(losses), 1)


def _read(path: Path) -> Message:
    if not path.is_file():
        raise RuntimeError(f"Could not open file {path}")
    errors: list[SourceError] = []
    try:
        found = upgraded_solver(read(read_source(path), "SolverParameter")[0], errors.append)
    except SourceError as error:
        raise SourceErrors([error]) from None
    if errors:
        raise SourceErrors(errors)
    return found


class SGDSolver(Solver):
    """Caffe's SGD, whatever type the file says."""

    type = "SGD"


class NesterovSolver(Solver):
    """Caffe's Nesterov."""

    type = "Nesterov"


class AdaGradSolver(Solver):
    """Caffe's AdaGrad."""

    type = "AdaGrad"


class RMSPropSolver(Solver):
    """Caffe's RMSProp."""

    type = "RMSProp"


class AdaDeltaSolver(Solver):
    """Caffe's AdaDelta."""

    type = "AdaDelta"


class AdamSolver(Solver):
    """Caffe's Adam."""

    type = "Adam"


def get_solver(file: str | Path) -> Solver:
    """The solver of the type that a prototxt says."""
    return Solver(file)
