"""Advice (/advice?dataset=NAME or id): what will do best on a dataset, the plan to run, and what came of it."""

from __future__ import annotations

import math
from textwrap import wrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import advice, datasets, kinds, machine, metafeatures, specs
from core.advice import Advice, RankedCandidate, fits
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs, runners
from core.scoring import METRICS
from core.specs import Spec
from pages import actions, links, reads, words
from pages.parts import charts, messages

DRAWN = 20
ORIGINS = {"own": "yours"}


def show(dataset: Dataset) -> None:
    """Everything that is known before anything runs, and what came of it afterwards."""
    if fits.last_fit(advice.task_type(dataset)) is None:
        waiting()
        return
    try:
        given = advice.advise(dataset.id)
    except InputError as error:
        messages.show(error)
        links.link(
            links.NEW_JOB, "Start a portfolio", dataset=dataset.name, engine=kinds.for_spec(specs.PortfolioSpec).name
        )
        return
    renewed(given)
    trust(given)
    before = advice.last_advice(dataset.id, before_results=True)
    judged = before or given
    actual = advice.outcome(judged)
    plan(given, dict(zip(actual["candidate"], actual["actual"], strict=True)))
    if len(actual):
        outcome(judged, actual, blind=before is None)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Predicted before anything ran" if before and len(actual) else "Predicted")
        ranking(judged if len(actual) else given, actual)
    with right:
        st.subheader("Like this dataset")
        near(given)
        st.subheader("What drove it")
        drivers(given)


def renewed(given: Advice) -> None:
    """Say so where the advice has changed under the reader's eyes: what was on the page before is not queued."""
    seen = st.session_state.get("advice_seen")
    if seen is not None and seen[0] == given.dataset_id and seen[1] != given.id:
        st.toast("More is known now: the advice was made anew. Look at the plan again.", icon=":material/update:")
    st.session_state["advice_seen"] = given.dataset_id, given.id


def waiting() -> None:
    """Where no selector has been fitted yet."""
    if reads.read(runners.alive):
        st.info(
            "The first selector is being fitted from the results that are known. It takes less than a minute:"
            " reload this page then.",
            icon=":material/hourglass_top:",
        )
        st.button("Look again", icon=":material/refresh:", key="again")
        return
    st.warning(
        "The selector is fitted by a runner, and none is alive. Home says how to start one.",
        icon=":material/power_off:",
    )
    links.link(links.HOME, "Home", icon=":material/home:")


def trust(given: Advice) -> None:
    """How much to trust it, in words."""
    rests = f"It rests on {given.n_known:,} datasets"
    rests += f", {given.n_own:,} of them yours." if given.n_own else ", none of them yours yet: each job adds to it."
    text = words.plain(f"{given.reason} {rests}")
    if given.falls_back:
        st.warning(text, title="The safe default is recommended", icon=":material/shield:")
    else:
        st.info(text, title="How far to trust this", icon=":material/verified:")
    if given.beyond:
        st.warning(
            "This dataset is unlike any known one: the prediction reaches beyond what has been seen. Take the intervals"
            " seriously, and run a few kinds of model.",
            icon=":material/explore:",
        )


def plan(given: Advice, got: dict[str, float]) -> None:
    """The candidates to run of which the best is kept, and the button that queues their jobs."""
    st.subheader("The plan")
    text = "Run these, keep the best by the valid rows. They were chosen together: one may win where another fails."
    if given.falls_back:
        text += f" To run a single one, take the safe default, {given.single_best}."
    st.caption(words.plain(text))
    by_name = {item.candidate: item for item in given.ranking}
    with st.grid(max(1, len(given.plan)), min_column_width=220):
        for name in given.plan:
            item = by_name[name]
            note = f"90%: {bounds(item)}, fits in about {words.duration(item.fit_s)}"
            if name in got:
                note = f"has run: {value(got[name])} on test"
            st.metric(
                words.plain(name), f"{METRICS[given.metric].label} {value(item.error)}", note, delta_color="off",
                delta_arrow="off", border=True, help="Predicted",
            )  # fmt: skip
    queued = reads.read(advice.jobs_of, given.dataset_id)
    with st.container(horizontal=True, vertical_alignment="center"):
        panel = st.popover("Run the plan", icon=":material/play_arrow:", type="primary", key="plan")
        for job_id in queued[-4:]:
            status = reads.read(jobs.get, job_id).status
            links.link(links.JOB, f"Job {job_id}: {status}", icon=words.STATUSES[status][1], job=job_id)
    with (
        panel,
        st.form(f"run_plan_{given.id}", border=False, enter_to_submit=False),
    ):  # a newer advice has a form of its own
        st.caption("The portfolio trains its candidates of the plan, and those that the ranking puts next.")
        if queued:
            st.caption(f"Plans of this dataset were queued before (last: job {queued[-1]}); this adds new jobs.")
        offered = advice.specs_of(given, cpus=min(2, machine.cpu_slots()))
        warm = reads.read(advice.warm_starts, given)
        ranked = advice.ranked_algorithms(given)
        wanted = [asked(number, spec, warm, ranked) for number, spec in enumerate(offered)]
        if st.form_submit_button("Queue these jobs", type="primary", icon=":material/send:", key=f"queue_{given.id}"):
            queue(given, [given_spec for given_spec in wanted if given_spec is not None])


