"""Playground (/playground?job=12, ?initialisation=7): learn new classes from a few examples within seconds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from core import datasets, kinds, specs
from core.datasets import Dataset
from core.errors import InputError, MetascoutError
from core.queue import jobs, log, runners
from core.results import initialisations
from core.results.initialisations import Initialisation
from core.specs import FewShotSpec, FineTuneSpec
from pages import actions, links, reads, words
from pages.parts import messages
from pages.parts.fewshot import example_input
from pages.parts.fewshot.example_input import ExampleInput
from pages.parts.results import adaptation

FINE_TUNING = kinds.for_spec(FineTuneSpec).name
POLL_S = 0.3
MOST_SIMILAR = 0  # in place of an initialisation's job
DATASET, UPLOAD, DRAW, SAME = "From a dataset", "Upload", "Draw", "As in the link"
MOVING = ("queued", "running")


def job_of_link() -> jobs.Job | None:
    """Return the fine-tuning that the link shows; an error is shown if the job is of another kind."""
    with messages.show_errors():
        job_id = links.id_of("job")
        if job_id is None:
            return None
        job = reads.read(jobs.get, job_id)
        if job.kind != FINE_TUNING:
            raise InputError(f"Job {job_id} is not a few-shot fine-tuning.", remedy="Open it on the Jobs page.")
        return job
    return None


def initialisation_of_link() -> int | None:
    """Return the initialisation that the link names; an error is shown if it is not a number."""
    with messages.show_errors():
        return links.id_of("initialisation")
    return None


def prefill(job: jobs.Job | None, starts: Sequence[Initialisation]) -> FineTuneSpec | None:
    """Fill the page's fields from the link's job or ?initialisation=, once; returns the job's spec."""
    spec = job.spec if job is not None and isinstance(job.spec, FineTuneSpec) else None
    link = str(job.id if job else st.query_params.get("initialisation", ""))
    if not link or st.session_state.get("play_prefilled") == link:
        return spec
    st.session_state["play_prefilled"] = link
    ids = [start.job_id for start in starts]
    job_id = spec.initialisation if spec else initialisation_of_link()
    if job_id is not None and job_id not in ids:
        st.warning(f"Job {job_id} has no initialisation; the most similar one is used.")
    st.session_state["play_initialisation"] = job_id if job_id in ids else MOST_SIMILAR
    if spec is not None:
        fill_fields(spec)
    return spec


def fill_fields(spec: FineTuneSpec) -> None:
    """Set the fields of the page to the values of a spec."""
    state: dict[str, Any] = {"play_steps": spec.inner_steps, "play_rate": spec.inner_rate}
    state["play_source"] = SAME if spec.examples else DATASET
    if not spec.examples:
        dataset = reads.read(datasets.get, spec.dataset_id)
        state |= {"play_dataset": dataset.name, "play_shots": spec.shots, "play_queries": spec.queries}
        if dataset.task == "regression":
            state[f"play_wave_{dataset.id}"] = spec.classes[0]
        else:
            state[f"play_classes_{dataset.id}"] = list(spec.classes)
    st.session_state.update(state)


def choose_initialisation(starts: Sequence[Initialisation]) -> Initialisation | None:
    """Draw the choice of initialisation; None leaves it to the job, which takes the most similar one."""
    by_id = {start.job_id: start for start in starts}
    job_id = st.selectbox(
        "Initialisation", [MOST_SIMILAR, *by_id], key="play_initialisation",
        format_func=lambda job_id: label(by_id[job_id]) if job_id in by_id else "The most similar one",
        help="A stored initialisation. **The most similar one**: its training classes are the most similar to your"
        " examples.",
    )  # fmt: skip
    return by_id.get(job_id)


def label(start: Initialisation) -> str:
    """Return an initialisation in a line."""
    task = f"{start.shots}-shot" if start.about.get("kind") == "waves" else f"{start.ways}-way {start.shots}-shot"
    return f"Job {start.job_id}: {start.algorithm} on {start.dataset}, {task}"


def inner_loop(start: Initialisation | None) -> dict[str, Any]:
    """Draw how many inner steps to take, and at which rate."""
    if start is not None and start.algorithm == "ProtoNet":
        st.caption("ProtoNet takes no inner steps. It compares with the mean of each class's examples.")
        return {}
    left, right = st.columns(2)
    return {
        "inner_steps": left.number_input(
            "Inner steps", value=None, step=1, key="play_steps", placeholder="As trained",
            help="Gradient steps on your examples, 1 to 100. Empty: as in meta-training.",
        ),
        "inner_rate": right.number_input(
            "Inner rate", value=None, step=0.01, format="%g", key="play_rate", placeholder="As trained",
            help="Learning rate of these steps. Empty: as in meta-training.",
        ),
    }  # fmt: skip


