"""An initialisation as one safetensors file: the weights, and a header with everything needed to adapt them."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from core.errors import InputError
from runner.fewshot.learning.algorithms import ALGORITHMS
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import (
    MLP,
    STATISTICS_PREFIX,
    Adapter,
    Conv4,
    Network,
    ResNet,
    TextMean,
    Weights,
)

FORMAT = "metascout initialisation 1"  # raise the number when the meaning of the header or of the names changes
NETWORKS: dict[str, type] = {kind.__name__: kind for kind in (Conv4, ResNet, TextMean, MLP, Adapter)}
DATA_KINDS = ("image", "text", "table", "waves")
_REMEDY = "Train it again."


@dataclass(frozen=True)
class LoadedInitialisation:
    """The result of a meta-training.

    `weights` are the meta-parameters without a task axis, learned rates among them. `recipe` says how raw data becomes
    network inputs. It has `kind` and, for "image", `shape` [height, width, channels] and, where the inputs are features
    of pretrained weights, `backbone` (the sha256 of their file), `mean` and `std` of each feature; for "text", `words`
    (the first has the number 2; 0 is padding), `stop` (ignored words) and `length`; for "table", `columns` [{name,
    type, mean, std} or {name, type, levels}]; for "waves", `columns` likewise, `group` (its name) and `target` {name,
    mean, std}.
    """

    algorithm: str
    network: Network
    inner: Inner
    weights: Weights
    recipe: dict[str, Any]

    @property
    def n_parameters(self) -> int:
        """The number of network parameters, without learned rates."""
        return sum(self.weights[name].numel() for name in self.network.shapes())


def save(initialisation: LoadedInitialisation, path: Path) -> None:
    """Write the file atomically."""
    body = {
        "algorithm": initialisation.algorithm,
        "network": {"name": type(initialisation.network).__name__, **asdict(initialisation.network)},
        "inner": asdict(initialisation.inner),
        "inputs": initialisation.recipe,
    }
    part = path.with_name(path.name + ".part")
    weights = {name: value.detach().cpu().contiguous() for name, value in initialisation.weights.items()}
    save_file(weights, part, {"format": FORMAT, "initialisation": json.dumps(body)})
    os.replace(part, path)


def load(path: Path) -> LoadedInitialisation:
    """Read a file that `save` wrote. It can hold numbers and texts only, no code.

    Raises InputError if the file is broken, of another version, or its weights do not fit its network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (it is no dict)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{path.name} is not a readable initialisation file ({error}).", remedy=_REMEDY) from None
    if header.get("format") != FORMAT:
        version = header.get("format", "none")
        text = f"{path.name} has another format ({version}, not {FORMAT!r})."
        raise InputError(text, remedy=_REMEDY)
    try:
        return _parse(json.loads(header["initialisation"]), weights)
    except (KeyError, TypeError, ValueError) as error:
        text = f"The header of {path.name} does not fit its weights ({error})."
        raise InputError(text, remedy=_REMEDY) from None


def _parse(body: dict[str, Any], weights: Weights) -> LoadedInitialisation:
    """Return the initialisation. Raises ValueError, TypeError or KeyError where header and weights do not fit."""
    kind = NETWORKS[body["network"].pop("name")]
    network, inner = kind(**body["network"]), Inner(**body["inner"])
    shapes = network.shapes()
    expected = shapes | dict.fromkeys(inner.rates(network), (inner.steps,))
    actual = {name: tuple(value.shape) for name, value in weights.items()}
    if any(name.startswith(STATISTICS_PREFIX) for name in weights):
        kinds, norms = ("mean", "variance"), [name for name in shapes if "scale" in name]
        expected |= {f"{STATISTICS_PREFIX}{name}.{kind}": shapes[name] for name in norms for kind in kinds}
    if actual != expected:
        wrong = sorted(name for name in actual.keys() | expected.keys() if actual.get(name) != expected.get(name))
        raise ValueError(f"{wrong[0]}: {actual.get(wrong[0])}, not {expected.get(wrong[0])}")
    if body["algorithm"] not in ALGORITHMS or body["inputs"]["kind"] not in DATA_KINDS:
        raise ValueError(f"{body['algorithm']!r} on {body['inputs']['kind']!r} is unknown")
    return LoadedInitialisation(body["algorithm"], network, inner, weights, body["inputs"])
