"""What Caffe, PyTorch and Keras call things, beside netc's names: for the hints of messages about unknown names.

Layers have a table of their own (foreign_layers.py). Tests hold every name of netc that is in these tables against the
registries, and what is recommended against what the other framework computes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ...grammar.source import suggest
from .foreign_layers import Meant, near, none, plain

# Settings; one is suggested only where the callee takes it. First Caffe's fields.
SETTINGS: dict[str, tuple[str, ...]] = {
    "num_output": ("out",),
    "kernel_size": ("kernel",),
    "kernel_h": ("kernel",),
    "kernel_w": ("kernel",),
    "stride_h": ("stride",),
    "stride_w": ("stride",),
    "pad_h": ("pad",),
    "pad_w": ("pad",),
    "dilation": ("dilation", "dilate"),
    "bias_term": ("bias",),
    "weight_filler": ("weight",),
    "bias_filler": ("bias",),
    "filler": ("weight",),
    "lr_mult": ("lr",),
    "decay_mult": ("decay",),
    "base_lr": ("lr",),
    "dropout_ratio": ("ratio",),
    "local_size": ("size",),
    "global_pooling": ("global",),
    "ignore_label": ("ignore",),
    "loss_weight": ("weight",),
    "slice_point": ("at",),
    "stepsize": ("every",),
    "stepvalue": ("at", "steps"),
    "delta": ("eps", "delta"),
    "batch_size": ("batch",),
    "crop_size": ("crop",),
    "mean_file": ("mean",),
    "mean_value": ("mean",),
    "source": ("path",),
    "param": ("lr",),
    # Those of PyTorch and Keras.
    "units": ("out",),
    "filters": ("out",),
    "out_channels": ("out",),
    "out_features": ("out",),
    "output_dim": ("out",),
    "num_embeddings": ("size",),
    "input_dim": ("size",),
    "embedding_dim": ("out",),
    "pool_size": ("kernel",),
    "strides": ("stride",),
    "padding": ("pad",),
    "dilation_rate": ("dilation",),
    "groups": ("group",),
    "use_bias": ("bias",),
    "kernel_initializer": ("weight",),
    "bias_initializer": ("bias",),
    "kernel_regularizer": ("decay",),
    "weight_decay": ("decay",),
    "p": ("ratio",),
    "rate": ("ratio",),
    "alpha": ("negative_slope", "rms_decay"),
    "dim": ("axis",),
    "epsilon": ("eps", "delta"),
    "eps": ("delta",),
    "momentum": ("moving_average_fraction",),
    "k": ("top_k",),
    "ignore_index": ("ignore",),
    "learning_rate": ("lr",),
    "beta1": ("momentum",),
    "beta_1": ("momentum",),
    "beta2": ("momentum2",),
    "beta_2": ("momentum2",),
    "rho": ("rms_decay", "momentum"),
    "step_size": ("every",),
    "decay_steps": ("every",),
    "decay_rate": ("gamma",),
    "milestones": ("at",),
    "warmup_steps": ("warmup",),
    "root": ("path",),
    "train": ("split",),
}

# Settings that are not the same number here.
OTHERWISE: dict[tuple[str, str], str] = {
    ("kernel_h", "kernel"): "as [height, width]",
    ("kernel_w", "kernel"): "as [height, width]",
    ("stride_h", "stride"): "as [height, width]",
    ("stride_w", "stride"): "as [height, width]",
    ("pad_h", "pad"): "as [height, width]",
    ("pad_w", "pad"): "as [height, width]",
    ("weight_decay", "decay"): "it multiplies the solver's `weight_decay`",
    ("kernel_regularizer", "decay"): "it multiplies the solver's `weight_decay`",
    ("train", "split"): "it is `train` or `test`",
    ("momentum", "moving_average_fraction"): "it is the share that is kept: 0.9 for PyTorch's 0.1",
}

# Settings that netc has not, and what is written in their place.
INSTEAD: dict[str, str] = {
    "activation": "an activation is a layer of its own, such as `|> relu`",
    "in_channels": "leave it out: it is read off the input",
    "in_features": "leave it out: it is read off the input",
    "input_dim": "leave it out: it is read off the input",
    "input_shape": "leave it out: it is read off the input",
    "num_features": "leave it out: it is read off the input",
    "inplace": "leave it out: netc plans the memory",
    "name": "a name follows the call: `as enc`",
    "trainable": "parameters that stay as they are have `lr: 0`",
    "requires_grad": "parameters that stay as they are have `lr: 0`",
    "keep_prob": "`ratio` is the share that is dropped",
    "mode": "averages are a layer of their own, `|> avg_pool`",
    "ceil_mode": "it is `round: ceil`",
    "count_include_pad": "padding counts, as if it were true",
    "t_max": "leave it out: it is all of the `steps`",
    "eta_min": "`floor` is the share of the rate that is left at the end",
    "betas": "they are `momentum` and `momentum2`",
    "nesterov": "it is a solver of its own, `nesterov(lr: 0.1)`",
}

# Solvers, schedules, fillers and sources, as `plain` writes them; the first that is of the table asked about.
_XAVIER = Meant("xavier(variance: average)")
_HE = Meant("msra")
_TRUNCATED = none("`gaussian` is not cut off")
_ALL_STEPS = "over all `steps`"
USES: dict[str, tuple[Meant, ...]] = {
    "momentum": (Meant("sgd(momentum: 0.9)"),),
    "nadam": (none(),),
    "radam": (none(),),
    "adamax": (none(),),
    "sparseadam": (none(),),
    "adafactor": (none(),),
    "lbfgs": (none(),),
    "asgd": (none(),),
    "rprop": (none(),),
    "constant": (Meant("fixed"),),
    "constantlr": (none("`fixed` keeps the rate from the first step on; `warmup:` lowers it before"),),
    "linearlr": (Meant("fixed(warmup: 5, warmup_from: 0.2)"),),
    "steplr": (Meant("step"),),
    "steppolicy": (Meant("step"),),
    "multisteplr": (Meant("multistep"),),
    "piecewiseconstant": (near("multistep", "at each of its steps the rate is multiplied by the same `gamma`"),),
    "exponential": (Meant("exp", "whose `gamma` is of one step"),),
    "exponentiallr": (Meant("exp", "whose `gamma` is of one step"),),
    "exponentialdecay": (Meant("exp", "whose `gamma` is decay_rate ** (1 / decay_steps)"),),
    "inversetimedecay": (Meant("inv(power: 1)", "whose `gamma` is decay_rate / decay_steps"),),
    "polynomial": (Meant("poly", _ALL_STEPS),),
    "polynomiallr": (Meant("poly", _ALL_STEPS),),
    "polynomialdecay": (near("poly", "it ends at 0, after all `steps`"),),
    "cosineannealing": (Meant("cosine", f"{_ALL_STEPS}, down to the share `floor`"),),
    "cosineannealinglr": (Meant("cosine", f"{_ALL_STEPS}, down to the share `floor`"),),
    "cosinedecay": (Meant("cosine", f"{_ALL_STEPS}, down to the share `floor`"),),
    "cosineannealingwarmrestarts": (none("`cosine` goes down once, over all `steps`"),),
    "cycliclr": (none(),),
    "lambdalr": (none(),),
    "multiplicativelr": (none("`exp` multiplies by the same `gamma` at each step"),),
    "glorot": (_XAVIER,),
    "glorotuniform": (_XAVIER,),
    "xavieruniform": (_XAVIER,),
    "lecununiform": (Meant("xavier"),),
    "glorotnormal": (none("`xavier` is uniform"),),
    "xaviernormal": (none("`xavier` is uniform"),),
    "kaiminguniform": (none("`msra` is normal"),),
    "heuniform": (none("`msra` is normal"),),
    "lecunnormal": (none("`xavier` is uniform"),),
    "he": (_HE,),
    "kaiming": (_HE,),
    "kaimingnormal": (_HE,),
    "henormal": (near("msra", "it is not cut off at two deviations"),),
    "truncnormal": (_TRUNCATED,),
    "truncatednormal": (_TRUNCATED,),
    "normal": (Meant("gaussian"),),
    "randomnormal": (Meant("gaussian(std: 0.05)"),),
    "randomuniform": (Meant("uniform(min: -0.05, max: 0.05)"),),
    "zeros": (Meant("constant"),),
    "ones": (Meant("constant(value: 1)"),),
    "orthogonal": (none(),),
    "imagefolder": (Meant("images", "whose pixels go from 0 to 255: `scale: 1/255`"),),
    "imagedata": (Meant("image_list(order: bgr)"),),
    "hdf5data": (Meant("hdf5"),),
}

# Element types.
TYPES: dict[str, str] = {
    "float": "f32",
    "double": "f64",
    "half": "f16",
    "bfloat": "bf16",
    "int": "i32",
    "long": "i64",
    "byte": "u8",
    "uint8": "u8",
    "boolean": "bool",
}


class Key(NamedTuple):
    """What a key of another framework's training is here: a key of a `train` block, if it is one, and a remark."""

    name: str = ""
    more: str = ""


