"""Readers of texts that people write: the language, what compiles it, graphs, tables of schedules, labels, settings."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random

from attack import language, text
from attack.contract import Broken
from attack.nets import random_net
from attack.readers import MEGABYTE, Reader
from netc.api.inference import read_labels
from netc.caffe.net import Net
from netc.caffe.process import TRAIN
from netc.caffe.tools import read_windows
from netc.commands.options import settings_of
from netc.compiler.build import build, load
from netc.compiler.caffe.reading import type_of
from netc.compiler.text import print_graph
from netc.compiler.text_reader import read_graph
from netc.driver import Compilation
from netc.grammar.caffe.format import format_prototxt
from netc.grammar.caffe.text_format import read
from netc.grammar.format import format_file
from netc.grammar.parse import read_source
from netc.grammar.source import Source, UserError
from netc.passes.opt import opt
from netc.report import training_log
from netc.request import Request
from netc.tuning_files import read_file
from support.caffe.pycaffe import DEEP, SMALL

EXAMPLES = Path(__file__).parents[3] / "examples"
WHOLE = ("autoencoder", "cifar10_quick", "lenet", "logreg", "user_op")
EVERYTHING = """const width = 4
op huber(p, t, d = 1.0) = mean(where(abs(p - t) < d, 0.5 * (p - t) ** 2, d * (abs(p - t) - 0.5 * d)))
block tower(x, c = 3, deep = true) {
    for i in 1..2 { x = x |> conv(c * i, 3, pad: 1) as "conv/a" |> batch_norm |> relu }
    if deep { x = x |> max_pool(2, round: floor) } else if train { x = dropout(x, 0.3) } else { y = x }
    return x, x |> linear(width)
}
net n(classes = 4, size = 1 / 2) {
    input a: f32[N, 1, 8, 2 * 4]
    input t: f32[N, width]
    param(lr: 0) scale: f32[1, width] = constant(1)
    u, left = tower(a)
    v, right = tower(a, share: u, deep: true)
    p, q = split(concat(u, v, axis: 1), 2)
    @nofuse
    h = left + right * scale |> linear(classes, weight: gaussian(std: 0.1), lr: [1, 2]) as enc
    loss(weight: 0.3) l2 = sum(abs(enc.weight)) + mean(p - q)
    loss l = huber(h, t, d: size)
    metric m = max(h) - min(h)
    output o = softmax(h)
}
"""
TRAINED = """net n {
    input image: f32[N, 1, 6, 6]
    input label: i32[N]
    h = image |> conv(2, 3, weight: gaussian(std: 0.1)) |> lrn(3) |> max_pool(2) |> dropout(0.5) |> elu(alpha: 0.7)
    y = h |> linear(4) as score |> clip(min: -2, max: 2.5)
    loss l = softmax_loss(y, label, ignore: 1)
    loss(weight: 0.5) e = mean(power(y, power: 2, scale: 0.5, shift: 1))
}
data d = synthetic(shape: [1, 6, 6], classes: 4, records: 64, batch: 8, scale: 0.01)
train n {
    from: d
    test: d every 5
    solver: adam(lr: 0.001, momentum: 0.9, momentum2: 0.999, delta: 0.0001, weight_decay: 0.01)
    schedule: multistep(gamma: 0.1, at: [5, 8], warmup: 2, warmup_from: 0.1)
    clip: 35
    accumulate: 2
    steps: 10
}
"""


def nets() -> list[bytes]:
    """Valid texts: examples, a text with every form, a whole experiment; more of small ones, which are read sooner."""
    examples = [(EXAMPLES / f"{name}.net").read_bytes() for name in WHOLE]
    drawn = [random_net(Random(i), 4).text.encode() for i in range(24)]
    return [*examples, *[EVERYTHING.encode()] * 3, *[TRAINED.encode()] * 3, *drawn]


def small_nets() -> list[bytes]:
    return [TRAINED.encode(), *(random_net(Random(i), 5).text.encode() for i in range(12))]


def read_net(path: Path) -> None:
    """As `netc check` does."""
    load(read_source(path))


def format_net(path: Path) -> None:
    """As `netc fmt` does: a canonical form is its own."""
    once = format_file(read_source(path))
    if format_file(Source("formatted.net", once)) != once:
        raise Broken("the canonical form of a text is not its own canonical form")


def compile_net(path: Path) -> None:
    """What `netc check` calls right is compiled: a training step and a test, to text that is Python."""
    source = read_source(path)
    experiment = load(source)
    name = experiment.default_net()
    for mode in ("train", "test"):
        if not build(experiment, name, mode="train" if mode == "train" else "test", dims={"N": 2}).graph.outputs:
            continue
        request = Request(mode="train" if mode == "train" else "test", dims={"N": 2}, update=None)
        made = Compilation(experiment, request)
        for program in made.programs:
            compile(program.source, "program", "exec")


def graphs() -> list[bytes]:
    """Graphs as `netc show --stage` prints them, before fusing and after."""
    found = []
    for source in small_nets()[:6]:
        Path("sample.net").write_bytes(source)
        for mode in ("train", "test"):
            request = Request(mode="train" if mode == "train" else "test", dims={"N": 2}, update=None)
            made = Compilation(load(Path("sample.net")), request)
            found += [print_graph(made.simplified).encode(), made.fused.text().encode()]
    Path("sample.net").unlink()
    return [one for one in found if len(one) < 12_000]


def graph_changed(random: Random, samples: Sequence[bytes]) -> bytes:
    """Tokens changed, or lines moved, doubled and dropped."""
    if random.random() < 0.7:
        return text.changed(random, samples)
    lines = random.choice(samples).split(b"\n")
    for _ in range(random.choice((1, 1, 2, 4))):
        at, other = random.randrange(len(lines)), random.randrange(len(lines))
        how = random.randrange(3)
        if how == 0:
            del lines[at]
        elif how == 1:
            lines.insert(at, lines[other])
        else:
            lines[at], lines[other] = lines[other], lines[at]
        lines = lines or [b""]
    return b"\n".join(lines)


def read_graph_text(path: Path) -> None:
    """As `netc opt` does, with a stage; what is read is printed and read again as itself."""
    try:
        given = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError("no text") from None
    once = print_graph(read_graph(given, "case.txt"))
    if print_graph(read_graph(once, "printed.txt")) != once:
        raise Broken("a graph that was printed is read as another one")
    opt(given, ["simplify"], file="case.txt")


SCHEDULES = b"""{
"cuda:90 / NVIDIA H100 / dot 64x500x800 / 0123456789abcdef": {"rows": 64, "columns": 128, "depth": 32, "split": 1, \
"warps": 4, "stages": 3, "us": 12.345, "layers": "ip1"},
"hip:gfx942 / unknown / reduce 64x10 / fedcba9876543210": {"rows": 16, "columns": 16, "depth": 16, "split": 4, \
"warps": 4, "stages": 2, "us": 1.5, "layers": ""},
"cpu / x86_64 AMD EPYC 26 2 avx512f / 2 threads / conv 8x32x64x8x8x5x5 / 9f8a3763073f3757": {"algorithm": "winograd2", \
"us": 628.948, "layers": "conv3"},
"version": 1
}
"""


def _labels(random: Random, samples: Sequence[bytes]) -> bytes:
    return text.changed(random, samples)


def read_settings(path: Path) -> None:
    """The values of `--set`, a line each."""
    lines = path.read_bytes().decode("utf-8", errors="surrogateescape").split("\n")
    settings_of([line for line in lines if line])


PROTOTXT = b"""# top
name: 'a'   # the name

