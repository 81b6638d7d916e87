"""Hints for other frameworks' settings, solvers, schedules and fillers, run: the numbers are PyTorch's or Keras's."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from netc.compiler.build import build, load
from netc.compiler.interpret import evaluate, interpret
from netc.compiler.net import RATE, STEP
from netc.compiler.program import StateInfo
from netc.compiler.schema import synonyms
from netc.compiler.schema.fillers import FILLERS
from netc.compiler.schema.schema import signature_of
from netc.compiler.schema.solvers import SCHEDULES, SOLVERS
from netc.compiler.schema.sources import SOURCES
from netc.compiler.spec import Use
from netc.compiler.types import TensorType
from netc.grammar.source import Source
from netc.passes.training.flatten import PARAMETERS, flat_layout
from netc.passes.training.update import GRADIENTS, apply
from netc.runtime.fillers import fill
from netc.runtime.learning_rate import rate

torch = pytest.importorskip("torch", reason="torch is not installed")
F = pytest.importorskip("torch.nn.functional", reason="torch is not installed")

Numbers = Any


def settled(word: str, table: Any, **more: Any) -> Use:
    """What the hint for a solver, schedule or filler recommends, with more settings."""
    code = next(one.code for one in synonyms.USES[word] if one.code.partition("(")[0] in table)
    name, _, rest = code.rstrip(")").partition("(")
    values = dict(re.findall(r"(\w+): ([^,]+)", rest))
    given = {key: float(value) if re.fullmatch(r"-?[\d.]+", value) else value for key, value in values.items()}
    return Use(name, tuple({**given, **more}.items()))


STEPS = 20


def torch_rates(make: Callable[[Any], Any]) -> list[float]:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.5)
    scheduler, found = make(optimizer), []
    for _ in range(STEPS):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


R = torch.optim.lr_scheduler
KERAS_EXP = [0.5 * 0.9 ** (i / 4) for i in range(STEPS)]
RATES: dict[str, tuple[list[float], dict[str, Any]]] = {
    "constant": ([0.5] * STEPS, {}),
    "linearlr": (torch_rates(lambda o: R.LinearLR(o)), {}),
    "steplr": (torch_rates(lambda o: R.StepLR(o, 3, 0.5)), {"gamma": 0.5, "every": 3}),
    "steppolicy": (torch_rates(lambda o: R.StepLR(o, 3, 0.5)), {"gamma": 0.5, "every": 3}),
    "multisteplr": (torch_rates(lambda o: R.MultiStepLR(o, [3, 7], 0.5)), {"gamma": 0.5, "at": (3, 7)}),
    "exponential": (torch_rates(lambda o: R.ExponentialLR(o, 0.9)), {"gamma": 0.9}),
    "exponentiallr": (torch_rates(lambda o: R.ExponentialLR(o, 0.9)), {"gamma": 0.9}),
    "exponentialdecay": (KERAS_EXP, {"gamma": 0.9 ** (1 / 4)}),
    "inversetimedecay": ([0.5 / (1 + 0.9 * i / 4) for i in range(STEPS)], {"gamma": 0.9 / 4}),
    "polynomial": (torch_rates(lambda o: R.PolynomialLR(o, STEPS, 2.0)), {"power": 2.0}),
    "polynomiallr": (torch_rates(lambda o: R.PolynomialLR(o, STEPS, 2.0)), {"power": 2.0}),
    **dict.fromkeys(
        ["cosineannealing", "cosineannealinglr", "cosinedecay"],
        (torch_rates(lambda o: R.CosineAnnealingLR(o, STEPS, 0.05)), {"floor": 0.1}),
    ),
}


@pytest.mark.parametrize("word", RATES)
def test_schedules_are_the_same_rates(word: str) -> None:
    wanted, more = RATES[word]
    schedule = settled(word, SCHEDULES, **more)
    assert np.allclose([rate(schedule, 0.5, i, STEPS) for i in range(STEPS)], wanted, rtol=1e-9)


FILLED: dict[str, tuple[float, float]] = {  # the deviation and the bound of a weight of 300 x 200
    **dict.fromkeys(["glorot", "glorotuniform", "xavieruniform"], (math.sqrt(2 / 500), math.sqrt(6 / 500))),
    "lecununiform": (math.sqrt(1 / 200), math.sqrt(3 / 200)),
    **dict.fromkeys(["he", "kaiming", "kaimingnormal"], (math.sqrt(2 / 200), math.inf)),
    "normal": (1.0, math.inf),
    "randomnormal": (0.05, math.inf),
    "randomuniform": (0.1 / math.sqrt(12), 0.05),
    "zeros": (0.0, 0.0),
    "ones": (0.0, 1.0),
}


@pytest.mark.parametrize("word", FILLED)
def test_fillers_have_the_same_deviation_and_bound(word: str) -> None:
    deviation, bound = FILLED[word]
    use = settled(word, FILLERS)
    filler = FILLERS[use.name](**dict(use.settings))
    found = fill(StateInfo("w", TensorType((300, 200)), filler=filler), 1)
    assert abs(found.std() - deviation) <= 0.02 * deviation
    largest = np.abs(found).max()
    assert (0.98 * bound <= largest <= bound * (1 + 1e-6)) if math.isfinite(bound) else largest > 3 * deviation


SAME = {word for word, found in synonyms.USES.items() if any(one.code and one.same for one in found)}


def test_every_use_is_in_a_table_of_this_test() -> None:
    tested = {*RATES, *FILLED, "momentum"}
    of_data = {word for word in SAME if any(one.code.partition("(")[0] in SOURCES for one in synonyms.USES[word])}
    assert SAME - of_data == tested


def test_momentum_is_sgds() -> None:
    w = torch.ones(1, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.SGD([w], lr=0.1, momentum=0.9)
    use, mine, velocity = settled("momentum", SOLVERS), 1.0, 0.0
    for _ in range(5):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
        velocity = use["momentum"] * velocity + 0.1 * 2 * mine
        mine -= velocity
    assert abs(mine - w.item()) < 1e-12


KEPT = {"dropout_ratio", "p", "rate"}  # of a dropout, which draws numbers of its own
# A statement with the setting in the place of {}, and what the other framework computes with the setting of its name.
SETTINGS: dict[str, tuple[str, Callable[[dict[str, Numbers]], Numbers]]] = {
    **dict.fromkeys(["kernel_size"], ("h = conv(x, 4, {}: 5)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"]))),
    "pool_size": ("h = max_pool(x, {}: 7)", lambda v: F.max_pool2d(v["x"], kernel_size=7)),
    "strides": ("h = conv(x, 4, 3, {}: 2)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"], stride=2)),
    "padding": ("h = conv(x, 4, 3, {}: 2)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"], padding=2)),
    **dict.fromkeys(
        ["dilation_rate", "dilation"],
        ("h = conv(x, 4, 3, {}: 2)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"], dilation=2)),
    ),
    "groups": ("h = conv(x, 6, 3, {}: 3)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"], groups=3)),
    **dict.fromkeys(
        ["use_bias", "bias_term"], ("h = conv(x, 4, 3, {}: false)", lambda v: F.conv2d(v["x"], v["h.weight"]))
    ),
    **dict.fromkeys(
        ["num_output", "units", "out_features", "output_dim"],
        ("h = linear(x, {}: 4)", lambda v: F.linear(v["x"].flatten(1), v["h.weight"], v["h.bias"])),
    ),
    **dict.fromkeys(
        ["filters", "out_channels"],
        ("h = conv(x, kernel: 3, {}: 4)", lambda v: F.conv2d(v["x"], v["h.weight"], v["h.bias"])),
    ),
    **dict.fromkeys(
        ["num_embeddings", "input_dim"],
        ("h = embed(label, out: 4, bias: false, {}: 3)", lambda v: F.embedding(v["label"], v["h.weight"])),
    ),
    "embedding_dim": ("h = embed(label, 3, bias: false, {}: 4)", lambda v: F.embedding(v["label"], v["h.weight"])),
    "alpha": ("h = relu(x, {}: 0.2)", lambda v: F.leaky_relu(v["x"], 0.2)),
    "dim": ("h = softmax(x, {}: 2)", lambda v: F.softmax(v["x"], dim=2)),
    **dict.fromkeys(
        ["epsilon", "delta"],
        (
            "h = batch_norm(x, affine: false, {}: 0.1)",
            lambda v: F.batch_norm(v["x"], None, None, training=True, eps=0.1),
        ),
    ),
    **dict.fromkeys(
        ["ignore_index", "ignore_label"],
        (
            "h = softmax_loss(mean(x, axis: [2, 3]), label, {}: 1)",
            lambda v: F.cross_entropy(v["x"].mean((2, 3)), v["label"], ignore_index=1),
        ),
    ),
    "local_size": ("h = lrn(x, alpha: 0.0001, {}: 3)", lambda v: F.local_response_norm(v["x"], size=3)),
    "global_pooling": ("h = max_pool(x, {}: true)", lambda v: F.adaptive_max_pool2d(v["x"], 1)),
    "slice_point": ("h, rest = split(x, {}: 1)", lambda v: v["x"][:, :1]),
    "k": (
        "h = accuracy(mean(x, axis: [2, 3]), label, {}: 2)",
        lambda v: (v["x"].mean((2, 3)).topk(k=2).indices == v["label"][:, None]).any(1).double().mean(),
    ),
}
# Of a loss, parameters, solvers, schedules and data: names, files, and numbers of tests below.
ELSEWHERE = """weight_filler bias_filler filler kernel_initializer bias_initializer param lr_mult decay_mult base_lr rho
loss_weight stepsize stepvalue batch_size crop_size mean_file mean_value source eps learning_rate beta1 beta_1 beta2
beta_2 step_size decay_steps decay_rate milestones warmup_steps root"""


@pytest.mark.parametrize("word", SETTINGS)
def test_settings_compute_the_same(word: str) -> None:
    statement, function = SETTINGS[word]
    name = synonyms.SETTINGS[word][0]
    head = "input x: f32[N, 3, 7, 7]\n    input label: i32[N]"
    text = f"net n {{\n    {head}\n    {statement.format(name)}\n    output z = h\n}}\n"
    net = build(load(Source("n.net", text)), "n", mode="train", dims={"N": 6}, outputs=["z"])
    random = np.random.default_rng(0)
    feeds = {"x": random.normal(size=(6, 3, 7, 7)), "label": random.integers(0, 3, 6)}
    feeds |= {name: random.normal(size=node.shape) for name, node in net.graph.params.items()}
    wanted = function({name: torch.tensor(array) for name, array in feeds.items()}).numpy()
    assert np.allclose(interpret(net.graph, feeds)["z"].reshape(wanted.shape), wanted, rtol=1e-6, atol=1e-9)


def test_every_setting_is_computed_or_said_to_differ() -> None:
    differs = {word for word, _ in synonyms.OTHERWISE}
    assert {*synonyms.SETTINGS} == {*SETTINGS, *KEPT, *ELSEWHERE.split(), *differs}


def test_a_ratio_is_the_share_that_is_dropped() -> None:
    assert {synonyms.SETTINGS[word][0] for word in KEPT} == {"ratio"}
    text = "net n {\n    input x: f32[N, 1000]\n    output z = dropout(x, ratio: 0.8)\n}\n"
    net = build(load(Source("n.net", text)), "n", mode="train", dims={"N": 10}, outputs=["z"])
    found = interpret(net.graph, {"x": np.ones((10, 1000)), ".seed": 1, ".step": 0})["z"]
    torch.manual_seed(0)
    wanted = F.dropout(torch.ones(10, 1000), p=0.8).numpy()
    assert abs((found == 0).mean() - (wanted == 0).mean()) < 0.02
    assert abs(found.max() - wanted.max()) < 1e-5


@pytest.mark.parametrize(
    ("word", "solver", "make"),
    [
        ("beta1", "adam", lambda w: torch.optim.Adam(w, 0.1, betas=(0.5, 0.999))),
        ("beta_1", "adam", lambda w: torch.optim.Adam(w, 0.1, betas=(0.5, 0.999))),
        ("beta2", "adam", lambda w: torch.optim.Adam(w, 0.1, betas=(0.9, 0.5))),
        ("beta_2", "adam", lambda w: torch.optim.Adam(w, 0.1, betas=(0.9, 0.5))),
        ("rho", "adadelta", lambda w: torch.optim.Adadelta(w, 0.1, rho=0.5)),
        ("alpha", "rmsprop", lambda w: torch.optim.RMSprop(w, 0.1, alpha=0.5)),
        ("learning_rate", "sgd", lambda w: torch.optim.SGD(w, 0.5)),
        ("eps", "adagrad", lambda w: torch.optim.Adagrad(w, 0.1, eps=0.5)),
        ("epsilon", "adamw", lambda w: torch.optim.AdamW(w, 0.1, eps=0.5)),
    ],
)
def test_settings_of_solvers_compute_the_same(word: str, solver: str, make: Callable[[Any], Any]) -> None:
    takes = signature_of(SOLVERS[solver]).parameters
    name = re.fullmatch(r"did you mean `(\w+)`\?", synonyms.setting(word, takes))
    assert name is not None
    defaults = {key: p.default for key, p in takes.items() if p.default is not p.empty}
    values = {**defaults, "lr": 0.1, name[1]: 0.5}
    start = np.array([1.0, -2.0, 0.5])
    w = torch.tensor(start, requires_grad=True)
    optimizer = make([w])
    layout = flat_layout([StateInfo("w", TensorType((3,)))])
    graph = apply(Use(solver, tuple(values.items())), layout, batches=1)
    feeds: dict[str, Any] = {node: np.zeros(x.shape) for node, x in graph.params.items()}
    feeds[PARAMETERS] = start
    for step in range(1, 4):
        optimizer.zero_grad()
        (w**2).sum().backward()
        optimizer.step()
        feeds |= {GRADIENTS: 2 * feeds[PARAMETERS], STEP: step}
        feeds |= evaluate(graph, {**feeds, RATE: values["lr"]})[1]
    assert np.allclose(feeds[PARAMETERS], w.detach().numpy(), rtol=1e-5)
