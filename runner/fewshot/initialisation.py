"""An initialisation as one safetensors file: the weights, and in its header all that is needed to adapt them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from core.errors import InputError
from runner.fewshot.learning.adapt import Inner
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.task_networks import MLP, STATISTICS, Adapter, Conv4, Network, ResNet, TextMean, Weights

FORMAT = "metascout initialisation 1"  # raise the number when what the header or the names mean changes
NETWORKS: dict[str, type] = {kind.__name__: kind for kind in (Conv4, ResNet, TextMean, MLP, Adapter)}
KINDS = ("image", "text", "table", "waves")


@dataclass(frozen=True)
class Initialisation:
    """What a meta-training ends with.

    `weights` are the meta-parameters without a task axis, learned rates among them. `inputs` is the recipe that turns
    raw data into network inputs: `kind`, and for an "image" `shape` [height, width, channels] and, where the inputs are
    features of pretrained weights, `backbone` (the sha256 of their file), `mean` and `std` of each feature; a "text"
    `words` (the first has the id 2; 0 is padding), `stop` (words left out) and `length`; a "table" `columns` [{name,
    type, mean, std} or {name, type, levels}]; "waves" `columns` likewise, `group` (its name) and `target` {name, mean,
    std}.
    """

    algorithm: str
    network: Network
    inner: Inner
    weights: Weights
    inputs: dict[str, Any]

    @property
    def n_parameters(self) -> int:
        """Numbers among the weights of the network; learned rates do not count."""
        return sum(self.weights[name].numel() for name in self.network.shapes())


def save(initialisation: Initialisation, path: Path) -> None:
    """Write the file, whole or not at all."""
    body = {
        "algorithm": initialisation.algorithm,
        "network": {"name": type(initialisation.network).__name__, **asdict(initialisation.network)},
        "inner": asdict(initialisation.inner),
        "inputs": initialisation.inputs,
    }
    part = path.with_name(path.name + ".part")
    weights = {name: value.detach().cpu().contiguous() for name, value in initialisation.weights.items()}
    save_file(weights, part, {"format": FORMAT, "initialisation": json.dumps(body)})
    os.replace(part, path)


def load(path: Path) -> Initialisation:
    """Read a file that `save` wrote; it can hold numbers and texts only, no code.

    Raises InputError where the file is broken, of another version, or its weights do not fit its network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} is no initialisation that can be read ({error}). Train it again.") from None
    if header.get("format") != FORMAT:
        told = header.get("format", "without a name")
        raise InputError(f"{path.name} is of another version ({told}, not {FORMAT!r}). Train it again.")
    try:
        found = _parsed(json.loads(header["initialisation"]), weights)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"The header of {path.name} does not fit its weights ({error}). Train it again.") from None
    return found


def _parsed(body: dict[str, Any], weights: Weights) -> Initialisation:
    """Raises ValueError, TypeError or KeyError for what is not consistent."""
    kind = NETWORKS[body["network"].pop("name")]
    network, inner = kind(**body["network"]), Inner(**body["inner"])
    shapes = network.shapes()
    wanted = shapes | dict.fromkeys(inner.rates(network), (inner.steps,))
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if any(name.startswith(STATISTICS) for name in weights):
        kinds, norms = ("mean", "variance"), [name for name in shapes if "scale" in name]
        wanted |= {f"{STATISTICS}{name}.{kind}": shapes[name] for name in norms for kind in kinds}
    if found != wanted:
        wrong = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise ValueError(f"{wrong[0]}: {found.get(wrong[0])}, not {wanted.get(wrong[0])}")
    if body["algorithm"] not in ALGORITHMS or body["inputs"]["kind"] not in KINDS:
        raise ValueError(f"{body['algorithm']!r} on {body['inputs']['kind']!r} is unknown")
    return Initialisation(body["algorithm"], network, inner, weights, body["inputs"])
