"""The form of few-shot meta-training: what a task is, which algorithm learns it, how long and where.

The task and the algorithm stand above the form proper, since they decide its fields and draw sample tasks at once.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import streamlit as st

from core.datasets import Dataset
from core.datasets.files import uploads
from core.results import initialisations
from core.specs import FEWSHOT_ALGORITHMS, LABELS, FewShotSpec
from core.store import backbones
from pages.parts.fewshot import sample_episodes
from pages.parts.forms import common

ALGORITHMS = {
    "ProtoNet": "Compares with the mean of each class's examples. No inner steps: the fastest, and the best start.",
    "MAML": "Learns weights from which a few gradient steps fit a new task; differentiates through those steps.",
    "First-order MAML": "MAML without second derivatives: faster steps and less memory, but each teaches less.",
    "ANIL": "MAML that adapts only the last layer, so it learns a task much faster.",
    "Reptile": "Moves the weights towards those reached after many steps on a task. Simple; needs more iterations.",
}
NETWORKS = {
    "conv4": "Conv4", "resnet": "ResNet-8", "text": "Text encoder", "mlp": "Multilayer perceptron",
    "pretrained": "Pretrained weights",
}  # fmt: skip
NETWORKS_BY_MODALITY = {"image": ("conv4", "resnet", "pretrained"), "text": ("text",), "table": ("mlp",)}
IMAGE_OPTIONS = {
    "rotations": "Each training class counts four times, once for each quarter turn. Good for characters; wrong where"
    " the turn has a meaning. Validation and test classes are never turned.",
    "distortions": "Training images are shifted, turned and stretched a little, so that fewer images suffice.",
    "transductive": "In training, batch norm sees all queries of a task at once. Published MAML figures use it, and it"
    " gains some points, but it does not apply to a single new image. Both ways are evaluated in any case.",
}
MAML_OPTIONS = {
    "learned_rates": "Learn an inner rate for each tensor and step (MAML++).",
    "multi_step_loss": "At first the loss counts after every inner step, later only after the last one, for a steadier"
    " start (MAML++).",
}


def show(dataset: Dataset, start: FewShotSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """Draw the form; returns the spec's fields and the priority once it is submitted.

    Raises InputError for a file of pretrained weights that is no ResNet.
    """
    start, mark = start or FewShotSpec(dataset_id=dataset.id), f"_fewshot{mark}"
    fields = _task(dataset, start, mark)
    _classes(dataset, fields)
    fields |= _algorithm(dataset, start, f"{mark}_{dataset.id}")
    has_inner_loop = fields["algorithm"] != "ProtoNet"
    with st.form("fewshot_form", border=True, enter_to_submit=False):
        st.subheader("Training")
        fields |= _training(start, mark) | (_inner(start, mark) if has_inner_loop else _train_ways(start, mark))
        fields |= _network(dataset, start, fields["network"], mark)
        fields |= _options(start, fields["algorithm"], mark) if has_inner_loop else {}
        st.subheader("Resources and queue")
        fields |= common.resources(start, priority, mark, partial(common.device, start, mark))
        submitted = common.submit_button("Takes about the time budget, including the evaluation on the test classes.")
    weights = fields.pop("weights", None)
    if not submitted:
        return None
    if weights is not None:
        fields["backbone"] = backbones.store(uploads.receive(weights), weights.name)
    return fields


def _task(dataset: Dataset, start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw how many classes and examples a task has; for a regression, the column that separates its tasks."""
    st.subheader("Task")
    one, two, three = st.columns(3)
    fields: dict[str, Any] = {}
    if dataset.task == "regression":
        names = [column.name for column in dataset.features]
        fields["group"] = one.selectbox(
            LABELS["group"], names, index=names.index(start.group) if start.group in names else None,
            key=f"group{mark}_{dataset.id}", placeholder="Choose a column",
            help="Each value of this column is one task: its rows are a function to learn.",
        )  # fmt: skip
    else:
        fields["ways"] = one.number_input(
            LABELS["ways"], value=start.ways, step=1, key=f"ways{mark}",
            help="How many classes a task has (N-way).",
        )  # fmt: skip
    unit = "task" if dataset.task == "regression" else "class"
    fields["shots"] = two.number_input(
        LABELS["shots"], value=start.shots, step=1, key=f"shots{mark}",
        help=f"Examples per {unit} to learn from (K-shot).",
    )  # fmt: skip
    fields["queries"] = three.number_input(
        f"Queries per {unit}", value=start.queries, step=1, key=f"queries{mark}",
        help=f"Further examples per {unit}, which are predicted to evaluate the learning.",
    )  # fmt: skip
    return fields


def _classes(dataset: Dataset, fields: dict[str, Any]) -> None:
    """Draw how the classes are split, and two tasks as the training will see them."""
    if dataset.task == "regression":
        return
    n_classes, n_rows = len(dataset.labels), sum(dataset.n_rows.values())
    train, valid, test = initialisations.split_sizes(n_classes, fields["ways"] or 0)
    st.caption(
        f"{n_classes:,} classes with {n_rows / n_classes:,.0f} examples each on average, split into about {train:,} for"
        f" training, {valid:,} for validation and {test:,} for the test."
    )
    if dataset.modality == "image":
        sample_episodes.draw(dataset, fields["ways"] or 0, fields["shots"] or 0, fields["queries"] or 0)