def asked(number: int, spec: Spec, warm: list[int], ranked: tuple[str, ...]) -> dict[str, Any] | None:
    """One job of the plan: whether it is wanted, and for how long."""
    st.markdown(f"**{kinds.label(spec.kind)}**")
    st.caption(words.plain(told(spec)))
    chosen, seconds = st.columns([1, 1], vertical_alignment="bottom")
    wanted = chosen.checkbox("Run it", True, key=f"wanted_{number}")
    budget_s = seconds.number_input("Seconds", value=spec.budget_s, step=30, key=f"budget_{number}")
    given = {**spec.model_dump(mode="json"), "budget_s": budget_s}
    if warm and "starts" in given and st.checkbox(
        f"Start with the best of job {', '.join(map(str, warm))}", key=f"warm_{number}",
        help="Their datasets are like this one. It finds good networks sooner, and looks less far.",
    ):  # fmt: skip
        given["starts"] = warm
    first = f"Only what ranks first: {', '.join(ranked)}"
    if ranked and "algorithms" in given and st.checkbox(first, key=f"ranked_{number}"):
        given["algorithms"] = ranked
    return given if wanted else None


def told(spec: Spec) -> str:
    """What a job of the plan trains."""
    names = getattr(spec, "candidates", None) or getattr(spec, "algorithms", None)
    return ", ".join(names) if names else kinds.of(spec.kind).about


def queue(given: Advice, wanted: list[dict[str, Any]]) -> None:
    """Submit what was chosen."""
    with messages.show_errors():
        ids = advice.run(given, [specs.parse(body) for body in wanted], user=actions.user())
        names = ", ".join(f"job {job_id}" for job_id in ids)
        st.success(f"Queued: {names}. You can close this page: the jobs go on.", icon=":material/check_circle:")
        if not reads.read(runners.alive):
            st.warning("No runner is alive: they wait until one is.", icon=":material/power_off:")
        for job_id in ids:
            links.link(links.JOB, f"Open job {job_id}", job=job_id)


def outcome(judged: Advice, actual: pd.DataFrame, *, blind: bool) -> None:
    """Predicted against actual, once something has run."""
    st.subheader("What came of it")
    if blind:
        st.caption("No advice was given before the first result; this one was made without looking at this dataset's.")
    best, first = actual.loc[actual["valid_error"].idxmin()], actual.iloc[0]
    name = METRICS[judged.metric].label
    with st.grid(3, min_column_width=220):
        st.metric("Best by valid", f"{name} {value(best['actual'])}", words.plain(f"{best['candidate']}, on test"),
                  delta_color="off", delta_arrow="off", border=True)  # fmt: skip
        if pd.notna(first["rank"]):
            lost = first["actual"] - best["actual"]
            behind = f"{abs(lost):.3f} {'behind' if lost > 0 else 'ahead of'} it" if lost else "the same"
            st.metric(
                f"Rank {first['rank']:.0f} of the advice", f"{name} {value(first['actual'])}",
                words.plain(f"{first['candidate']}, {behind}"), delta_color="off", delta_arrow="off", border=True,
            )  # fmt: skip
        told = actual["rank"].notna()
        inside = f"{int(actual['inside'].sum())} of {int(told.sum())}"
        st.metric("Within their 90% interval", inside, "candidates that have run", delta_color="off",
                  delta_arrow="off", border=True)  # fmt: skip
    if others := list(actual["candidate"][~told]):
        st.caption(words.plain(f"Not known to the advice when it was given: {', '.join(others)}."))


def ranking(given: Advice, actual: pd.DataFrame) -> None:
    """The candidates with their intervals, drawn and as a table."""
    got = dict(zip(actual["candidate"], actual["actual"], strict=True))
    draw(given, got)
    frame = pd.DataFrame(
        {
            "rank": rank,
            "candidate": item.candidate,
            "engine": kinds.label(item.engine) if item.engine else "Imported runs",
            "predicted": 1 - item.error,
            "lower": 1 - item.upper,
            "upper": 1 - item.lower,
            "actual": 1 - got.get(item.candidate, math.nan),
            "fit_s": item.fit_s,
            "plan": item.candidate in given.plan,
        }
        for rank, item in enumerate(given.ranking, 1)
    )
    name = METRICS[given.metric].label
    st.dataframe(
        frame,
        column_config={
            "rank": st.column_config.NumberColumn("Rank", width="small"),
            "candidate": "Candidate",
            "engine": "Engine",
            "predicted": st.column_config.NumberColumn(f"{name}, predicted", format="%.3f"),
            "lower": st.column_config.NumberColumn("from", format="%.3f", help="90% interval"),
            "upper": st.column_config.NumberColumn("to", format="%.3f"),
            "actual": st.column_config.NumberColumn(f"{name} on test", format="%.3f", help="Once it has run"),
            "fit_s": st.column_config.NumberColumn("Fit, seconds", format="%.2f", help="Predicted, on one thread"),
            "plan": st.column_config.CheckboxColumn("Plan"),
        },
        column_order=[c for c in frame if c != "actual" or len(actual)],
        hide_index=True, key="ranking", alt="Candidates ranked, with their predicted metric",
    )  # fmt: skip
    st.caption("The rank follows the expected loss against the best candidate, not the predicted value alone.")


