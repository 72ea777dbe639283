"""Pretrained weights: their files, the features they make, and few-shot learning on these."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

from core import datasets, results
from core.__main__ import main
from core.datasets import Dataset
from core.datasets.images import examples
from core.errors import InputError
from core.events import Adapted, Event, Message, Progress
from core.queue import jobs
from core.results import initialisations
from core.specs import FewShotSpec, FineTuneSpec, parse
from core.store import artifacts, backbones
from runner import loop
from runner.fewshot import backbone_features, backbone_network, initialisation_file, recipes
from runner.fewshot.deploy import _BACKBONE_CALLS, adapted, front
from runner.fewshot.initialisation_file import LoadedInitialisation
from runner.fewshot.job import run
from runner.fewshot.learning.inner_loop import Inner
from runner.fewshot.learning.task_networks import Adapter, initial_weights
from runner.fewshot.task_adaptation import adapt_task
from runner.fewshot.training_setup import set_up
from runner.nas.space import export
from runner.shared.context import Context
from tests.patterns import run_here
from tests.pictures import pixels

State = dict[str, Tensor]
SMALL, SMALL_BLOCKS = (8, 8, 12, 16), (1, 2, 1, 1)


def resnet(widths: Sequence[int], blocks: Sequence[int], *, bottleneck: bool = False, stem: int = 7) -> State:
    """A state dict of random numbers by torchvision's names."""
    generator = torch.Generator().manual_seed(0)
    state: State = {}

    def convolution(name: str, norm: str, before: int, after: int, side: int) -> int:
        deviation = (2 / (before * side * side)) ** 0.5
        state[f"{name}.weight"] = deviation * torch.randn(after, before, side, side, generator=generator)
        for part in ("weight", "running_var"):
            state[f"{norm}.{part}"] = 0.5 + torch.rand(after, generator=generator)
        for part in ("bias", "running_mean"):
            state[f"{norm}.{part}"] = 0.2 * torch.randn(after, generator=generator)
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
        return after

    before = convolution("conv1", "bn1", 3, widths[0], stem)
    for layer, (width, count) in enumerate(zip(widths, blocks, strict=True), 1):
        for number in range(count):
            name, entry = f"layer{layer}.{number}", before
            sizes = ((1, width), (3, width), (1, 4 * width)) if bottleneck else ((3, width), (3, width))
            for place, (side, after) in enumerate(sizes, 1):
                before = convolution(f"{name}.conv{place}", f"{name}.bn{place}", before, after, side)
            if number == 0 and (layer > 1 or entry != before):
                convolution(f"{name}.downsample.0", f"{name}.downsample.1", entry, before, 1)
    return state | {"fc.weight": torch.zeros(10, before), "fc.bias": torch.zeros(10)}


