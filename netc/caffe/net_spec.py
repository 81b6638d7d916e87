"""An embedded language for net descriptions: Python calls build a graph of layers, which becomes a NetParameter.

`layers.Convolution(data, kernel_size=5)` is a layer and gives its top (several: a tuple of them; `ntop=0`: the layer);
`params.Pooling.MAX` is a value of an enumeration. What is given by keyword goes to the field of the layer's own message
(`convolution_param`), else to that of the layer. Names, and what a top without one is called, are pycaffe's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from .proto import caffe_pb2

Names = dict[Any, str]
Layered = dict["Function", Any]


def param_name_dict() -> dict[str, str]:
    """The message of a type of layers: `{"Convolution": "convolution", …}`, without `Parameter` and `_param`."""
    fields = [field for field in caffe_pb2.LayerParameter.DESCRIPTOR.fields if field.name.endswith("_param")]
    return {field.message_type.name.removesuffix("Parameter"): field.name.removesuffix("_param") for field in fields}


def to_proto(*tops: Top) -> Any:
    """The NetParameter of all layers that the tops need, each named by its type and a number."""
    layers: Layered = {}
    counts: Counter[str] = Counter()
    for top in tops:
        top.fn._to_proto(layers, {}, counts)
    return _net(layers)


def _net(layers: Layered) -> Any:
    net = caffe_pb2.NetParameter()
    net.layer.extend(layers.values())
    return net


def assign_proto(proto: Any, name: str, val: Any) -> None:
    """Set a field of a message: a mapping is a message, a list a repeated field, and there one value a list of one.

    AttributeError where the message has no such field, TypeError or ValueError where it does not take the value.
    """
    repeated = hasattr(getattr(proto, name), "extend")
    if isinstance(val, list | tuple) or repeated:
        values = val if isinstance(val, list | tuple) else [val]
        if any(isinstance(value, Mapping) for value in values):
            for value in values:
                _fill(getattr(proto, name).add(), value)
        else:
            getattr(proto, name).extend(values)
    elif isinstance(val, Mapping):
        getattr(proto, name).SetInParent()
        _fill(getattr(proto, name), val)
    else:
        setattr(proto, name, val)


def _fill(message: Any, values: Mapping[str, Any]) -> None:
    for key, value in values.items():
        assign_proto(message, key, value)


class Top:
    """One of the blobs that a layer makes: number `n` of `fn`."""

    def __init__(self, fn: Function, n: int) -> None:
        self.fn, self.n = fn, n

    def to_proto(self) -> Any:
        """The NetParameter of all layers that this blob needs."""
        return to_proto(self)

    def _to_proto(self, layers: Layered, names: Names, autonames: Counter[str]) -> None:
        self.fn._to_proto(layers, names, autonames)


class Function:
    """A layer: its type, the tops that it reads, its settings.

    TypeError if an input is no top. `ntop` (1) tops; `in_place=True`: they are named as the bottoms.
    """

    def __init__(self, type_name: str, inputs: tuple[Any, ...], params: dict[str, Any]) -> None:
        for i, given in enumerate(inputs):
            if not isinstance(given, Top):
                raise TypeError(f"{type_name} input {i} is not a Top (type is {type(given)})")
        self.type_name, self.inputs = type_name, inputs
        self.params = {key: value for key, value in params.items() if key not in ("ntop", "in_place")}
        self.ntop: int = params.get("ntop", 1)
        self.in_place: bool = params.get("in_place", False)
        self.tops = tuple(Top(self, n) for n in range(self.ntop))

    def _named(self, key: Function | Top, names: Names, autonames: Counter[str]) -> str:
        if key not in names:
            autonames[self.type_name] += 1
            names[key] = f"{self.type_name}{autonames[self.type_name]}"
        return names[key]

    def _to_proto(self, layers: Layered, names: Names, autonames: Counter[str]) -> None:
        """Add the layer to `layers`, after those that it reads."""
        for reached in self._below(layers):
            layers[reached] = reached._message(layers, names, autonames)

    def _below(self, done: Mapping[Function, Any]) -> list[Function]:
        """This layer and those below it that are not done, bottoms first. No recursion: nets are thousands deep."""
        order: dict[Function, None] = {}
        stack = [(self, iter(self.inputs))]
        while stack:
            layer, inputs = stack[-1]
            following = next((top.fn for top in inputs if top.fn not in done and top.fn not in order), None)
            if following is not None:
                stack.append((following, iter(following.inputs)))
            else:
                stack.pop()
                if layer not in done:
                    order[layer] = None
        return list(order)

    def _message(self, layers: Layered, names: Names, autonames: Counter[str]) -> Any:
        layer = caffe_pb2.LayerParameter(type=self.type_name)
        layer.bottom.extend(layers[top.fn].top[top.n] for top in self.inputs)
        layer.top.extend(layer.bottom if self.in_place else (self._named(top, names, autonames) for top in self.tops))
        if self.tops and self not in names:
            names[self] = self._named(self.tops[0], names, autonames)
        layer.name = self._named(self, names, autonames)
        own = f"{_PARAM_NAMES.get(self.type_name, '')}_param"
        for key, value in self.params.items():
            message = getattr(layer, own, None)
            inside = not key.endswith("param") and message is not None and key in message.DESCRIPTOR.fields_by_name
            assign_proto(message if inside else layer, key, value)
        return layer


class NetSpec:
    """A net whose blobs are named: `n.conv1 = layers.Convolution(n.data, …)`, or `n["conv1"] = …`."""

    tops: dict[str, Top | Function]

    def __init__(self) -> None:
        super().__setattr__("tops", {})

    def __setattr__(self, name: str, value: Any) -> None:
        if not isinstance(value, Top | Function):
            raise TypeError(f"{name} is not a Top (type is {type(value)}); several tops want a name each")
        self.tops[name] = value

    def __getattr__(self, name: str) -> Any:
        if name == "tops" or name not in self.tops:
            raise AttributeError(f"the net has no top named {name!r}")
        return self.tops[name]

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __getitem__(self, name: str) -> Any:
        return self.tops[name]

    def keys(self) -> list[str]:
        """The names, in the order in which they were given."""
        return list(self.tops)

    def vals(self) -> list[Top | Function]:
        """The tops, in the order in which they were given."""
        return list(self.tops.values())

    def update(self, name: str, params: Mapping[str, Any]) -> None:
        """More settings for the layer of a top."""
        top = self.tops[name]
        (top.fn if isinstance(top, Top) else top).params.update(params)

    def to_proto(self) -> Any:
        """The NetParameter of all layers that the named tops need; the others are named by their type and a number."""
        names: Names = {top: name for name, top in self.tops.items()}
        layers: Layered = {}
        counts: Counter[str] = Counter()
        for top in self.tops.values():
            top._to_proto(layers, names, counts)
        return _net(layers)


class Layers:
    """Every type of layers as a function, Caffe's and others: `Layers().Convolution(data, num_output=20)`."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        if name.startswith("_"):
            raise AttributeError(name)

        def layer(*bottoms: Any, **settings: Any) -> Any:
            made = Function(name, bottoms, settings)
            if made.ntop == 0:
                return made
            return made.tops[0] if made.ntop == 1 else made.tops

        return layer


class Parameters:
    """The values of enumerations by the message that has them: `Parameters().Pooling.MAX`."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(caffe_pb2, f"{name}Parameter")


_PARAM_NAMES = param_name_dict()
layers = Layers()
params = Parameters()