def _algorithm(dataset: Dataset, start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw the algorithm and the network."""
    st.subheader("Algorithm")
    names = [name for name in FEWSHOT_ALGORITHMS if dataset.task != "regression" or name != "ProtoNet"]
    left, right = st.columns([2, 1])
    algorithm = left.pills(
        LABELS["algorithm"], names, default=start.algorithm if start.algorithm in names else names[0], required=True,
        key=f"algorithm{mark}", label_visibility="collapsed", wrap=True,
    )  # fmt: skip
    left.caption(ALGORITHMS[algorithm])
    networks = NETWORKS_BY_MODALITY[dataset.modality]
    network = right.selectbox(
        LABELS["network"], networks, index=networks.index(start.network) if start.network in networks else None,
        format_func=NETWORKS.__getitem__, key=f"network{mark}", placeholder="Automatic",
        help="**Conv4**: four convolutions, the usual network for small images. **ResNet-8**: three residual blocks,"
        " slower. **Pretrained weights**: your own file. Empty: the network that suits the data.",
    )  # fmt: skip
    return {"algorithm": algorithm, "network": network}


def _training(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw how long to train, at which rate, and on how many tasks at once."""
    one, two, three, four = st.columns(4)
    return {
        "budget_s": one.number_input(
            LABELS["budget_s"], value=start.budget_s, step=60, key=f"budget_s{mark}",
            help="How long to train. More time means more tasks seen.",
        ),
        "iterations": two.number_input(
            LABELS["iterations"], value=start.iterations, step=1_000, key=f"iterations{mark}",
            placeholder="As the budget allows",
            help="The training ends after this many outer steps even if time is left. Use it to compare trainings on"
            " machines of different speed.",
        ),
        "outer_rate": three.number_input(
            LABELS["outer_rate"], value=start.outer_rate, step=0.001, format="%g", key=f"outer_rate{mark}",
            placeholder="Automatic", help="Adam's learning rate over tasks; it falls to zero along a cosine.",
        ),
        "meta_batch": four.number_input(
            LABELS["meta_batch"], value=start.meta_batch, step=1, key=f"meta_batch{mark}", placeholder="Automatic",
            help="How many tasks an outer step averages over (meta-batch). It does not change the memory needed.",
        ),
    }  # fmt: skip


def _inner(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw how one task is learned by gradient steps."""
    one, two, _ = st.columns([1, 1, 2])
    return {
        "inner_steps": one.number_input(
            LABELS["inner_steps"], value=start.inner_steps, step=1, key=f"inner_steps{mark}", placeholder="Automatic",
            help="Gradient steps on one task.",
        ),
        "inner_rate": two.number_input(
            LABELS["inner_rate"], value=start.inner_rate, step=0.01, format="%g", key=f"inner_rate{mark}",
            placeholder="Automatic", help="Learning rate of these steps.",
        ),
    }  # fmt: skip


def _train_ways(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw the classes of a training task, which ProtoNet alone can choose."""
    one, _ = st.columns([1, 3])
    ways = one.number_input(
        LABELS["train_ways"], value=start.train_ways, step=5, key=f"train_ways{mark}", placeholder="Automatic",
        help="Classes of a training task. More classes than in the test make better features.",
    )  # fmt: skip
    return {"train_ways": ways}


def _network(dataset: Dataset, start: FewShotSpec, network: str | None, mark: str) -> dict[str, Any]:
    """Draw the network's width or file, and what only images have; `weights` is an upload, and no part of the spec."""
    if network == "pretrained":
        return _weights(start, mark)
    fields: dict[str, Any] = {}
    places = st.columns(4, vertical_alignment="center")
    fields["width"] = places[0].number_input(
        LABELS["width"], value=start.width, step=16, key=f"width{mark}",
        help="Channels or units of each layer. 64 is usual; 32 trains more than twice as fast.",
    )  # fmt: skip
    if dataset.modality == "image":
        for place, (name, text) in zip(places[1:], IMAGE_OPTIONS.items(), strict=True):
            fields[name] = place.toggle(LABELS[name], getattr(start, name), key=f"{name}{mark}", help=text)
    return fields


def _weights(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Draw the upload of pretrained weights; the network has no other choices then."""
    fields: dict[str, Any] = {}
    fields["weights"] = st.file_uploader(
        "Pretrained weights (safetensors)", type=["safetensors"], key=f"weights{mark}",
        help="A state dict with the names of torchvision's ResNet, saved by safetensors.torch.save_file. Its features"
        " are computed once for each original image; an adapter on them and a head are trained.",
    )  # fmt: skip
    if start.backbone:
        fields["backbone"] = start.backbone
        st.caption("Leave this empty to use the weights of the cloned job.")
    return fields


def _options(start: FewShotSpec, algorithm: str, mark: str) -> dict[str, Any]:
    """Draw the options of MAML++ that the algorithm has."""
    if algorithm == "Reptile":
        return {}
    fields: dict[str, Any] = {}
    with st.expander("More options", icon=":material/tune:"):
        for name, text in MAML_OPTIONS.items():
            fields[name] = st.toggle(LABELS[name], getattr(start, name), key=f"{name}{mark}", help=text)
        if algorithm != "First-order MAML":
            fields["first_order_frac"] = st.slider(
                LABELS["first_order_frac"], 0.0, 1.0, start.first_order_frac, 0.05, key=f"first_order_frac{mark}",
                help="This share of the training uses first-order gradients at the start, which is faster.",
            )  # fmt: skip
    return fields
