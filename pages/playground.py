"""Playground (/playground?job=12, ?initialisation=7): a few examples of new classes, learned within seconds."""

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
from pages.parts import example_input, messages
from pages.parts.example_input import Given
from pages.parts.results import adaptation

FINE_TUNING = kinds.for_spec(FineTuneSpec).name
POLL_S = 0.3
MOST_SIMILAR = 0  # in place of an initialisation's job
DATASET, UPLOAD, DRAW, AGAIN = "From a dataset", "Upload", "Draw", "As in the link"
MOVING = ("queued", "running")


def asked_job() -> jobs.Job | None:
    """The fine-tuning that the link shows; says so where it is none."""
    try:
        job_id = links.id_of("job")
        if job_id is None:
            return None
        job = reads.read(jobs.get, job_id)
        if job.kind != FINE_TUNING:
            raise InputError(f"Job {job_id} is no few-shot fine-tuning. Give examples below, or open it under Jobs.")
        return job
    except InputError as error:
        messages.show(error)
        return None


def asked_initialisation() -> int | None:
    """The initialisation that the link names; says so where it is no number."""
    with messages.show_errors():
        return links.id_of("initialisation")
    return None


def prefill(job: jobs.Job | None, known: Sequence[Initialisation]) -> FineTuneSpec | None:
    """What the link's job asked for, or its ?initialisation=, is chosen at first, once; returns the job's spec."""
    spec = job.spec if job is not None and isinstance(job.spec, FineTuneSpec) else None
    link = str(job.id if job else st.query_params.get("initialisation", ""))
    if not link or st.session_state.get("play_prefilled") == link:
        return spec
    st.session_state["play_prefilled"] = link
    ids = [one.job_id for one in known]
    wanted = spec.initialisation if spec else asked_initialisation()
    if wanted is not None and wanted not in ids:
        st.warning(f"Job {wanted} has no initialisation; the most similar one is used.")
    st.session_state["play_initialisation"] = wanted if wanted in ids else MOST_SIMILAR
    if spec is not None:
        remember(spec)
    return spec


def remember(spec: FineTuneSpec) -> None:
    """The fields of the page take the values of a spec."""
    state: dict[str, Any] = {"play_steps": spec.inner_steps, "play_rate": spec.inner_rate}
    state["play_source"] = AGAIN if spec.examples else DATASET
    if not spec.examples:
        dataset = reads.read(datasets.get, spec.dataset_id)
        state |= {"play_dataset": dataset.name, "play_shots": spec.shots, "play_queries": spec.queries}
        if dataset.task == "regression":
            state[f"play_wave_{dataset.id}"] = spec.classes[0]
        else:
            state[f"play_classes_{dataset.id}"] = list(spec.classes)
    st.session_state.update(state)


def choose(known: Sequence[Initialisation]) -> Initialisation | None:
    """Return the initialisation to start from; None means the most similar one."""
    by_id = {one.job_id: one for one in known}
    chosen = st.selectbox(
        "Initialisation", [MOST_SIMILAR, *by_id], key="play_initialisation",
        format_func=lambda job_id: told(by_id[job_id]) if job_id in by_id else "The most similar one",
        help="A stored initialisation. **The most similar one**: its training classes are the most similar to your "
        "examples.",
    )  # fmt: skip
    return by_id.get(chosen)


def told(one: Initialisation) -> str:
    """An initialisation in a line."""
    task = f"{one.shots}-shot" if one.about.get("kind") == "waves" else f"{one.ways}-way {one.shots}-shot"
    return f"Job {one.job_id}: {one.algorithm} on {one.dataset}, {task}"


def pace(chosen: Initialisation | None) -> dict[str, Any]:
    """How many inner steps, and of what rate."""
    if chosen is not None and chosen.algorithm == "ProtoNet":
        st.caption("ProtoNet takes no inner steps: it compares with the mean of each class's examples.")
        return {}
    left, right = st.columns(2)
    return {
        "inner_steps": left.number_input(
            "Inner steps", value=None, step=1, key="play_steps", placeholder="As trained",
            help="Gradient steps on your examples, 1 to 100. Empty: as meta-training took.",
        ),
        "inner_rate": right.number_input(
            "Inner rate", value=None, step=0.01, format="%g", key="play_rate", placeholder="As trained",
            help="The rate of these steps. Empty: as meta-training has it.",
        ),
    }  # fmt: skip


