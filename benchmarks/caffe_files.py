"""How long Caffe's files take to open, and how much memory: weights of 24 and 240 MB, a prototxt of 10,000 lines.

    python benchmarks/caffe_files.py [--rounds 5] [--save results/caffe-files-cpu.json]

Weights go into a net's state, from the file to numbers in their place, in a process of its own that has the state
already. Reported: median and least time, and the most memory beyond what there was before, as a share of the file. The
prototxt is parsed; checked, which builds its net in both modes; and built.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from setting import save

from netc.compiler.build import build, load
from netc.grammar.caffe.text_format import read
from netc.grammar.source import Source
from netc.runtime.caffe.blob import Blob
from netc.runtime.caffe.model import Model, plain_layer, write_model

MEGABYTE = 1 << 20
OPEN = """
import resource, sys, time
import numpy as np
from pathlib import Path
from netc.compiler.program import StateInfo
from netc.compiler.types import TensorType
from netc.runtime.state import State
path, layers, width = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
state = State([StateInfo(f"ip{i}.weight", TensorType((width, width)), layer=f"ip{i}") for i in range(layers)])
for name in state:
    state[name] = np.ones((width, width), np.float32)
import netc.runtime.caffe.model, netc.runtime.loading, netc.runtime.weight_files
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
start = time.perf_counter()
loaded = state.load(path)
took = time.perf_counter() - start
assert not loaded.absent and abs(float(state["ip0.weight"][3, 5]) - 0.25) < 1e-6
print(took, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def weights(folder: Path, megabytes: int, rounds: int) -> dict[str, Any]:
    """A caffemodel of about so many MB."""
    width, layers = 1024, megabytes // 4
    path = folder / f"{megabytes}.caffemodel"
    values = np.full((width, width), 0.25, np.float32)
    write_model(path, Model("made", tuple(plain_layer(f"ip{i}", "", [Blob(values)]) for i in range(layers))))
    size = path.stat().st_size
    runs = []
    for _ in range(rounds):
        words = [sys.executable, "-c", OPEN, str(path), str(layers), str(width)]
        found = subprocess.run(words, capture_output=True, text=True, check=True).stdout.split()
        runs.append((float(found[0]), float(found[1])))
    seconds = [took for took, _ in runs]
    return {
        "what": f"caffemodel of {size / MEGABYTE:.0f} MB",
        "median_s": round(statistics.median(seconds), 4),
        "least_s": round(min(seconds), 4),
        "memory_by_size": round(max(memory for _, memory in runs) / size, 2),
    }


def text(rounds: int, lines: int = 10_000) -> dict[str, Any]:
    """A net of so many lines, one field a line."""
    head = 'layer {\n  name: "in"\n  type: "Input"\n  top: "x"\n  input_param { shape { dim: 1 dim: 8 } }\n}\n'
    each = 'layer {\n  name: "l%d"\n  type: "InnerProduct"\n  bottom: "%s"\n  top: "l%d"\n' + (
        '  inner_product_param {\n    num_output: 8\n    weight_filler {\n      type: "xavier"\n    }\n  }\n}\n'
    )
    count = lines // each.count("\n")
    net = head + "".join(each % (i, f"l{i - 1}" if i else "x", i) for i in range(count))
    seconds: dict[str, list[float]] = {"parsed": [], "checked": [], "built": []}
    for _ in range(rounds):
        source, clock = Source("net.prototxt", net), [time.perf_counter()]
        read(source, "NetParameter")
        clock.append(time.perf_counter())
        experiment = load(source)  # which parses it, too
        clock.append(time.perf_counter())
        build(experiment, experiment.default_net(), mode="test")
        clock.append(time.perf_counter())
        for name, start, end in zip(seconds, clock, clock[1:], strict=False):
            seconds[name].append(end - start)
    return {
        "what": f"prototxt of {net.count(chr(10)):,} lines, {count:,} layers",
        **{f"{name}_median_s": round(statistics.median(times), 3) for name, times in seconds.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save", type=Path)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        rows = [weights(Path(folder), size, asked.rounds) for size in (24, 240)]
    rows.append(text(asked.rounds))
    print(json.dumps(rows, indent=1))
    if asked.save:
        save(asked.save, rows)


if __name__ == "__main__":
    main()
