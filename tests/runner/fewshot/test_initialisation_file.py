"""Initialisation files: they are read back as they were written, and other files are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.errors import InputError
from runner.fewshot import initialisation_file
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import MLP, Adapter, Conv4, initial_weights

pytestmark = pytest.mark.torch


def _waves() -> LoadedInitialisation:
    network, inner = MLP(2, 1, 8), Inner(3, 0.01, learned_rates=True)
    return LoadedInitialisation(
        "MAML", network, inner, initial_weights(network, 0) | inner.rates(network), {"kind": "waves", "columns": []}
    )


def test_an_initialisation_comes_back_as_it_was(tmp_path: Path) -> None:
    network = Conv4(1, 5, 4)
    inputs = {"kind": "image", "shape": [28, 28, 1]}
    for one in (
        _waves(),
        LoadedInitialisation("ProtoNet", network, Inner(steps=0), initial_weights(network, 1), inputs),
    ):
        initialisation_file.save(one, tmp_path / "meta.safetensors")
        other = initialisation_file.load(tmp_path / "meta.safetensors")
        assert (other.algorithm, other.network, other.inner) == (one.algorithm, one.network, one.inner)
        assert other.recipe == one.recipe
        assert other.n_parameters == sum(value.numel() for value in initial_weights(one.network, 0).values())
        assert sorted(other.weights) == sorted(one.weights)
        assert all(torch.equal(value, one.weights[name]) for name, value in other.weights.items())
    assert [path.name for path in tmp_path.iterdir()] == ["meta.safetensors"]


def test_a_broken_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "meta.safetensors"
    with pytest.raises(InputError, match=r"meta.safetensors is not a readable initialisation .* Train it again"):
        initialisation_file.load(path)
    initialisation_file.save(_waves(), path)
    whole = path.read_bytes()
    for broken in (b"", b"PK\3\4" + bytes(99), whole[: len(whole) // 2]):
        path.write_bytes(broken)
        with pytest.raises(InputError, match="is not a readable initialisation file"):
            initialisation_file.load(path)


def test_other_versions_and_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    path, one = tmp_path / "meta.safetensors", _waves()
    save_file(one.weights, path, {"format": "metascout initialisation 99"})
    with pytest.raises(InputError, match=r"another format \(metascout initialisation 99"):
        initialisation_file.load(path)
    initialisation_file.save(one, path)
    with initialisation_file.safe_open(path, framework="pt") as file:
        header = file.metadata()
    weights = one.weights | {"weight1": torch.zeros(3, 3)}
    save_file(weights, path, header)
    with pytest.raises(InputError, match=r"weight1: \(3, 3\), not \(8, 8\)"):
        initialisation_file.load(path)
    body = json.loads(header["initialisation"])
    for wrong in ({"network": {"name": "Nothing"}}, {"inner": {"steps": 3, "colour": 1}}, {"algorithm": "Magic"}):
        save_file(one.weights, path, header | {"initialisation": json.dumps(body | wrong)})
        with pytest.raises(InputError, match="does not fit its weights"):
            initialisation_file.load(path)


def test_an_initialisation_on_features_comes_back_as_it_was(tmp_path: Path) -> None:
    network = Adapter(5, 3)
    recipe = {"kind": "image", "shape": [8, 8, 3], "backbone": "0" * 64, "mean": [0.1] * 5, "std": [1.5] * 5}
    one = LoadedInitialisation("ANIL", network, Inner(steps=2, only_head=True), initial_weights(network, 1), recipe)
    initialisation_file.save(one, tmp_path / "meta.safetensors")
    other = initialisation_file.load(tmp_path / "meta.safetensors")
    assert (other.network, other.recipe) == (network, recipe)
    assert other.n_parameters == 5 * 5 + 5 + 3 * 5 + 3