def give(known: Sequence[Initialisation], chosen: Initialisation | None, again: FineTuneSpec | None) -> Given | None:
    """The examples, from where one likes."""
    trained = [chosen, *(one for one in known if one is not chosen)] if chosen else list(known)
    everything = {dataset.id: dataset for dataset in reads.read(datasets.all_datasets)}
    suiting = [one for one in trained if one.dataset_id in everything]
    kinds = {example_input.kind_of(everything[one.dataset_id]) for one in suiting[: 1 if chosen else None]}
    home = next((everything[one.dataset_id] for one in suiting if kind(everything, one) == "image"), None)
    sources = [DATASET] + ([UPLOAD, DRAW] if "image" in kinds else [])
    if again is not None and again.examples:
        sources.append(AGAIN)
    if st.session_state.get("play_source") not in (None, *sources):
        st.session_state["play_source"] = DATASET
    st.session_state.setdefault("play_source", DATASET)
    source = st.segmented_control("Examples", sources, required=True, key="play_source")
    if source == AGAIN and again is not None:
        st.caption("The examples that the link's job was given.")
        names = ("dataset_id", "examples", "shots", "queries")
        return Given({name: getattr(again, name) for name in names})
    if source == UPLOAD and home is not None:
        return example_input.uploaded(home)
    if source == DRAW and home is not None:
        return example_input.drawn(home)
    offered = [dataset for dataset in everything.values() if fits(dataset, kinds, suiting)]
    if not offered:
        st.info("The dataset of this initialisation is not there any more.", icon=":material/info:")
        return None
    if st.session_state.get("play_dataset") not in (None, *(dataset.name for dataset in offered)):
        del st.session_state["play_dataset"]
    return example_input.from_dataset(offered, suiting)


def kind(everything: dict[int, Dataset], one: Initialisation) -> str:
    """What an initialisation learns from."""
    return example_input.kind_of(everything[one.dataset_id])


def fits(dataset: Dataset, kinds: set[str], trained: Sequence[Initialisation]) -> bool:
    """Whether some initialisation can learn from this dataset; tables must be the very one that it was trained on."""
    own = {one.dataset_id for one in trained}
    kind = example_input.kind_of(dataset)
    return kind in kinds and (kind in ("image", "text") or dataset.id in own)


def submit(fields: dict[str, Any]) -> int:
    """Check the wish and put it into the queue."""
    job_id = jobs.submit(specs.parse(fields | {"kind": FINE_TUNING}), user=actions.user())
    st.session_state["play_prefilled"] = str(job_id)
    st.query_params.clear()
    st.query_params["job"] = str(job_id)
    return job_id


def result(job_id: int) -> None:
    """What has become of the job; looked at often until the answer is there, then until its files are."""
    moving = reads.read(jobs.get, job_id).status in MOVING
    answered = reads.read(initialisations.adaptation, job_id) is not None
    every = (reads.LIVE_S if answered else POLL_S) if moving else None
    st.fragment(live, run_every=every)(job_id, moving, answered)


def live(job_id: int, was_moving: bool, was_answered: bool) -> None:
    """State and answer of the job."""
    with messages.show_errors():
        job, body = reads.read(jobs.get, job_id), reads.read(initialisations.adaptation, job_id)
        if was_moving != (job.status in MOVING) or was_answered != (body is not None):
            st.rerun()
        with st.container(horizontal=True, vertical_alignment="center"):
            st.subheader("The answer", width="content")
            messages.badge(job.status)
            links.link(links.JOB, f"Job {job_id}", icon=":material/deployed_code:", job=job_id)
        for text in reads.read(log.warnings, job_id)[:3] if job.status in jobs.ENDED else ():
            st.warning(words.plain(text), icon=":material/warning:")
        if body is not None:
            adaptation.draw(job_id, job.spec.model_dump(mode="json"), body)
            if job.status in MOVING:
                st.caption("The files to take away are being written.")
        else:
            waiting(job)


def waiting(job: jobs.Job) -> None:
    """Why there is no answer yet, or none."""
    if job.status in jobs.ENDED:
        row = reads.read(jobs.overview, job_id=job.id).iloc[0]
        error = row["error"] if isinstance(row["error"], str) else "The job has ended without an answer; see its log."
        st.error(words.plain(error), icon=":material/error:")
    elif not reads.read(runners.alive):
        st.warning(
            "No runner is alive: the job waits until one is. Home says how to start it.", icon=":material/power_off:"
        )
    else:
        st.progress(0.5, text="Learning from the examples")


def show() -> None:
    """The page below its title."""
    known = reads.read(initialisations.all_initialisations)
    if not known:
        messages.empty(
            "The playground starts from what a few-shot meta-training has learned, and there is none yet.",
            links.NEW_JOB, "Start a meta-training", engine=kinds.for_spec(FewShotSpec).name,
        )  # fmt: skip
        return
    job = asked_job()
    again = prefill(job, known)
    left, right = st.columns([2, 1], gap="medium")
    with right, st.container(border=True):
        chosen = choose(known)
        rates = pace(chosen)
        place = st.container()
    with left, st.container(border=True):
        wish = give(known, chosen, again)
    clicked = place.button(
        "Adapt", type="primary", icon=":material/bolt:", key="adapt", disabled=wish is None, width="stretch"
    )
    job_id = job.id if job else None
    if clicked and wish is not None:
        try:
            job_id = submit(wish.asked() | rates | {"initialisation": chosen.job_id if chosen else None})
        except MetascoutError as error:
            place.error(words.plain(words.sentence(error)), icon=":material/error:")
    if job_id is not None:
        result(job_id)


st.title("Playground")
st.caption("Give a few examples of new classes, and see what is learned from them within seconds.")
with messages.show_errors():
    show()