_RATE = Key("solver", "the rate is a setting of it: `solver: sgd(lr: 0.01)`")
_STEPS = Key("steps", "an epoch has as many of them as the data has batches")
_LOSS = Key("", "losses and metrics stand in the net: `loss nll = softmax_loss(scores, label)`")
_BATCH = Key("", "it is a setting of the data: `mnist(batch: 64)`")

KEYS: dict[str, Key] = {
    "max_iter": Key("steps"),
    "max_steps": Key("steps"),
    "num_steps": Key("steps"),
    "iterations": Key("steps"),
    "epochs": _STEPS,
    "epoch": _STEPS,
    "num_epochs": _STEPS,
    "max_epochs": _STEPS,
    "test_interval": Key("test", "`test: heldout every 500`"),
    "validation": Key("test"),
    "val": Key("test"),
    "optimizer": Key("solver"),
    "type": Key("solver"),
    "base_lr": _RATE,
    "lr": _RATE,
    "learning_rate": _RATE,
    "momentum": Key("solver", "the momentum is a setting of it: `solver: sgd(lr: 0.01, momentum: 0.9)`"),
    "weight_decay": Key("solver", "the decay is a setting of it: `solver: sgd(lr: 0.01, weight_decay: 0.0005)`"),
    "lr_policy": Key("schedule"),
    "scheduler": Key("schedule"),
    "lr_scheduler": Key("schedule"),
    "gamma": Key("schedule", "it is a setting of it: `schedule: exp(gamma: 0.99)`"),
    "power": Key("schedule", "it is a setting of it: `schedule: poly(power: 0.9)`"),
    "stepsize": Key("schedule", "it is a setting of it: `schedule: step(gamma: 0.1, every: 1000)`"),
    "stepvalue": Key("schedule", "it is a setting of it: `schedule: multistep(gamma: 0.1, at: [1000, 2000])`"),
    "momentum2": Key("solver", "it is a setting of it: `solver: adam(momentum2: 0.999)`"),
    "rms_decay": Key("solver", "it is a setting of it: `solver: rmsprop(lr: 0.01, rms_decay: 0.99)`"),
    "delta": Key("solver", "it is a setting of it: `solver: adam(delta: 1e-8)`"),
    "regularization_type": Key("solver", "it is a setting of it: `solver: sgd(lr: 0.01, decay: l1)`"),
    "test_iter": Key("test", "how many batches is a setting of the data: `mnist(batches: 100)`"),
    "average_loss": Key("display", "losses are averaged over so many steps"),
    "net": Key("", "the net stands after the word train"),
    "train_net": Key("", "the net stands after the word train"),
    "test_net": Key("", "the same net is tested"),
    "device_id": Key("", "it is a flag: netc train --device"),
    "iter_size": Key("accumulate"),
    "gradient_accumulation": Key("accumulate"),
    "gradient_accumulation_steps": Key("accumulate"),
    "clip_gradients": Key("clip"),
    "clipnorm": Key("clip", "it is of all gradients together"),
    "max_grad_norm": Key("clip"),
    "random_seed": Key("seed"),
    "data": Key("from"),
    "dataset": Key("from"),
    "checkpoint": Key("snapshot"),
    "snapshot_prefix": Key("snapshot"),
    "log_every": Key("display"),
    "test_initialization": Key("test", "`test: heldout every 500 from 0`"),
    "early_stopping": Key("stop", "`stop: no better top1 for 5 tests`"),
    "patience": Key("stop", "`stop: no better top1 for 5 tests`"),
    "save_best_only": Key("keep", "`keep: best(top1)`"),
    "loss": _LOSS,
    "metrics": _LOSS,
    "batch": _BATCH,
    "batch_size": _BATCH,
    "device": Key("", "it is a flag: netc train --device"),
    "solver_mode": Key("", "it is a flag: netc train --device"),
}


