"""Pretrained networks: their features are those of torchvision's layers."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from core.errors import InputError
from runner.fewshot import backbone_network
from tests.runner.fewshot.resnet_weights import (
    SMALL,
    SMALL_BLOCKS,
    State,
    changed,
    noise_images,
    plain_features,
    resnet,
    store,
)

pytestmark = pytest.mark.torch


RESNET18 = ((64, 128, 256, 512), (2, 2, 2, 2))


@pytest.mark.parametrize(
    ("state", "shape", "size"),
    [
        pytest.param(resnet(*RESNET18), (3, 32, 32), (128, 128), id="ResNet-18", marks=pytest.mark.slow),
        pytest.param(resnet(SMALL, SMALL_BLOCKS), (1, 24, 32), (128, 171), id="grey, no squares"),
        pytest.param(resnet(SMALL, SMALL_BLOCKS), (3, 130, 140), (130, 140), id="large enough"),
        pytest.param(resnet(SMALL, SMALL_BLOCKS, bottleneck=True), (3, 32, 32), (128, 128), id="bottlenecks"),
        pytest.param(resnet((8, 16, 32), (3, 3, 3), stem=3), (3, 32, 32), (32, 32), id="for CIFAR-10"),
    ],
)
def test_features_are_those_of_the_plain_network(
    home: Path, tmp_path: Path, state: State, shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    network = backbone_network.load(store(tmp_path, state))
    images = noise_images(3, *shape[1:], shape[0])
    expected = plain_features(state, images, size)
    assert expected.std(0).mean() > 0.01
    scale = float(expected.abs().max())
    features = backbone_network.extract_features(network, images.permute(0, 2, 3, 1).numpy())
    assert float((features - expected).abs().max()) < 1e-5 * scale
    exact = network.double()(backbone_network.input_layer(network, *shape[1:]).double()(images.double() / 255))
    # The means and deviations of ImageNet are float32.
    assert float((exact - expected).abs().max()) < 1e-6 * scale


def test_the_features_of_an_image_do_not_depend_on_its_batch(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = backbone_network.load(store(tmp_path, resnet(SMALL, SMALL_BLOCKS))), noise_images(7, 16, 16)
    [whole] = backbone_network.feature_batches(network, images)
    monkeypatch.setattr(backbone_network, "_BATCH_PIXELS", 3 * 128 * 128)
    parts = list(backbone_network.feature_batches(network, images))
    assert [len(part) for part in parts] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix", ["backbone.", "module.", "encoder.", "module.backbone."])
def test_a_prefix_of_all_names_is_removed(home: Path, tmp_path: Path, prefix: str) -> None:
    state = resnet(SMALL, SMALL_BLOCKS)
    named = {prefix + name: value for name, value in state.items()} | {"projector.0.weight": torch.zeros(3)}
    one, other = (backbone_network.load(store(tmp_path, weights)) for weights in (state, named))
    images = noise_images(2, 16, 16).permute(0, 2, 3, 1).numpy()
    assert torch.equal(backbone_network.extract_features(one, images), backbone_network.extract_features(other, images))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_floats_become_float32(home: Path, tmp_path: Path, kind: torch.dtype) -> None:
    state = {name: value.to(kind) for name, value in resnet(SMALL, SMALL_BLOCKS).items()}
    network, images = backbone_network.load(store(tmp_path, state)), noise_images(2, 16, 16)
    expected = plain_features(state, images, (128, 128))
    features = backbone_network.extract_features(network, images.permute(0, 2, 3, 1).numpy())
    assert features.dtype == torch.float32
    assert float((features - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def test_values_that_are_not_finite_are_refused(home: Path, tmp_path: Path) -> None:
    sha256 = store(tmp_path, changed(bn1__bias=torch.full((8,), torch.nan)))
    with pytest.raises(InputError, match=rf"bn1\.bias of the file {sha256[:12]} has values that are not finite"):
        backbone_network.load(sha256)
