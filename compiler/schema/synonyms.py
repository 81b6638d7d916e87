"""What Caffe, PyTorch and Keras call things, beside netc's names: for the hints of messages about unknown names.

Caffe's names of layers stand with the layers (`Layer.caffe`); all others are here. A test holds every name of netc that
is in these tables against the registries.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from ...grammar.source import suggest

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
    "betas": "they are `momentum` and `momentum2`",
    "nesterov": "it is a solver of its own, `nesterov(lr: 0.1)`",
}

# What is called in a net, as `plain` writes it, and how it is called here.
CALLS: dict[str, str] = {
    "dense": "linear",
    "fc": "linear",
    "fullyconnected": "linear",
    "convtranspose": "deconv",
    "convolutiontranspose": "deconv",
    "conv2dtranspose": "deconv",
    "conv3dtranspose": "deconv",
    "maxpooling": "max_pool",
    "avgpooling": "avg_pool",
    "averagepooling": "avg_pool",
    "adaptiveavgpool": "avg_pool(global: true)",
    "adaptivemaxpool": "max_pool(global: true)",
    "globalavgpool": "avg_pool(global: true)",
    "globalaveragepooling": "avg_pool(global: true)",
    "globalmaxpool": "max_pool(global: true)",
    "globalmaxpooling": "max_pool(global: true)",
    "batchnormalization": "batch_norm",
    "layernorm": "mvn(across_channels: true)",
    "layernormalization": "mvn(across_channels: true)",
    "instancenorm": "mvn",
    "localresponsenorm": "lrn",
    "embedding": "embed",
    "leakyrelu": "relu(negative_slope: 0.01)",
    "silu": "swish",
    "hardtanh": "clip(min: -1, max: 1)",
    "relu6": "clip(min: 0, max: 6)",
    "cat": "concat",
    "concatenate": "concat",
    "unfold": "im2col",
    "view": "reshape",
    "crossentropy": "softmax_loss",
    "crossentropyloss": "softmax_loss",
    "softmaxcrossentropy": "softmax_loss",
    "categoricalcrossentropy": "softmax_loss",
    "sparsecategoricalcrossentropy": "softmax_loss",
    "nllloss": "multinomial_loss",
    "bceloss": "sigmoid_loss",
    "bcewithlogitsloss": "sigmoid_loss",
    "binarycrossentropy": "sigmoid_loss",
    "binarycrossentropywithlogits": "sigmoid_loss",
    "mse": "euclidean_loss",
    "mseloss": "euclidean_loss",
    "meansquarederror": "euclidean_loss",
    "l2loss": "euclidean_loss",
    "multimarginloss": "hinge_loss",
}

# Of these the operand may be another than the user expects.
OPERANDS: dict[str, str] = {
    "softmax_loss": "of scores, before any softmax",
    "sigmoid_loss": "of scores, before any sigmoid",
    "multinomial_loss": "of probabilities",
    "euclidean_loss": "half the sum of squares, for each item",
}

# Solvers, schedules, fillers and sources, as `plain` writes them.
USES: dict[str, tuple[str, ...]] = {
    "momentum": ("sgd",),
    "constant": ("fixed",),
    "constantlr": ("fixed",),
    "steplr": ("step",),
    "steppolicy": ("step",),
    "multisteplr": ("multistep",),
    "piecewiseconstant": ("multistep",),
    "exponential": ("exp",),
    "exponentiallr": ("exp",),
    "exponentialdecay": ("exp",),
    "inversetimedecay": ("inv",),
    "polynomial": ("poly",),
    "polynomiallr": ("poly",),
    "polynomialdecay": ("poly",),
    "cosineannealing": ("cosine",),
    "cosineannealinglr": ("cosine",),
    "cosinedecay": ("cosine",),
    "glorot": ("xavier",),
    "glorotuniform": ("xavier",),
    "xavieruniform": ("xavier",),
    "he": ("msra",),
    "henormal": ("msra",),
    "kaiming": ("msra",),
    "kaimingnormal": ("msra",),
    "normal": ("gaussian",),
    "randomnormal": ("gaussian",),
    "randomuniform": ("uniform",),
    "zeros": ("constant",),
    "ones": ("constant",),
    "imagefolder": ("images",),
    "imagedata": ("image_list",),
    "hdf5data": ("hdf5",),
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
    "iter_size": Key("accumulate"),
    "gradient_accumulation": Key("accumulate"),
    "gradient_accumulation_steps": Key("accumulate"),
    "clip_gradients": Key("clip"),
    "clipnorm": Key("clip"),
    "max_grad_norm": Key("clip"),
    "random_seed": Key("seed"),
    "data": Key("from"),
    "dataset": Key("from"),
    "checkpoint": Key("snapshot"),
    "snapshot_prefix": Key("snapshot"),
    "log_every": Key("display"),
    "loss": _LOSS,
    "metrics": _LOSS,
    "batch": _BATCH,
    "batch_size": _BATCH,
    "device": Key("", "it is a flag: netc train --device"),
    "solver_mode": Key("", "it is a flag: netc train --device"),
}


def plain(word: str) -> str:
    """A name without what frameworks differ in: `MaxPool2d`, `max_pool` and `maxpool` are one."""
    return re.sub(r"([123]d|layer)$", "", word.lower().replace("_", ""))


def call(word: str, layers: Iterable[str], known: Iterable[str]) -> str:
    """A hint for the name of a layer, op or block that there is not. known: what can be called, layers included."""
    name = plain(word)
    meant = CALLS.get(name) or next((layer for layer in layers if plain(layer) == name), "")
    more = f", {OPERANDS[meant]}" if meant in OPERANDS else ""
    return f"here it is called `{meant}`{more}" if meant else suggest(word, known)


def then(hint: str, names: str) -> str:
    """A hint and after it the list of names that are known."""
    return f"{hint}{'' if hint.endswith('?') else ';'} {names}" if hint else names


def use(word: str, known: Iterable[str]) -> str:
    """A hint for the name of a solver, schedule, filler or source that there is not."""
    names = list(known)
    same = [name for name in names if plain(name) == plain(word)]
    meant = [name for name in (*USES.get(plain(word), ()), *same) if name in names]
    return f"did you mean `{meant[0]}`?" if meant else suggest(word, names)


def type_(word: str, known: Iterable[str]) -> str:
    """A hint for an element type that there is not."""
    meant = TYPES.get(word.lower())
    return f"did you mean `{meant}`?" if meant else suggest(word, known)


def setting(word: str, takes: Iterable[str]) -> str:
    """A hint for a setting that is not taken."""
    names = list(takes)
    meant = [name for name in SETTINGS.get(word, ()) if name in names]
    if not meant:
        return INSTEAD.get(word) or suggest(word, names)
    return f"did you mean `{meant[0]}`? {OTHERWISE.get((word, meant[0]), '')}".strip()


def key(word: str, keys: Iterable[str]) -> str:
    """A hint for a key that a `train` block has not."""
    name, more = KEYS.get(word, Key())
    near = f"did you mean `{name}`?" if name else "" if more else suggest(word, keys)
    return f"{near} {more}".strip()