layer { name: "x" type: "Input" top: "x"  # in
  input_param { shape: { dim: 1, dim: 2; } } # end
  # last
}
layer{name:'y' include:<phase:TEST> convolution_param { kernel_size: [3,  3] } loss_weight: - 1 bottom: "a"
  "b" }  # tail
layer { param [ { lr_mult: 1 # one
}, <lr_mult: 2> ] }
"""
WINDOWS = b"""filename,ymin,xmin,ymax,xmax
"a b.jpg",0,0,4,4
c.jpg,1.5,2,30,1e2
"""
GLOG = b"""I1231 23:59:59.500000  1 solver.cpp:1] Solving net
I1231 23:59:59.800000  1 solver.cpp:1] Iteration 0, Testing net (#1)
I0101 00:00:00.500000  1 solver.cpp:1]     Test net output #0: acc = 0.25
I20260228 00:00:00.6  1 solver.cpp:1]     Train net output #0: loss = -nan (* 1 = -nan loss)
I0229 00:00:01.5  1 sgd_solver.cpp:1] Iteration 0, lr = 1e-05
"""
LOG = b"""{"kind": "run", "time": 10.0, "net": "a", "steps": 2, "batch": 1, "losses": ["l"]}
{"kind": "step", "time": 11.5, "step": 1, "loss": 2.5, "rate": 0.1, "values": {"l": 2.5}, "seconds": 1.0}
{"kind": "test", "time": 12.5, "step": 1, "data": "t", "values": {"top1": "nan"}, "records": 3}
"""


def format_caffes(path: Path) -> None:
    """A prototxt in its form, which has a form of its own: itself."""
    source = read_source(path)
    type_ = type_of(source) or "NetParameter"
    read(source, type_, lenient=True)
    made = Source(source.path, format_prototxt(source))
    read(made, type_, lenient=True)
    if format_prototxt(made) != made.text:
        raise Broken(f"the form of {made.text[:200]!r} is another")


def set_up_and_run(path: Path) -> None:
    """A net of pycaffe, forward and back."""
    made = Net(path, TRAIN)
    made.forward()
    made.backward()


def read_any_log(path: Path) -> None:
    """A log of either kind as tables."""
    found = training_log.read_log(path)
    for rows in (found.train, found.test):
        training_log.csv_text(rows)


ROWS = [
    Reader(
        "language", "case.net", nets, language.changed, read_net, text=True, quick=250, memory=512 * MEGABYTE,
        seconds=6.0, share=12.0,
    ),
    Reader("format", "case.net", nets, language.changed, format_net, text=True, quick=100, seconds=6.0),
    Reader(
        "compile", "case.net", small_nets, language.numbers_changed, compile_net, text=True, quick=25,
        memory=1024 * MEGABYTE, seconds=20.0, share=6.0,
    ),
    Reader("graph", "case.txt", graphs, graph_changed, read_graph_text, text=True, quick=100, seconds=6.0),
    Reader(
        "schedules", "case.json", lambda: [SCHEDULES], text.json_changed(), lambda path: read_file(path), text=True
    ),
    Reader(
        "nets of pycaffe", "case.prototxt", lambda: [SMALL.encode(), DEEP.encode()], text.changed, set_up_and_run,
        text=True, quick=100, memory=1024 * MEGABYTE, seconds=20.0,
    ),
    Reader("logs of Caffe's", "case.log", lambda: [GLOG, LOG], text.changed, read_any_log, text=True, quick=200),
    Reader("windows of images", "case.csv", lambda: [WINDOWS], text.changed, read_windows, text=True, quick=200),
    Reader(
        "format of Caffe's", "case.prototxt", lambda: [PROTOTXT], text.changed, format_caffes, text=True, quick=150
    ),
    Reader("labels", "case.txt", lambda: [b"cat\ndog\nfox\n", "für\n日本\n".encode()], _labels, read_labels, text=True),
    Reader(
        "settings", "case.txt", lambda: [b"lr=0.1\nclasses=10\nshape=[1, 2, 3]\nname=\"a\"\nok=true\n"], text.changed,
        read_settings, text=True,
    ),
]  # fmt: skip
