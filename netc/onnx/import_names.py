"""ImportedNames in a net that is read from a model: words for values, and the names of layers, each taken once."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ..compiler.caffe.nets import identifier
from ..compiler.layers import LAYERS
from ..grammar.actions import RESERVED
from ..runtime.onnx.model import ModelNode

OPENING = {"input", "param", "loss", "metric", "output", "data", "train"}


@dataclass
class ImportedNames:
    """The words and labels that are taken."""

    taken: set[str] = field(default_factory=set)
    labels: set[str] = field(default_factory=set)
    numbers: dict[tuple[str, bool], int] = field(default_factory=dict)

    def word(self, wanted: str) -> str:
        """A new name of a value."""
        owner, _, last = scoped(re.sub(r"_output_\d+$", "", wanted)).rpartition("/")
        text = owner if owner and last[:1].isupper() else f"{owner}_{last}"
        text = identifier(text.replace(".", "_"))[:48].strip("_") or "value"
        text = f"v{text}" if not text[0].isalpha() else text
        text = f"{text}_" if text in RESERVED or text in OPENING or text in LAYERS else text
        return self._free(text, self.taken)

    def label(self, source: str, node: ModelNode) -> str:
        """The name of a layer with parameters: that of its weights without the last part, else the node's."""
        owner, point, _ = source.rpartition(".")
        given = node.name or node.outputs[0]
        # Exporters share equal weights: then those of another layer have the name.
        own = point and owner.replace("/", ".") not in self.labels
        text = owner if own else scoped(given.strip("/").rpartition("/")[0] or given).replace("/", ".")
        text = re.sub(r"[^\w./-]+", "_", text, flags=re.ASCII).strip("./_-") or node.op.lower()
        return self._free(text, self.labels)

    def _free(self, text: str, taken: set[str]) -> str:
        """A name that is not taken: `/` and `.` count as the same. It goes on counting where it left off."""
        name = text
        while name.replace("/", ".") in taken:
            key = text, taken is self.labels
            self.numbers[key] = self.numbers.get(key, 1) + 1
            name = f"{text}_{self.numbers[key]}"
        taken.add(name.replace("/", "."))
        return name


def scoped(name: str) -> str:
    """`/layer1/layer1.0/conv1/Conv`, as PyTorch names a node, without what it says twice: `layer1.0/conv1/Conv`."""
    parts = [part for part in name.split("/") if part]
    kept = [part for part, after in zip(parts, [*parts[1:], ""], strict=False) if not after.startswith(f"{part}.")]
    return "/".join(kept) or name
