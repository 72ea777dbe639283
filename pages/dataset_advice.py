"""Advice (/advice?dataset=NAME or id): what will do best on a dataset, the plan to run, and how it turned out."""

from __future__ import annotations

from textwrap import wrap
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import advice, datasets, kinds, metafeatures
from core.advice import Advice, fits
from core.datasets import Dataset
from core.errors import InputError
from core.queue import runners
from core.scoring import METRICS
from core.specs import PortfolioSpec
from pages import links, reads, words
from pages.parts import charts, messages
from pages.parts.advice import advice_plan, advice_ranking
from pages.parts.advice.advice_plan import value

ORIGINS = {"own": "yours"}


def show(dataset: Dataset) -> None:
    """Draw the advice on a dataset, and how it turned out."""
    links.name_tab(dataset.name, "Advice")
    if fits.last_fit(advice.task_type(dataset)) is None:
        no_selector()
        return
    try:
        current = advice.advise(dataset.id)
    except InputError as error:
        messages.show(error)
        engine = kinds.for_spec(PortfolioSpec).name
        links.link(links.NEW_JOB, "Start a portfolio", dataset=dataset.name, engine=engine)
        return
    announce_change(current)
    reliability(current)
    before = advice.last_advice(dataset.id, before_results=True)
    evaluated = before or current
    actual = advice.outcome(evaluated)
    errors = dict(zip(actual["candidate"], actual["actual"], strict=True))
    advice_plan.draw(current, errors)
    if len(actual):
        outcome(evaluated, actual, blind=before is None)
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Predictions made before the first run" if before and len(actual) else "Prediction")
        advice_ranking.draw(evaluated if len(actual) else current, errors)
    with right:
        st.subheader("Similar datasets")
        similar(current)
        st.subheader("What drives the prediction")
        drivers(current)


def announce_change(current: Advice) -> None:
    """Tell the reader if the advice has changed since the last look at the page."""
    last = st.session_state.get("advice_seen")
    if last is not None and last[0] == current.dataset_id and last[1] != current.id:
        st.toast("New results have changed this advice. Check the plan again.", icon=":material/update:")
    st.session_state["advice_seen"] = current.dataset_id, current.id


def no_selector() -> None:
    """Draw why there is no advice before the first selector is fitted."""
    if reads.read(runners.alive):
        st.info(
            "The first selector is being fitted. This takes less than a minute; then reload this page.",
            icon=":material/hourglass_top:",
        )
        st.button("Reload", icon=":material/refresh:", key="again")
        return
    st.warning(
        "A runner fits the selector, and no runner is running. Home says how to start one.", icon=":material/power_off:"
    )
    links.link(links.HOME)


def reliability(current: Advice) -> None:
    """Draw how far to trust the advice."""
    basis = f"Based on {current.n_known:,} datasets, "
    basis += f"{current.n_own:,} of them yours." if current.n_own else "none of them yours yet: each job adds to them."
    text = words.plain(f"{current.reason} {basis}")
    if current.falls_back:
        st.warning(text, title="The safe default is recommended", icon=":material/shield:")
    else:
        st.info(text, title="How reliable is this advice?", icon=":material/verified:")
    if current.beyond:
        st.warning(
            "This dataset is unlike any known one, so the prediction is less certain. Check the intervals, and run"
            " several kinds of model.",
            icon=":material/explore:",
        )


def outcome(evaluated: Advice, actual: pd.DataFrame, *, blind: bool) -> None:
    """Draw predicted against actual, once something has run."""
    st.subheader("Outcome")
    if blind:
        st.caption("There was no advice before the first result. This advice does not use this dataset's results.")
    best, first = actual.loc[actual["valid_error"].idxmin()], actual.iloc[0]
    name = METRICS[evaluated.metric].label
    ranked = actual["rank"].notna()
    with st.grid(3, min_column_width=220):
        figure(
            "Test score of the winner", f"{name} {value(best['actual'])}", f"{best['candidate']}, best by validation"
        )
        if pd.notna(first["rank"]):
            lost = first["actual"] - best["actual"]
            behind = (
                f"{abs(lost):.3f} {'behind' if lost > 0 else 'ahead of'} {best['candidate']}" if lost else "the same"
            )
            rank = f"Rank {first['rank']:.0f} of the advice"
            figure(rank, f"{name} {value(first['actual'])}", f"{first['candidate']}, {behind}")
        inside = f"{int(actual['inside'].sum())} of {int(ranked.sum())}"
        figure("Within the 90% interval", inside, "of the candidates run so far")
    if others := list(actual["candidate"][~ranked]):
        st.caption(words.plain(f"Not ranked, since the selector had no results for them: {', '.join(others)}."))


def figure(label: str, number: str, note: str) -> None:
    """Draw a number with a note below it."""
    st.metric(label, number, words.plain(note), delta_color="off", delta_arrow="off", border=True)


def similar(current: Advice) -> None:
    """Draw the known datasets that are most similar."""
    frame = pd.DataFrame(
        {
            "dataset": item.dataset,
            "candidate": item.candidate,
            "value": 1 - item.error,
            "similarity": 1 - item.distance,
            "about": ORIGINS.get(item.origin, f"{item.origin}: {item.mark}"),
        }
        for item in current.near
    )
    column = st.column_config
    config: dict[str, Any] = {
        "dataset": column.TextColumn("Dataset", width=130),
        "candidate": column.TextColumn("Best candidate", width=120),
        "value": column.NumberColumn(METRICS[current.metric].label, format="%.3f", width=60),
        "similarity": column.NumberColumn("Similarity", format="%.2f", width=60, help="1 = identical"),
        "about": "Origin",
    }
    st.dataframe(frame, column_config=config, hide_index=True, key="near", alt="The most similar known datasets")


def drivers(current: Advice) -> None:
    """Draw the meta-features that move the prediction of the first candidate."""
    if not current.drivers:
        st.caption("No meta-feature moves the ranking.")
        return
    best = current.ranking[0].candidate
    st.caption(
        words.plain(f"How each meta-feature changes the predicted error of {best}. Bars to the left are in its favour.")
    )
    items = current.drivers[::-1]
    names = [metafeatures.NAMES[item.name] for item in items]
    chart = go.Figure()
    chart.add_bar(
        x=[item.moved for item in items], orientation="h",
        y=["<br>".join(wrap(charts.label(name, 64), 34)) for name in names],
        marker_color=[charts.ACCENT if item.moved < 0 else charts.SECOND for item in items],
        customdata=[[name, words.number(item.value)] for name, item in zip(names, items, strict=True)],
        hovertemplate="%{customdata[0]}<br>here %{customdata[1]}<br>moves the error by %{x:+.3f}<extra></extra>",
    )  # fmt: skip
    chart.update_xaxes(title="Change in error", nticks=4, tickformat="~f")
    charts.draw(chart, "Meta-features that move the prediction most", height=110 + 40 * len(items), key="drivers")


st.title("Advice")
st.caption("See which models should do best on your data, predicted from past runs.")
with messages.show_errors():
    registered = reads.read(datasets.all_datasets)
    if not registered:
        messages.empty("Advice needs a dataset, and there is none yet.", links.ADD_DATASET, "Add a dataset")
    elif dataset := links.choose_dataset(registered, placeholder="Choose a dataset"):
        show(dataset)
    else:
        st.info("Choose a dataset to see what will do best on it.", icon=":material/table:")