def then(hint: str, names: str) -> str:
    """A hint and after it the list of names that are known."""
    return f"{hint}{'' if hint.endswith('?') else ';'} {names}" if hint else names


def use(word: str, known: Iterable[str]) -> str:
    """A hint for the name of a solver, schedule, filler or source that there is not."""
    names = list(known)
    meant = [one for one in USES.get(plain(word), ()) if not one.code or one.code.partition("(")[0] in names]
    same = [name for name in names if plain(name) == plain(word)]
    if meant:
        return meant[0].hint()
    return f"did you mean `{same[0]}`?" if same else suggest(word, names)


def type_(word: str, known: Iterable[str]) -> str:
    """A hint for an element type that there is not."""
    meant = TYPES.get(word.lower())
    return f"did you mean `{meant}`?" if meant else suggest(word, known)


def setting(word: str, takes: Iterable[str]) -> str:
    """A hint for a setting that is not taken."""
    names = list(takes)
    meant = [name for name in SETTINGS.get(word, ()) if name in names]
    if not meant:
        return INSTEAD.get(word.lower()) or suggest(word, names)
    more = OTHERWISE.get((word, meant[0]), "")
    if meant[0] == "lr" and "share" in names and word in ("base_lr", "learning_rate"):
        more = "in a layer it multiplies the solver's rate"
    return f"did you mean `{meant[0]}`? {more}".strip()


def key(word: str, keys: Iterable[str]) -> str:
    """A hint for a key that a `train` block has not."""
    name, more = KEYS.get(word, Key())
    near = f"did you mean `{name}`?" if name else "" if more else suggest(word, keys)
    return f"{near} {more}".strip()