def draw(given: Advice, got: dict[str, float]) -> None:
    """Predicted values with intervals, and the actual ones that are known."""
    items = given.ranking[:DRAWN]
    names = [f"{rank}. {charts.label(item.candidate, 28)}" for rank, item in enumerate(items, 1)]
    colors = [charts.ACCENT if item.candidate in given.plan else charts.FAINT for item in items]
    predicted = [1 - item.error for item in items]
    figure = go.Figure()
    spans = {"array": [item.error - item.lower for item in items], "arrayminus": [i.upper - i.error for i in items]}
    figure.add_scatter(
        x=predicted, y=names, mode="markers", name="Predicted (blue: the plan)", marker={"size": 10, "color": colors},
        error_x={"type": "data", "symmetric": False, **spans, "color": charts.FAINT, "thickness": 2, "width": 4},
        hovertemplate="%{y}<br>%{x:.3f}<extra></extra>",
    )  # fmt: skip
    if got:
        figure.add_scatter(
            x=[1 - got[item.candidate] if item.candidate in got else None for item in items], y=names, mode="markers",
            name="Actual, on test", marker={"size": 11, "symbol": "diamond", "color": charts.SECOND},
            hovertemplate="%{y}<br>actual %{x:.3f}<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    low = min([1 - item.upper for item in items[:5]] + predicted + [1 - error for error in got.values()])
    figure.update_xaxes(title=f"{METRICS[given.metric].label}, 90% interval", range=[max(low, -0.2) - 0.02, 1.02])
    alt = f"Predicted {METRICS[given.metric].label} of the first candidates with intervals"
    charts.draw(figure, alt, height=120 + 26 * len(items), key="drawn")


def near(given: Advice) -> None:
    """The known datasets that are most like it."""
    frame = pd.DataFrame(
        {
            "dataset": item.dataset,
            "candidate": item.candidate,
            "value": 1 - item.error,
            "likeness": 1 - item.distance,
            "what": ORIGINS.get(item.origin, f"{item.origin}: {item.mark}"),
        }
        for item in given.near
    )
    st.dataframe(
        frame,
        column_config={
            "dataset": st.column_config.TextColumn("Dataset", width=130),
            "candidate": st.column_config.TextColumn("Best there", width=120),
            "value": st.column_config.NumberColumn(METRICS[given.metric].label, format="%.3f", width=60),
            "likeness": st.column_config.NumberColumn("Likeness", format="%.2f", width=60, help="1 is the same"),
            "what": "What it is",
        },
        hide_index=True, key="near", alt="Known datasets that are most like this one",
    )  # fmt: skip


def drivers(given: Advice) -> None:
    """The meta-features that moved the prediction of the first candidate."""
    if not given.drivers:
        st.caption("No meta-feature moved the ranking.")
        return
    first = given.ranking[0].candidate
    st.caption(words.plain(f"What moves {first} against the mean of all candidates: to the left speaks for it."))
    items = given.drivers[::-1]
    texts = [metafeatures.NAMES[item.name] for item in items]
    labels = ["<br>".join(wrap(charts.label(text, 64), 34)) for text in texts]
    figure = go.Figure()
    figure.add_bar(
        x=[item.moved for item in items], y=labels, orientation="h",
        marker_color=[charts.ACCENT if item.moved < 0 else charts.SECOND for item in items],
        customdata=[[text, words.number(item.value)] for text, item in zip(texts, items, strict=True)],
        hovertemplate="%{customdata[0]}<br>here %{customdata[1]}<br>moves the error by %{x:+.3f}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Change of its error", nticks=5)
    charts.draw(figure, "Meta-features that moved the prediction most", height=110 + 40 * len(items), key="drivers")


def value(error: float) -> str:
    """An error as its metric."""
    return f"{1 - error:.3f}"


def bounds(item: RankedCandidate) -> str:
    """The interval of the metric."""
    return f"{value(item.upper)} to {value(item.lower)}" if math.isfinite(item.upper) else "unknown"


st.title("Advice")
st.caption("Which models will do best on your data, learned from every run that is known, before anything runs.")
with messages.show_errors():
    known = reads.read(datasets.all_datasets)
    if not known:
        messages.empty("Advice needs a dataset, and there is none yet.", links.ADD_DATASET, "Add a dataset")
    elif chosen := links.choose_dataset(known, placeholder="Choose a dataset"):
        show(chosen)
    else:
        st.info("Choose a dataset to see what will do best on it.", icon=":material/table:")
