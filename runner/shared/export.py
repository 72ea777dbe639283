"""A trained network as files that do not need Metascout: model.py (plain PyTorch), weights.pt and model.onnx."""

from __future__ import annotations

import inspect
import logging
import textwrap
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from pprint import pformat
from typing import Any

import torch
from torch import Tensor, nn

from runner.shared.input_scaling import Columns, InputScaling, Pixels

_HEAD = '''"""{title}.

Plain PyTorch. Use: from model import load; model = load("weights.pt"); model(x).
Input: {takes}
Output: {gives}
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence

import torch
from torch import Tensor, nn

'''
_TAIL = '''

class Model(nn.Module):
    """Raw inputs to {gives}"""

    def __init__(self) -> None:
        super().__init__()
        self.front = {front}
        self.network = Network()
        {scale}

    def forward(self, x: Tensor) -> Tensor:
        outputs = self.network(self.front(x))
        return {last}


def load(weights: str) -> Model:
    """Return the model with its trained weights, ready to predict."""
    model = Model()
    model.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    return model.eval()
'''
_INPUTS = {
    "Pixels": "pixel values 0 to 255, [rows, channels, height, width]",
    "Columns": "doubles [rows, columns]: numbers, NaN where missing, then category codes, 0 where unknown",
    "Tokens": "integer token codes [rows, length]: 0 after the end of the text, 1 for an unknown word",
}

Calls = Mapping[type[nn.Module], Callable[[Any], str]]  # for a layer class of our own: the call that builds a layer


def source(
    network: nn.Module,
    scaling: InputScaling,
    title: str,
    labels: Sequence[str],
    calls: Calls | None = None,
    statements: Sequence[str] = (),
) -> str:
    """Return the text of model.py, which begins with the title; without labels the network predicts a number.

    The sources of the classes in `calls`, and of the network's `forward`, are copied into it: they may use torch only.
    `statements` set what else `forward` needs: they are run in the network's `__init__` before its layers are built.
    """
    calls = calls or {}
    regression = not labels
    gives = "predicted numbers [rows]." if regression else "probabilities [rows, classes] of CLASSES."
    about = {"title": title, "takes": _INPUTS[type(scaling).__name__], "gives": gives}
    classes = f"CLASSES = {pformat(tuple(labels), width=110, compact=True)}\n\n" if labels else ""
    parts = [_HEAD.format(**about), classes, "\n" + inspect.getsource(type(scaling))]
    parts += ["\n\n" + inspect.getsource(kind) for kind in calls]
    scale = 'self.register_buffer("scale", torch.tensor([0.0, 1.0]))  # mean and deviation of the target'
    last = "outputs.squeeze(1) * self.scale[1] + self.scale[0]" if regression else "outputs.softmax(1)"
    tail = _TAIL.format(gives=gives, front=_scaling_call(scaling), scale=scale if regression else "", last=last)
    return "".join([*parts, "\n\n", _network_source(network, calls, statements), tail.replace("\n        \n", "\n")])


def module(text: str, network: nn.Module, scaling: InputScaling, target_scale: tuple[float, float] | None) -> nn.Module:
    """Return the model that the text of model.py defines, with the trained weights in it."""
    names: dict[str, Any] = {"__name__": "model"}
    exec(compile(text, "model.py", "exec"), names)
    model: nn.Module = names["Model"]()
    state = {f"network.{name}": tensor for name, tensor in network.state_dict().items()}
    state |= {f"front.{name}": tensor for name, tensor in scaling.state_dict().items()}
    if target_scale is not None:
        state["scale"] = torch.tensor(target_scale)
    model.load_state_dict(state)
    return model.eval()


def write(model: nn.Module, text: str, example: Tensor, directory: Path) -> dict[str, Path]:
    """Write the three files, and return them by kind of artifact. `example` holds two or more raw rows."""
    directory.mkdir(parents=True, exist_ok=True)
    files = {name: directory / name for name in ("model.py", "weights.pt", "model.onnx")}
    files["model.py"].write_text(text, encoding="utf-8")
    torch.save(model.state_dict(), files["weights.pt"])
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it warns about operators that these networks do not use
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            model, (example,), str(files["model.onnx"]), input_names=["x"], output_names=["y"],
            dynamic_shapes=({0: torch.export.Dim.DYNAMIC},), dynamo=True, external_data=False, verbose=False,
        )  # fmt: skip
    return {"torch_module": files["model.py"], "torch_weights": files["weights.pt"], "onnx": files["model.onnx"]}


def _scaling_call(scaling: InputScaling) -> str:
    if isinstance(scaling, Pixels):
        return f"Pixels({len(scaling.mean)})"
    if isinstance(scaling, Columns):
        return f"Columns({scaling.numeric}, {scaling.flagged}, {scaling.low.shape[1] + 1})"
    return "Tokens()"


def _network_source(network: nn.Module, calls: Calls, statements: Sequence[str]) -> str:
    """Return the source of the class Network, with every size as a number."""
    lines = ["class Network(nn.Module):", '    """The layers, with their sizes."""', ""]
    lines += ["    def __init__(self) -> None:", "        super().__init__()"]
    lines += [textwrap.indent(statement, " " * 8) for statement in statements]
    for name, child in network.named_children():
        lines += [textwrap.indent(f"self.{name} = {_layer_call(child, calls)}", " " * 8)]
    if isinstance(network, nn.Sequential):
        lines += ["", "    def forward(self, x: Tensor) -> Tensor:"]
        lines += [f"        x = self.{name}(x)" for name, _ in network.named_children()]
        return "\n".join([*lines, "        return x"]) + "\n"
    return "\n".join(lines) + "\n\n" + inspect.getsource(type(network).forward)


def _layer_call(layer: nn.Module, calls: Calls) -> str:
    """Return the call that builds a layer; for a layer of torch it is the layer's repr."""
    if type(layer) in calls:
        return calls[type(layer)](layer)
    if isinstance(layer, nn.Sequential):
        inner = ",\n".join(f'("{name}", {_layer_call(child, calls)})' for name, child in layer.named_children())
        return "nn.Sequential(OrderedDict([\n" + textwrap.indent(inner, "    ") + ",\n]))"
    if isinstance(layer, nn.ModuleList):
        return (
            "nn.ModuleList([\n"
            + textwrap.indent(",\n".join(_layer_call(child, calls) for child in layer), "    ")
            + ",\n])"
        )
    return f"nn.{layer!r}"