def plain_features(state: State, images: Tensor, size: tuple[int, int]) -> Tensor:
    """What torchvision's network makes of images uint8 [n, channels, height, width] before fc, all in float64."""
    state = {name: value.double() for name, value in state.items()}

    def convolved(x: Tensor, name: str, norm: str, stride: int) -> Tensor:
        weight = state[f"{name}.weight"]
        x = F.conv2d(x, weight, None, stride, weight.shape[2] // 2)
        parts = (state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias"))
        return F.batch_norm(x, *parts)

    x = images.double().expand(-1, 3, -1, -1) / 255
    x = x - torch.tensor([0.485, 0.456, 0.406]).double().view(3, 1, 1)
    x = x / torch.tensor([0.229, 0.224, 0.225]).double().view(3, 1, 1)
    x = F.interpolate(x, size, mode="bilinear", align_corners=False)
    large = state["conv1.weight"].shape[2] == 7
    x = convolved(x, "conv1", "bn1", 2 if large else 1).relu()
    x = F.max_pool2d(x, 3, 2, 1) if large else x
    names = dict.fromkeys(name[: name.index(".", 7)] for name in state if name.startswith("layer"))
    for name in names:
        stride = 2 if name.endswith(".0") and not name.startswith("layer1") else 1
        skip = x
        if f"{name}.downsample.0.weight" in state:
            skip = convolved(x, f"{name}.downsample.0", f"{name}.downsample.1", stride)
        count = 3 if f"{name}.conv3.weight" in state else 2
        for place in range(1, count + 1):
            strided = stride if place == (2 if count == 3 else 1) else 1
            x = convolved(x, f"{name}.conv{place}", f"{name}.bn{place}", strided)
            x = x.relu() if place < count else (x + skip).relu()
    return x.mean((2, 3))


def kept(folder: Path, state: State) -> str:
    save_file(state, folder / "weights.safetensors")
    return backbones.store(folder / "weights.safetensors", "weights.safetensors")


def _images(n: int, height: int, width: int, channels: int = 3) -> Tensor:
    every = np.stack([pixels(number, height, width, channels) for number in range(n)])
    return torch.from_numpy(np.ascontiguousarray(every.transpose(0, 3, 1, 2)))


RESNET18 = ((64, 128, 256, 512), (2, 2, 2, 2))


@pytest.mark.parametrize(
    ("state", "shape", "size"),
    [
        pytest.param(resnet(*RESNET18), (3, 32, 32), (128, 128), id="ResNet-18"),
        pytest.param(resnet(SMALL, SMALL_BLOCKS), (1, 24, 32), (128, 171), id="grey, no squares"),
        pytest.param(resnet(SMALL, SMALL_BLOCKS), (3, 130, 140), (130, 140), id="large enough"),
        pytest.param(resnet(SMALL, SMALL_BLOCKS, bottleneck=True), (3, 32, 32), (128, 128), id="bottlenecks"),
        pytest.param(resnet((8, 16, 32), (3, 3, 3), stem=3), (3, 32, 32), (32, 32), id="for CIFAR-10"),
    ],
)
def test_features_are_those_of_the_plain_network(
    home: Path, tmp_path: Path, state: State, shape: tuple[int, int, int], size: tuple[int, int]
) -> None:
    network = backbone_network.load(kept(tmp_path, state))
    images = _images(3, *shape[1:], shape[0])
    expected = plain_features(state, images, size)
    assert expected.std(0).mean() > 0.01
    scale = float(expected.abs().max())
    found = backbone_network.extract_features(network, images.permute(0, 2, 3, 1).numpy())
    assert float((found - expected).abs().max()) < 1e-5 * scale
    exact = network.double()(backbone_network.input_layer(network, *shape[1:]).double()(images.double() / 255))
    # The means and deviations of ImageNet are kept in float32.
    assert float((exact - expected).abs().max()) < 1e-6 * scale


def test_an_image_has_the_same_features_in_whatever_batch(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, images = backbone_network.load(kept(tmp_path, resnet(SMALL, SMALL_BLOCKS))), _images(7, 16, 16)
    [whole] = backbone_network.feature_batches(network, images)
    monkeypatch.setattr(backbone_network, "_BATCH_PIXELS", 3 * 128 * 128)
    parts = list(backbone_network.feature_batches(network, images))
    assert [len(part) for part in parts] == [3, 3, 1]
    torch.testing.assert_close(torch.cat(parts), whole, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("prefix", ["backbone.", "module.", "encoder.", "module.backbone."])
def test_a_prefix_of_all_names_is_taken_off(home: Path, tmp_path: Path, prefix: str) -> None:
    state = resnet(SMALL, SMALL_BLOCKS)
    named = {prefix + name: value for name, value in state.items()} | {"projector.0.weight": torch.zeros(3)}
    one, other = (backbone_network.load(kept(tmp_path, given)) for given in (state, named))
    images = _images(2, 16, 16).permute(0, 2, 3, 1).numpy()
    assert torch.equal(backbone_network.extract_features(one, images), backbone_network.extract_features(other, images))


@pytest.mark.parametrize("kind", [torch.float16, torch.bfloat16, torch.float64])
def test_weights_of_other_floats_become_float32(home: Path, tmp_path: Path, kind: torch.dtype) -> None:
    state = {name: value.to(kind) for name, value in resnet(SMALL, SMALL_BLOCKS).items()}
    network, images = backbone_network.load(kept(tmp_path, state)), _images(2, 16, 16)
    expected = plain_features(state, images, (128, 128))
    found = backbone_network.extract_features(network, images.permute(0, 2, 3, 1).numpy())
    assert found.dtype == torch.float32
    assert float((found - expected).abs().max()) < 1e-5 * float(expected.abs().max())


def _changed(**changes: Tensor | None) -> State:
    state = resnet(SMALL, SMALL_BLOCKS)
    changes = {name.replace("__", "."): value for name, value in changes.items()}
    return {name: value for name, value in (state | changes).items() if value is not None}


@pytest.mark.parametrize(
    ("state", "sentence"),
    [
        (_changed(layer2__1__bn2__bias=None), r"weights.safetensors has no layer2\.1\.bn2\.bias, which a ResNet needs"),
        (_changed(layer3__0__downsample__0__weight=None), r"has no layer3\.0\.downsample\.0\.weight"),
        (_changed(layer1__0__conv2__weight=torch.zeros(9, 8, 3, 3)), r"layer1\.0\.conv2\.weight .* \[9, 8, 3, 3\]"),
        (_changed(bn1__weight=torch.zeros(5)), r"bn1\.weight of .* has the shape \[5\], but \[8\] fits"),
        (_changed(conv1__weight=torch.zeros(8, 1, 7, 7)), r"\[8, 1, 7, 7\], but \[8, 3, 7, 7\] fits .* RGB images"),
        (_changed(conv1__weight=torch.zeros(8)), r"conv1\.weight of .* has the shape \[8\]"),
        (_changed(layer1__0__se__fc__weight=torch.zeros(4)), r"has layer1\.0\.se\.fc\.weight, which is not part of"),
        (_changed(conv1__weight=torch.zeros(8, 3, 7, 7, dtype=torch.int8)), r"conv1\.weight of .* has the type I8"),
        ({"blocks.0.weight": torch.zeros(3)}, r"no ResNet with torchvision's names .*\"resnet18.safetensors\"\)\.$"),
    ],
)  # fmt: skip
def test_a_file_that_is_no_resnet_is_refused_by_the_tensor_that_is_wrong(
    home: Path, tmp_path: Path, state: State, sentence: str
) -> None:
    with pytest.raises(InputError, match=sentence):
        kept(tmp_path, state)
    assert not (home / "artifacts").exists()


def test_a_file_that_is_none_is_refused_with_the_way_to_make_one(home: Path, tmp_path: Path) -> None:
    path = tmp_path / "weights.pth"
    for content in (b"", b"PK\3\4" + bytes(99), (2**60).to_bytes(8, "little")):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"weights.pth is not a safetensors file .* safetensors.torch.save_file\("):
            backbones.store(path, path.name)
    with pytest.raises(InputError, match="is not a safetensors file"):
        backbones.store(tmp_path / "nothing", "nothing")


def test_values_that_are_no_numbers_are_refused(home: Path, tmp_path: Path) -> None:
    sha256 = kept(tmp_path, _changed(bn1__bias=torch.full((8,), torch.nan)))
    with pytest.raises(InputError, match=rf"bn1\.bias of the file {sha256[:12]} has values that are not finite"):
        backbone_network.load(sha256)


def test_the_command_keeps_weights_and_prints_what_a_spec_names_them_by(
    home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "weights.safetensors"
    save_file(resnet(SMALL, SMALL_BLOCKS), path)
    assert main(["fewshot-weights", str(path)]) == 0
    assert artifacts.locate(capsys.readouterr().out.strip()).read_bytes() == path.read_bytes()
    path.write_bytes(b"no weights")
    assert main(["fewshot-weights", str(path)]) == 1
    assert "weights.safetensors is not a safetensors file" in capsys.readouterr().err


@pytest.fixture
def photos(home: Path, tmp_path: Path) -> Dataset:
    """18 classes of 10 small images, each class of two colours in a pattern of its own."""
    images = np.concatenate([_photos(number, 10) for number in range(18)])
    np.savez(tmp_path / "photos.npz", images=images, labels=np.repeat([f"kind {n:02}" for n in range(18)], 10))
    return datasets.register_images(tmp_path / "photos.npz", name="photos")


def _photos(number: int, n: int, side: int = 16) -> np.ndarray:
    rng = np.random.default_rng(number)
    one, other = rng.integers(0, 256, (2, 3))
    mask = rng.random((4, 4)).repeat(side // 4, 0).repeat(side // 4, 1)[..., None]
    base = mask * one + (1 - mask) * other
    return np.clip(base + rng.normal(0, 30, (n, side, side, 3)), 0, 255).astype(np.uint8)


@pytest.fixture
def weights(home: Path, tmp_path: Path) -> str:
    """The sha256 of a kept small ResNet of random numbers."""
    return kept(tmp_path, resnet(SMALL, SMALL_BLOCKS))


def _spec(dataset: Dataset, sha256: str, **more: object) -> FewShotSpec:
    given: dict[str, object] = {"ways": 3, "shots": 2, "queries": 5, "iterations": 20, "test_episodes": 20, "cpus": 1}
    return FewShotSpec(dataset_id=dataset.id, network="pretrained", backbone=sha256, **given | more)


def _texts(events: list[Event]) -> str:
    return "\n".join(event.text for event in events if isinstance(event, Message))


@pytest.fixture
def no_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves the handing out away, which takes seconds and comes after the answer."""
    monkeypatch.setattr("runner.fewshot.deploy.handout", lambda *given: iter(()))


def _trained(dataset: Dataset, sha256: str, **more: object) -> int:
    return run_here(_spec(dataset, sha256, **more))[0]


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["ProtoNet", "ANIL"])
def test_new_classes_are_learned_on_pretrained_features_and_taken_away(
    photos: Dataset, weights: str, algorithm: str
) -> None:
    job_id = jobs.submit(_spec(photos, weights, algorithm=algorithm, budget_s=60))
    assert loop.run_once("w") == job_id
    assert jobs.overview(job_id=job_id).error[0] is None
    board = initialisations.leaderboard(photos.id)
    assert list(board.protocol) == ["inductive"]
    assert board.lower[0] > 0.5  # chance is a third
    stored = initialisations.get(job_id)
    assert (stored.network, stored.about["inputs"]["backbone"]) == ("Adapter-16", weights)
    tuned = jobs.submit(FineTuneSpec(dataset_id=photos.id, classes=photos.labels[:3], shots=3, cpus=1))
    assert loop.run_once("w") == tuned
    assert jobs.overview(job_id=tuned).error[0] is None
    body = initialisations.adaptation(tuned)
    assert body is not None
    assert body["initialisation"] == job_id
    assert body["steps"][-1]["accuracy"] > 0.6
    assert {"predict.py", "model.onnx"} <= set(results.artifacts_of(tuned).name)


@pytest.mark.slow
def test_a_task_on_features_is_learned_from_few_images_of_another_size(
    photos: Dataset, weights: str, no_files: None
) -> None:
    job_id = _trained(photos, weights)
    images = np.concatenate([_photos(100, 6, 32), _photos(101, 6, 32)])
    sha256 = examples.store(images, [0] * 6 + [1] * 6, ["one", "other"], [f"{n}.png" for n in range(12)])
    _, events = run_here(FineTuneSpec(dataset_id=photos.id, examples=sha256, shots=3, cpus=1))
    [body] = [event.body for event in events if isinstance(event, Adapted)]
    assert (body["initialisation"], body["n_queries"]) == (job_id, 6)
    assert body["steps"][-1]["accuracy"] > 0.8
    assert "stay at 32 x 32 pixels" in _texts(events)
    assert "training used 16 x 16" in _texts(events)


def test_features_are_standardised_by_the_train_classes_and_said_in_the_recipe(photos: Dataset, weights: str) -> None:
    setup = set_up(photos, _spec(photos, weights))
    assert setup.network == Adapter(16, 3)
    found = backbone_features.use_features(
        setup, torch.randn(180, 16, generator=torch.Generator().manual_seed(1)) * 3 + 5, 8.0
    )
    trains = torch.isin(setup.tasks.labels, torch.tensor(setup.tasks.splits["train"]))
    x = found.tasks.inputs[trains]
    assert float(x.mean(0).abs().max()) < 1e-5
    assert float((x.std(0, correction=0) - 2).abs().max()) < 1e-5  # a length of 8 by 16 features
    assert abs(float(found.tasks.inputs[~trains].mean(0).abs().max())) > 0.01
    assert {name: len(found.recipe[name]) for name in ("mean", "std", "backbone")} == {
        "mean": 16, "std": 16, "backbone": 64,
    }  # fmt: skip


def _context(dataset: Dataset, folder: Path, attempt: int = 1, stops: object = None) -> Context:
    """A context that is cancelled after so many questions, if given."""
    asked = iter(range(10**6))
    (folder / f"9-{attempt}").mkdir()
    return Context(
        9, attempt, dataset, folder / f"9-{attempt}", 1, 0, lambda: stops is not None and next(asked) >= stops
    )


def _computed(spec: FewShotSpec, context: Context, monkeypatch: pytest.MonkeyPatch) -> tuple[object, int]:
    """The tasks on features, and how many images went through the network."""
    counts = []
    original = backbone_network.feature_batches

    def count(network: object, images: Tensor) -> object:
        counts.append(len(images))
        return original(network, images)

    monkeypatch.setattr(backbone_network, "feature_batches", count)
    every = backbone_features.compute(spec, context, set_up(context.dataset, spec), "cpu", float("inf"))
    while True:
        try:
            next(every)
        except StopIteration as end:
            monkeypatch.setattr(backbone_network, "feature_batches", original)
            return end.value, sum(counts)


def test_what_is_computed_before_a_pause_is_not_computed_again(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = _spec(photos, weights)
    whole, n = _computed(spec, _context(photos, tmp_path), monkeypatch)
    assert n == 180
    for path in (tmp_path / "9-1").iterdir():
        path.unlink()
    (tmp_path / "9-1").rmdir()
    stopped, _ = _computed(spec, _context(photos, tmp_path, stops=2), monkeypatch)
    assert stopped is None
    resumed, n = _computed(spec, _context(photos, tmp_path, 2), monkeypatch)
    assert n == 180 - 3 * 32
    torch.testing.assert_close(resumed.tasks.inputs, whole.tasks.inputs, rtol=1e-5, atol=1e-5)
    again, n = _computed(spec, _context(photos, tmp_path, 3), monkeypatch)
    assert n == 0
    assert torch.equal(again.tasks.inputs, resumed.tasks.inputs)


def test_features_of_other_weights_are_not_taken(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _computed(_spec(photos, weights), _context(photos, tmp_path), monkeypatch)
    other = kept(tmp_path, resnet(SMALL, (1, 1, 1, 1)))
    assert _computed(_spec(photos, other), _context(photos, tmp_path, 2), monkeypatch)[1] == 180


def test_a_checkpoint_of_other_weights_is_refused(photos: Dataset, weights: str, tmp_path: Path) -> None:
    assert list(run(_spec(photos, weights, iterations=2), _context(photos, tmp_path)))
    other = kept(tmp_path, resnet(SMALL, (1, 1, 1, 1)))
    with pytest.raises(InputError, match=rf"another backbone \({weights}, not {other}\)"):
        list(run(_spec(photos, other, iterations=2), _context(photos, tmp_path, 2)))


def test_progress_tells_the_features_and_a_budget_that_is_too_short_is_refused(
    photos: Dataset, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backbone_features, "_REPORT_S", 0.0)
    spec = _spec(photos, weights)
    setup = set_up(photos, spec)
    deadline = time.monotonic() + 300
    told = list(backbone_features.compute(spec, _context(photos, tmp_path), setup, "cpu", deadline))
    assert [type(event) for event in told] == [Progress] * 6
    assert told[0].stage.startswith("Features of the images: 32 of 180")
    assert 0 < told[-1].remaining_s < 300
    for path in (tmp_path / "9-1").iterdir():
        path.unlink()
    with pytest.raises(InputError, match=r"budget_s: The features of 180 images need .* has 300 s\. Give it more"):
        list(backbone_features.compute(spec, _context(photos, tmp_path, 2), setup, "cpu", 0.0))


def test_images_that_turn_or_move_have_no_fixed_features(photos: Dataset, weights: str) -> None:
    given = json.loads(_spec(photos, weights).model_dump_json())
    for name in ("rotations", "distortions"):
        with pytest.raises(InputError, match=r"computed once, from the images as they are\. Leave rotations and"):
            parse(given | {name: True})


def test_weights_that_were_removed_are_asked_for_again(photos: Dataset, weights: str, no_files: None) -> None:
    job_id = _trained(photos, weights)
    artifacts.locate(weights).unlink()
    sentence = f"no stored file of weights {weights[:12]}. Store the same file again, with `python -m core fewshot-w"
    with pytest.raises(InputError, match=sentence):
        jobs.submit(_spec(photos, weights))
    asked = FineTuneSpec(dataset_id=photos.id, classes=photos.labels[:3], initialisation=job_id, cpus=1)
    with pytest.raises(InputError, match=sentence):
        run_here(asked)
    plain = run_here(_spec(photos, weights).model_copy(update={"network": "conv4", "backbone": None, "width": 8}))[0]
    _, events = run_here(asked.model_copy(update={"initialisation": None}))
    assert [event.body["initialisation"] for event in events if isinstance(event, Adapted)] == [plain]


@pytest.mark.slow
@pytest.mark.parametrize("bottleneck", [False, True])
def test_the_network_to_take_away_says_what_the_engine_says(home: Path, tmp_path: Path, bottleneck: bool) -> None:
    sha256 = kept(tmp_path, resnet(SMALL, SMALL_BLOCKS, bottleneck=bottleneck))
    every = torch.cat([_images(16, 20, 24, 1), _images(32, 20, 24, 1)[16:]])
    found = backbone_network.extract_features(backbone_network.load(sha256), every.permute(0, 2, 3, 1).numpy())
    recipe = recipes.feature_recipe(recipes.image_recipe((20, 24, 1)) | {"backbone": sha256}, found.numpy(), 8.0)
    network = Adapter(found.shape[1], 4)
    noise = torch.Generator().manual_seed(3)
    changed = {n: v + 0.05 * torch.randn(v.shape, generator=noise) for n, v in initial_weights(network, 1).items()}
    start = LoadedInitialisation("MAML", network, Inner(steps=3, rate=0.05), changed, recipe)
    x = recipes.encode_features(recipe, found)
    *_, step = adapt_task(start, x[:16], torch.arange(16) % 4, x[16:])
    module = adapted(start, step.weights)
    text = export.source(module, front(1), "Test", "abcd", _BACKBONE_CALLS)
    files = export.write(export.module(text, module, front(1), None), text, every[:2], tmp_path)
    session = onnxruntime.InferenceSession(files["onnx"])
    engine = step.outputs.softmax(1).numpy()
    assert engine.std() > 0.01
    assert session.run(None, {"x": every[16:].numpy()})[0] == pytest.approx(engine, abs=1e-4)


def test_an_initialisation_on_features_comes_back_as_it_was(tmp_path: Path) -> None:
    network = Adapter(5, 3)
    recipe = {"kind": "image", "shape": [8, 8, 3], "backbone": "0" * 64, "mean": [0.1] * 5, "std": [1.5] * 5}
    one = LoadedInitialisation("ANIL", network, Inner(steps=2, only_head=True), initial_weights(network, 1), recipe)
    initialisation_file.save(one, tmp_path / "meta.safetensors")
    other = initialisation_file.load(tmp_path / "meta.safetensors")
    assert (other.network, other.recipe) == (network, recipe)
    assert other.n_parameters == 5 * 5 + 5 + 3 * 5 + 3
