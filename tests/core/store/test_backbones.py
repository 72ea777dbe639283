"""Files of pretrained weights: what is stored, and what is refused and why."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from core.__main__ import main
from core.errors import InputError
from core.store import artifacts, backbones
from tests.runner.fewshot.resnet_weights import SMALL, SMALL_BLOCKS, State, changed, resnet, store

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (changed(layer2__1__bn2__bias=None), r"weights.safetensors has no layer2\.1\.bn2\.bias, which a ResNet needs"),
        (changed(layer3__0__downsample__0__weight=None), r"has no layer3\.0\.downsample\.0\.weight"),
        (changed(layer1__0__conv2__weight=torch.zeros(9, 8, 3, 3)), r"layer1\.0\.conv2\.weight .* \[9, 8, 3, 3\]"),
        (changed(bn1__weight=torch.zeros(5)), r"bn1\.weight of .* has the shape \[5\], but \[8\] fits"),
        (changed(conv1__weight=torch.zeros(8, 1, 7, 7)), r"\[8, 1, 7, 7\], but \[8, 3, 7, 7\] fits .* RGB images"),
        (changed(conv1__weight=torch.zeros(8)), r"conv1\.weight of .* has the shape \[8\]"),
        (changed(layer1__0__se__fc__weight=torch.zeros(4)), r"has layer1\.0\.se\.fc\.weight, which is not part of"),
        (changed(conv1__weight=torch.zeros(8, 3, 7, 7, dtype=torch.int8)), r"conv1\.weight of .* has the type I8"),
        ({"blocks.0.weight": torch.zeros(3)}, r"no ResNet with torchvision's names .*\"resnet18.safetensors\"\)\.$"),
    ],
)  # fmt: skip
def test_a_file_that_is_not_a_resnet_is_refused_with_the_wrong_tensor(
    home: Path, tmp_path: Path, state: State, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        store(tmp_path, state)
    assert not (home / "artifacts").exists()


def test_a_file_that_is_not_a_safetensors_file_is_refused_with_the_way_to_write_one(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (b"", b"PK\3\4" + bytes(99), (2**60).to_bytes(8, "little")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"weights.pth is not a safetensors file .* safetensors.torch.save_file\("):
            backbones.store(path, path.name)
    with pytest.raises(InputError, match="is not a safetensors file"):
        backbones.store(tmp_path / "nothing", "nothing")


def test_the_command_stores_weights_and_prints_their_sha256(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(resnet(SMALL, SMALL_BLOCKS), path)
    assert main(["fewshot-weights", str(path)]) == 0
    assert artifacts.locate(capsys.readouterr().out.strip()).read_bytes() == path.read_bytes()
    path.write_bytes(b"no weights")
    assert main(["fewshot-weights", str(path)]) == 1
    assert "weights.safetensors is not a safetensors file" in capsys.readouterr().err
