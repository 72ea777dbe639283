"""The form of few-shot meta-training: what a task is, how it is learned, and how long and where.

The task and the algorithm stand before the form, since they decide what it asks and draw sample tasks at once.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from core.datasets import Dataset
from core.datasets.files import uploads
from core.results import initialisations
from core.specs import FEWSHOT_ALGORITHMS, FewShotSpec
from core.store import backbones
from pages.parts import sample_episodes
from pages.parts.forms import common

ALGORITHMS = {
    "ProtoNet": "Compares with the mean of each class's examples. No inner steps: the fastest, and the best start.",
    "MAML": "Learns weights from which a few gradient steps fit a new task; differentiates through those steps.",
    "First-order MAML": "MAML without second derivatives: quicker steps and less memory, but less learned from each.",
    "ANIL": "MAML that changes the last layer only: its tasks are learned much faster.",
    "Reptile": "Moves the weights towards those that many steps on a task end with. Simple; wants more iterations.",
}
NETWORKS = {
    "conv4": "Conv4", "resnet": "ResNet-8", "text": "Text encoder", "mlp": "Multilayer perceptron",
    "pretrained": "Pretrained weights",
}  # fmt: skip
SUITING = {"image": ("conv4", "resnet", "pretrained"), "text": ("text",), "table": ("mlp",)}


def fewshot_job(dataset: Dataset, start: FewShotSpec | None, priority: int, mark: str) -> dict[str, Any] | None:
    """The fields of a meta-training, from `start` on; what was given, once it is submitted.

    Raises InputError for a file of pretrained weights that is no ResNet.
    """
    start, mark = start or FewShotSpec(dataset_id=dataset.id), f"_fewshot{mark}"
    given = _task(dataset, start, mark)
    told(dataset, given)
    given |= _algorithm(dataset, start, f"{mark}_{dataset.id}")
    learns = given["algorithm"] != "ProtoNet"
    with st.form("fewshot", border=True, enter_to_submit=False):
        st.subheader("Training")
        given |= _training(start, mark) | (_inner(start, mark) if learns else _wide(start, mark))
        given |= _network(dataset, start, given["network"], mark)
        given |= _options(start, given["algorithm"], mark) if learns else {}
        st.subheader("Resources and queue")
        given |= common.resources(start, priority, mark)
        common.cost("It takes about the time budget, in which it is judged on the test classes, too.")
        submitted = st.form_submit_button("Submit job", type="primary", icon=":material/send:", key="submit")
    weights = given.pop("weights", None)
    if not submitted:
        return None
    if weights is not None:
        given["backbone"] = backbones.store(uploads.receive(weights), weights.name)
    return {**given, "kind": "fewshot", "dataset_id": dataset.id}


def _task(dataset: Dataset, start: FewShotSpec, mark: str) -> dict[str, Any]:
    """How many classes a task has, and how many examples of each; of a regression, its column of tasks."""
    st.subheader("A task")
    one, two, three = st.columns(3)
    if dataset.task == "regression":
        names = [column.name for column in dataset.features]
        given: dict[str, Any] = {"group": one.selectbox(
            "Column of the tasks", names, index=names.index(start.group) if start.group in names else None,
            key=f"group{mark}_{dataset.id}", placeholder="Choose a column",
            help="Each of its values is a task of its own: the rows of one value are a function to be learned.",
        )}  # fmt: skip
    else:
        given = {"ways": one.number_input(
            "Ways", value=start.ways, step=1, key=f"ways{mark}", help="How many classes a task tells apart (N-way).",
        )}  # fmt: skip
    each = "task" if dataset.task == "regression" else "class"
    given["shots"] = two.number_input(
        "Shots", value=start.shots, step=1, key=f"shots{mark}", help=f"Examples of each {each} to learn from (K-shot)."
    )
    given["queries"] = three.number_input(
        f"Queries of a {each}", value=start.queries, step=1, key=f"queries{mark}",
        help=f"Further examples of each {each}, by whose prediction the learning is judged.",
    )  # fmt: skip
    return given


def told(dataset: Dataset, given: dict[str, Any]) -> None:
    """What classes there are, how they are divided, and two tasks as the training will see them."""
    if dataset.task == "regression":
        return
    n_classes, n_rows = len(dataset.labels), sum(dataset.n_rows.values())
    train, valid, test = initialisations.split_sizes(n_classes, given["ways"] or 0)
    st.caption(
        f"{n_classes:,} classes with {n_rows / n_classes:,.0f} examples each on average. About {train:,} of them train,"
        f" {valid:,} choose the best state, and {test:,} are kept for the test. No class is in two of these."
    )
    if dataset.modality == "image":
        sample_episodes.draw(dataset, given["ways"] or 0, given["shots"] or 0, given["queries"] or 0)


def _algorithm(dataset: Dataset, start: FewShotSpec, mark: str) -> dict[str, Any]:
    """Who learns, and with which network."""
    st.subheader("Algorithm")
    names = [name for name in FEWSHOT_ALGORITHMS if dataset.task != "regression" or name != "ProtoNet"]
    left, right = st.columns([2, 1])
    algorithm = left.pills(
        "Algorithm", names, default=start.algorithm if start.algorithm in names else names[0], required=True,
        key=f"algorithm{mark}", label_visibility="collapsed", wrap=True,
    )  # fmt: skip
    left.caption(ALGORITHMS[algorithm])
    kinds = SUITING[dataset.modality]
    network = right.selectbox(
        "Network", kinds, index=kinds.index(start.network) if start.network in kinds else None,
        format_func=NETWORKS.__getitem__, key=f"network{mark}", placeholder="Automatic",
        help="**Conv4**: four convolutions, the usual one for small images. **ResNet-8**: three residual "
        "blocks, slower. **Pretrained weights**: your own file. Empty: what suits the data.",
    )  # fmt: skip
    return {"algorithm": algorithm, "network": network}


def _training(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """How long, how fast, and how many tasks at once."""
    one, two, three, four = st.columns(4)
    return {
        "budget_s": one.number_input(
            "Time budget, seconds", value=start.budget_s, step=60, key=f"budget_s{mark}",
            help="How long it may train. More time means more tasks seen.",
        ),
        "iterations": two.number_input(
            "Maximum iterations", value=start.iterations, step=1_000, key=f"iterations{mark}",
            placeholder="As the budget allows",
            help="The training ends after this many outer steps even if time is left. It makes trainings on machines "
            "of different speed alike.",
        ),
        "outer_rate": three.number_input(
            "Outer rate", value=start.outer_rate, step=0.001, format="%g", key=f"outer_rate{mark}",
            placeholder="Automatic", help="The rate of Adam over tasks; it falls to zero along a cosine.",
        ),
        "meta_batch": four.number_input(
            "Tasks of a step", value=start.meta_batch, step=1, key=f"meta_batch{mark}", placeholder="Automatic",
            help="How many tasks an outer step averages over (meta-batch). Memory does not grow with it.",
        ),
    }  # fmt: skip


def _inner(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """How one task is learned."""
    one, two, _ = st.columns([1, 1, 2])
    return {
        "inner_steps": one.number_input(
            "Inner steps", value=start.inner_steps, step=1, key=f"inner_steps{mark}", placeholder="Automatic",
            help="Gradient steps that one task takes.",
        ),
        "inner_rate": two.number_input(
            "Inner rate", value=start.inner_rate, step=0.01, format="%g", key=f"inner_rate{mark}",
            placeholder="Automatic", help="The rate of these steps.",
        ),
    }  # fmt: skip


def _wide(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """What only ProtoNet has: train tasks of more classes than it is judged by."""
    one, _ = st.columns([1, 3])
    ways = one.number_input(
        "Ways in training", value=start.train_ways, step=5, key=f"train_ways{mark}", placeholder="Automatic",
        help="Classes of a train task; more of them than it is judged by make better features.",
    )  # fmt: skip
    return {"train_ways": ways}


def _network(dataset: Dataset, start: FewShotSpec, network: str | None, mark: str) -> dict[str, Any]:
    """The network's width or file, and what only images have. `weights` is an upload, and no part of the spec."""
    if network == "pretrained":
        return _weights(start, mark)
    given: dict[str, Any] = {}
    one, two, three, four = st.columns(4, vertical_alignment="center")
    given["width"] = one.number_input(
        "Width", value=start.width, step=16, key=f"width{mark}",
        help="Channels or units of each layer. 64 is usual; 32 trains more than twice as fast.",
    )  # fmt: skip
    if dataset.modality == "image":
        given["rotations"] = two.toggle(
            "Quarter turns as classes", start.rotations, key=f"rotations{mark}",
            help="Each class of train counts four times, once for each quarter turn. Good for characters; wrong where "
            "the turn has a meaning. Valid and test classes are never turned.",
        )  # fmt: skip
        given["distortions"] = three.toggle(
            "Small distortions", start.distortions, key=f"distortions{mark}",
            help="Train images are moved, turned and stretched a little, so that few of them go further.",
        )  # fmt: skip
        given["transductive"] = four.toggle(
            "Transductive batch norm", start.transductive, key=f"transductive{mark}",
            help="Batch norm sees all queries of a task at once. Published MAML figures have it, and it gains some "
            "points; but it does not hold for one new image, which the inductive way predicts by the support alone. "
            "Both are reported in any case; this one is for the training.",
        )  # fmt: skip
    return given