def choose_examples(
    starts: Sequence[Initialisation], start: Initialisation | None, previous: FineTuneSpec | None
) -> ExampleInput | None:
    """Draw where the examples come from, and the examples; None if there are none to choose from."""
    ordered = [start, *(one for one in starts if one is not start)] if start else list(starts)
    registered = {dataset.id: dataset for dataset in reads.read(datasets.all_datasets)}
    ordered = [one for one in ordered if one.dataset_id in registered]
    homes = [registered[one.dataset_id] for one in ordered]
    types = {example_input.kind_of(home) for home in homes[: 1 if start else None]}
    source = choose_source("image" in types, previous)
    if source == SAME and previous is not None:
        st.caption("The examples of the job in the link")
        names = ("dataset_id", "examples", "shots", "queries")
        return ExampleInput({name: getattr(previous, name) for name in names})
    home = next((home for home in homes if example_input.kind_of(home) == "image"), None)
    if source == UPLOAD and home is not None:
        return example_input.from_uploads(home)
    if source == DRAW and home is not None:
        return example_input.from_drawings(home)
    own = {home.id for home in homes}
    offered = [dataset for dataset in registered.values() if fits(dataset, types, own)]
    if not offered:
        st.info("The dataset of this initialisation no longer exists.", icon=":material/info:")
        return None
    if st.session_state.get("play_dataset") not in (None, *(dataset.name for dataset in offered)):
        del st.session_state["play_dataset"]
    return example_input.from_dataset(offered, ordered)


def choose_source(has_images: bool, previous: FineTuneSpec | None) -> str | None:
    """Draw the choice between a dataset, an upload, drawings, and the examples of the job in the link."""
    sources = [DATASET] + ([UPLOAD, DRAW] if has_images else [])
    if previous is not None and previous.examples:
        sources.append(SAME)
    if st.session_state.get("play_source") not in (None, *sources):
        st.session_state["play_source"] = DATASET
    st.session_state.setdefault("play_source", DATASET)
    return st.segmented_control("Examples", sources, required=True, key="play_source")


def fits(dataset: Dataset, types: set[str], own: set[int]) -> bool:
    """Return whether an initialisation can learn from this dataset; a table must be the one it was trained on."""
    kind = example_input.kind_of(dataset)
    return kind in types and (kind in ("image", "text") or dataset.id in own)


def submit(fields: dict[str, Any]) -> int:
    """Check the fields and queue the job; returns its id."""
    job_id = jobs.submit(specs.parse(fields | {"kind": FINE_TUNING}), user=actions.user())
    st.session_state["play_prefilled"] = str(job_id)
    st.query_params.clear()
    st.query_params["job"] = str(job_id)
    return job_id


def show_result(job_id: int) -> None:
    """Draw the job and its result; read often until the result is there, then less often until its files are."""
    links.name_tab(f"Job {job_id}", "Playground")
    moving = reads.read(jobs.get, job_id).status in MOVING
    has_result = reads.read(initialisations.adaptation, job_id) is not None
    every = (reads.LIVE_S if has_result else POLL_S) if moving else None
    st.fragment(live, run_every=every)(job_id, moving, has_result)


def live(job_id: int, was_moving: bool, had_result: bool) -> None:
    """Draw the state and the result of the job."""
    with messages.show_errors():
        job, body = reads.read(jobs.get, job_id), reads.read(initialisations.adaptation, job_id)
        if was_moving != (job.status in MOVING) or had_result != (body is not None):
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("Result", width="content")
            messages.badge(job.status)
            links.link(links.JOB, f"Job {job_id}", job=job_id)
        for text in reads.read(log.warnings, job_id)[:3] if job.status in jobs.ENDED else ():
            st.warning(words.plain(text), icon=":material/warning:")
        if body is None:
            no_result(job)
            return
        adaptation.draw(job_id, job.spec.model_dump(mode="json"), body)
        if job.status in MOVING:
            st.caption("The files to download are being written.")


def no_result(job: jobs.Job) -> None:
    """Draw why there is no result, or none yet."""
    if job.status in jobs.ENDED:
        text = job.error or "The job ended without a result; see its log."
        st.error(words.plain(text), icon=":material/error:")
    elif not reads.read(runners.alive):
        st.warning("No runner is running, so this job waits. Home says how to start one.", icon=":material/power_off:")
    else:
        st.progress(0.5, text="Learning from the examples")


def show() -> None:
    """Draw the page below its title."""
    starts = reads.read(initialisations.all_initialisations)
    if not starts:
        messages.empty(
            "The playground starts from the result of a few-shot meta-training, and there is none yet.",
            links.NEW_JOB, "Start a meta-training", engine=kinds.for_spec(FewShotSpec).name,
        )  # fmt: skip
        return
    job = job_of_link()
    previous = prefill(job, starts)
    left, right = st.columns([2, 1], gap="medium")
    with right, st.container(border=True):
        start = choose_initialisation(starts)
        fields = inner_loop(start) | {"initialisation": start.job_id if start else None}
        place = st.container()
    with left, st.container(border=True):
        examples = choose_examples(starts, start, previous)
    clicked = place.button(
        "Adapt", type="primary", icon=":material/bolt:", key="adapt", disabled=examples is None, width="stretch"
    )
    job_id = job.id if job else None
    if clicked and examples is not None:
        try:
            job_id = submit(examples.spec_fields() | fields)
        except MetascoutError as error:
            place.error(words.plain(words.sentence(error)), icon=":material/error:")
    if job_id is not None:
        show_result(job_id)


st.title("Playground")
st.caption("Learn new classes from a few examples in seconds")
with messages.show_errors():
    show()
