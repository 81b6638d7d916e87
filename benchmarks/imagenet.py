"""What training on ImageNet takes: operations of the recipes by netc's own counts, and photos/s by one core here.

    python benchmarks/imagenet.py [--only resnet50] [--photos FOLDER] [--save results/imagenet-cpu.json]

A training step of each recipe is compiled by the target c for one thread and timed in the processor's time, which other
work disturbs less than a clock; the least of some steps counts. Operations are those of the numpy target's step, which
has no products left out by Winograd's filtering. Beside: photos/s of preparing, and of reading what was prepared, of a
folder of photos in classes. `tables.py` makes the tables of examples/imagenet/README.md from the result.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from setting import save

import netc
from netc.compiler.build import load
from netc.driver import compilation
from netc.report.profiling import made_up_feeds
from netc.runtime.caffe.photo_sets import find_photos
from netc.runtime.caffe.preparing import Preparing, prepare
from netc.runtime.data.caffe_sources import lmdb
from netc.runtime.data.images import image_list
from netc.runtime.data.source import Place, Source
from netc.runtime.executable import Executable
from netc.runtime.state import State

EXAMPLES = Path(__file__).parents[1] / "examples"
# recipe -> the batch of a measured step
RECIPES = {"imagenet/alexnet": 32, "caffenet": 32, "googlenet": 8, "imagenet/resnet50": 8, "imagenet/mobilenet": 8}
STEPS = 4


def recipe(name: str, measured: int, steps: int) -> dict[str, Any]:
    """What a recipe takes, and how quickly a step of it is done."""
    file = EXAMPLES / f"{name}.net"
    experiment = load(file)
    (spec,) = experiment.trains
    batch = int(spec.data[0].get("batch")) * spec.accumulate
    counted = compilation(file, mode="train", dims={"N": measured}, target="numpy").program.launches
    summary = netc.summary(file, dims={"N": 1}, outputs=["prob"])
    row = {
        "recipe": name,
        "batch": batch,
        "steps": spec.steps,
        "photos": batch * spec.steps,
        "parameters": summary.params,
        "forward": summary.flops,
        "learning": round(sum(launch.flops for launch in counted if launch.phase == "step") / measured),
        "measured_batch": measured,
    }
    made = compilation(file, mode="train", dims={"N": measured}, target="c", threads=1)
    state = State(made.state)
    state.fill(0)
    # One program, or where batches are added up one for the gradients and one for the update, which is rare.
    gradients, *update = made.executables(state)
    seconds = timed(gradients, steps) + sum(timed(one, steps) for one in update) / spec.accumulate
    row["photos_per_s"] = round(measured / seconds, 3)
    return row


def timed(executable: Executable, times: int) -> float:
    """The least seconds of the processor that a program took, after once to warm up."""
    feeds = dict(made_up_feeds(executable.program.inputs))
    if ".rate" in feeds:
        feeds[".rate"] = np.float32(1e-3)
    executable.run(feeds)
    return least(lambda: executable.run(feeds), times)


def least(call: Callable[[], Any], times: int) -> float:
    """The least seconds of the processor that a call took."""
    found = []
    for _ in range(times):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)


def reading(photos: Path) -> list[dict[str, Any]]:
    """Photos/s of one core: prepared, and read again from files and from a database."""
    found = find_photos(photos)
    count = sum(len(split.files) for split in found.splits)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "set"
        rows = [_rate("preparing to 256 x 256", count, lambda: prepare(found, folder, Preparing(), workers=1))]
        prepare(found, folder, Preparing(database=True), workers=1)
        place = Place("photos", folder)
        sources: dict[str, Source] = {
            "reading, from files": image_list(place, "train.txt", root="train", order="bgr"),
            "reading, from an LMDB": lmdb(place, "train_lmdb"),
        }
        for what, source in sources.items():
            rows.append(_rate(what, source.records, partial(_read, source)))
    return rows


def _read(source: Source) -> None:
    for index in range(source.records):
        source.record("image", index)


def _rate(what: str, count: int, call: Callable[[], Any]) -> dict[str, Any]:
    return {"what": what, "photos_per_s": round(count / least(call, 1), 1)}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", action="append", default=[], help="A recipe, or a part of its name.")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--photos", type=Path, help="A folder of photos in classes, to measure reading.")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    names = [name for name in RECIPES if not given.only or any(part in name for part in given.only)]
    rows = []
    for name in names:
        rows.append(recipe(name, RECIPES[name], given.steps))
        print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    result = {"recipes": rows, "reading": reading(given.photos) if given.photos else []}
    print(json.dumps(result, indent=1))
    if given.save:
        save(given.save, [result])


if __name__ == "__main__":
    main()