def _weights(start: FewShotSpec, mark: str) -> dict[str, Any]:
    """The file of pretrained weights; nothing else of the network can be chosen then."""
    given: dict[str, Any] = {}
    given["weights"] = st.file_uploader(
        "Pretrained weights (safetensors)", type=["safetensors"], key=f"weights{mark}",
        help="A state dict with the names of torchvision's ResNet, saved by safetensors.torch.save_file. Its features "
        "of each image are computed once, of the image as it is; an adapter on them and a head are trained.",
    )  # fmt: skip
    if start.backbone:
        given["backbone"] = start.backbone
        st.caption("Left empty, the weights of the cloned job are taken again.")
    return given


def _options(start: FewShotSpec, algorithm: str, mark: str) -> dict[str, Any]:
    """Options of MAML++ that pay; which algorithms have them."""
    if algorithm == "Reptile":
        return {}
    given: dict[str, Any] = {}
    with st.expander("Options that pay", icon=":material/tune:"):
        given["learned_rates"] = st.toggle(
            "Learned rates", start.learned_rates, key=f"learned_rates{mark}",
            help="Each tensor and step has an inner rate of its own, which is learned too (MAML++).",
        )  # fmt: skip
        given["multi_step_loss"] = st.toggle(
            "Multi-step loss", start.multi_step_loss, key=f"multi_step_loss{mark}",
            help="At first every inner step is judged, later only the last: a steadier start (MAML++).",
        )  # fmt: skip
        if algorithm != "First-order MAML":
            given["first_order_frac"] = st.slider(
                "First-order share", 0.0, 1.0, start.first_order_frac, 0.05, key=f"first_order_frac{mark}",
                help="So much of the training takes first-order gradients first, which is faster.",
            )  # fmt: skip
    return given
