"""Dynamic batching: requests that wait at the same time are one batch of the net, run by one thread.

The queue is bounded: who finds it full is told so at once, and nobody waits longer than a bound.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..api.compiled import Compiled
from ..api.inference import ranked
from ..compiler.build import load
from ..driver import Compilation
from ..grammar.source import UserError
from ..preprocessing import Preprocessing, class_names, lines_of, preprocessing
from ..request import Request
from ..weights import Weights

Array = npt.NDArray[Any]

BATCH = 8  # records of one run at most
WAITING = 64  # requests that wait at most
SECONDS = 10.0  # that a request waits at most
CHANNELS = 16  # of a layer that are shown


class Busy(Exception):
    """There are too many requests, or this one waited too long: the client may try again."""


@dataclass(frozen=True)
class Prediction:
    """What a net says of one image. classes: the best, best first; seconds: of the run; together: records in it.

    activations: the first channels f32[C, H, W] of the layer that was asked for.
    """

    classes: list[tuple[str, float]]
    seconds: float
    together: int
    activations: Array | None = None


@dataclass
class _Request:
    record: Array
    layer: str | None
    answer: Future[Prediction]


class Predictor:
    """A trained classifier of images.

    want: the program; weights: without any those of the net's last run. labels: names of the classes; without any those
    of the data's folders, else numbers. A `UserError` where the net is no classifier of images.
    """

    def __init__(
        self,
        file: str | Path,
        want: Request,
        weights: Weights,
        labels: Sequence[str] = (),
        *,
        top: int = 5,
        notify: Callable[[str], None],
    ) -> None:
        experiment = load(file, settings=want.settings, dims=want.dims, reading=want.reading)
        most = want.batch or BATCH
        made = Compilation(
            experiment, replace(want, dims={**want.dims, "N": most}, batch=None, deployed=True, update=False)
        )
        self.file = file
        self.name = made.net.name
        self.input, self.shape = _image_input(made)
        self.output = _scores(made)
        self.before: Preprocessing = preprocessing(experiment, self.name, made.net.inputs)[self.input]
        self.size = self.before.image_size(self.shape)
        self.labels = list(labels) or class_names(experiment, self.name)
        self.layers = _maps(made)
        self.top = top
        self.waits = SECONDS
        self.state = state = made.new_state()
        for line in [*weights.or_last(self.name).load(state), *lines_of({self.input: self.before})]:
            notify(line)
        # Two programs on one state: a request alone does not pay for a whole batch.
        self._one, self._many = Compiled(made.sized(1), state), Compiled(made.sized(most), state)
        self._looked: Compiled | None = None
        self._most = most
        self._waiting: queue.Queue[_Request | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._serve, name="netc-predictor", daemon=True)
        self._thread.start()

    @property
    def gray(self) -> bool:
        return self.shape[1] == 1

    @property
    def rgb(self) -> bool:
        return bool(self.before.setting("order") != "bgr")

    def predict(self, image: Array, layer: str | None = None) -> Prediction:
        """What the net says of an image u8[C, H, W] of `size`; `Busy`, or a `UserError` for a layer there is not."""
        if layer is not None and layer not in self.layers:
            raise UserError(f"there is no layer `{layer:.80}` with channels to show")
        request = _Request(self.before.apply(image[None])[0], layer, Future())
        try:
            self._waiting.put_nowait(request)
        except queue.Full:
            raise Busy from None
        try:
            return request.answer.result(timeout=self.waits)
        except TimeoutError:
            request.answer.cancel()
            raise Busy from None

    def close(self) -> None:
        """End the thread; requests that wait are answered before."""
        self._waiting.put(None)
        self._thread.join()

    def _serve(self) -> None:
        ended = False
        while not ended:
            taken: list[_Request] = []
            request = self._waiting.get()
            while request is not None:
                taken.append(request)
                if len(taken) == self._most:
                    break
                try:
                    request = self._waiting.get_nowait()
                except queue.Empty:
                    break
            ended = request is None
            # A request that nobody waits for any more is not run.
            wanted = [one for one in taken if one.answer.set_running_or_notify_cancel()]
            plain = [one for one in wanted if one.layer is None]
            for group in [plain, *([one] for one in wanted if one.layer is not None)]:
                if group:
                    self._answer(group)

    def _answer(self, group: Sequence[_Request]) -> None:
        """Run requests together: several, or one whose layer is looked at."""
        try:
            for one, prediction in zip(group, self._run(group), strict=True):
                one.answer.set_result(prediction)
        except BaseException as error:  # who waits is told, and the thread goes on
            for one in group:
                if not one.answer.done():
                    one.answer.set_exception(error)

    def _run(self, group: Sequence[_Request]) -> list[Prediction]:
        layer = group[0].layer
        if layer is not None and self._looked is None:
            self._looked = self._one.clone()  # what was looked at is kept in the program: the quick one stays as it is
        exe = self._many if len(group) > 1 else self._one if layer is None or self._looked is None else self._looked
        batch = np.stack([one.record for one in group])
        if 1 < len(batch) < self._most:
            batch = np.concatenate([batch, np.repeat(batch[:1], self._most - len(batch), axis=0)])
        begin = time.perf_counter()
        scores = exe(**{self.input: batch})[self.output]
        seconds = time.perf_counter() - begin
        seen = None if layer is None else exe.value(layer)[0, :CHANNELS].astype(np.float32)
        rows = scores.reshape(len(scores), -1)[: len(group)]
        return [Prediction(ranked(row, self.top, self.labels), seconds, len(group), seen) for row in rows]


def _image_input(made: Compilation) -> tuple[str, tuple[int, int, int, int]]:
    types = {name: type_ for name, type_ in made.net.inputs.items() if not name.startswith(".")}
    if len(types) != 1:
        raise UserError(f"the page shows nets of one image; `{made.net.name}` reads {', '.join(types)}")
    ((name, type_),) = types.items()
    shape = tuple(map(int, type_.shape))
    if len(shape) != 4 or shape[1] not in (1, 3) or not type_.is_float:
        raise UserError(f"the page shows nets of one image; `{name}` is {type_}, no image of one or three channels")
    return name, (shape[0], shape[1], shape[2], shape[3])


def _scores(made: Compilation) -> str:
    """The output with a number for each class."""
    found = [name for name, type_ in made.program.outputs.items() if type_.is_float and type_.rank >= 2]
    if not found:
        raise UserError(f"the page shows classes: `{made.net.name}` has no output of them, as `prob = softmax(logits)`")
    return found[0]


def _maps(made: Compilation) -> list[str]:
    """The layers whose results have channels that can be drawn: [N, C, H, W]."""
    net, computed = made.net, set(made.net.graph.order)
    return [
        row.name for row in net.layers if (node := net.named.get(row.name)) in computed and node and node.type.rank == 4
    ]
