"""Leaderboard (?dataset=NAME&metric=...): every trial of a dataset, ranked, plotted and exported."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from core.scoring import METRICS, metrics_for
from pages import links, reads, words
from pages.parts import charts, csv_export, messages, trial_table

BARS = 15
POINTS = 200


def filters(dataset: Dataset, algorithms: Sequence[str], job_ids: Sequence[int]) -> tuple[str, results.Scope]:
    """Draw the metric and the filters, which the link keeps."""
    labels = {METRICS[name].label: name for name in metrics_for(dataset.task)}
    links.preselect("metric", list(labels), {name: label for label, name in labels.items()})
    one, two, three, four = st.columns([2, 4, 2, 2], vertical_alignment="bottom")
    metric = one.selectbox("Metric", list(labels), key="metric", bind="query-params")
    selection = two.multiselect(
        "Algorithms", algorithms, key="algorithm", bind="query-params", placeholder="All algorithms"
    )
    job = three.selectbox(
        "Job", [str(job_id) for job_id in job_ids], index=None, key="job", bind="query-params", placeholder="All jobs"
    )
    baselines = four.toggle(
        "Baselines", True, key="yardsticks", bind="query-params",
        help="Simple scikit-learn models, fitted by every AutoML job for comparison",
    )  # fmt: skip
    return labels[metric], results.Scope(tuple(sorted(selection)), int(job) if job else None, baselines)


def show(dataset: Dataset) -> None:
    """Draw the filters, the table and the charts of one dataset."""
    links.name_tab(dataset.name, "Leaderboard")
    algorithms, job_ids = reads.read(results.filter_values, dataset.id)
    metric, scope = filters(dataset, algorithms, job_ids)
    if not algorithms:
        messages.empty("This dataset has no trial yet.", links.NEW_JOB, "Start a job", dataset=dataset.name)
        return
    frame = reads.read(results.leaderboard, dataset.id, metric=metric, limit=trial_table.BEST_N, scope=scope)
    if frame.empty:
        st.info("No trial matches these filters.", icon=":material/filter_alt_off:")
        return
    headline(dataset, len(frame), frame.attrs["n_trials"], metric)
    trial_table.table(frame, key="board")
    with st.container(horizontal=True, vertical_alignment="center"):
        csv_export.button(
            lambda: results.leaderboard(dataset.id, metric=metric, scope=scope), f"leaderboard_{dataset.name}.csv"
        )
        links.link(links.COMPARE, "Compare two trials", dataset=dataset.name)
    draw_charts(frame, metric)


def headline(dataset: Dataset, n_shown: int, n_trials: int, metric: str) -> None:
    """Draw how to read the table."""
    n = f"The best {n_shown} of {n_trials:,}" if n_trials > n_shown else f"{n_trials:,}"
    trials = "trials" if n_trials != 1 else "trial"
    rows = f"{dataset.n_rows['valid']:,} validation rows and scored on the same {dataset.n_rows['test']:,} test rows"
    st.caption(f"{n} {trials}, ranked by {words.metric_label(metric)} on {rows}")


def draw_charts(frame: pd.DataFrame, metric: str) -> None:
    """Draw error against speed, and the best trials with their intervals."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Error and speed")
        pareto(frame, metric)
    with right:
        st.subheader(f"Test score of the top {min(BARS, len(frame))}")
        bars(frame.head(BARS), metric)


def pareto(frame: pd.DataFrame, metric: str) -> None:
    """Draw the validation error by prediction time, with the Pareto front."""
    top = pd.concat([frame.head(POINTS), frame[frame["pareto"]]]).drop_duplicates("trial_id")
    figure = go.Figure()
    groups = {"Trials": (False, "circle", charts.ACCENT), "Baselines": (True, "diamond", charts.SECOND)}
    for name, (baseline, symbol, color) in groups.items():
        part = top[top["yardstick"] == baseline]
        if len(part):
            figure.add_scatter(
                x=part["predict_row_s"], y=part["valid_error"], mode="markers", name=name,
                text=part["algorithm"].map(charts.label), customdata=part["trial_id"],
                marker={"symbol": symbol, "size": 9, "color": color, "opacity": 0.75},
                hovertemplate="%{text}<br>trial %{customdata}<br>error %{y:.4g}<br>%{x:.3s}s a row<extra></extra>",
            )  # fmt: skip
    front = top[top["pareto"]].sort_values("predict_row_s")
    if len(front):
        figure.add_scatter(
            x=front["predict_row_s"], y=front["valid_error"], mode="lines", name="Pareto front",
            line={"shape": "hv", "color": charts.FAINT, "dash": "dot"}, hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(type="log", title="Prediction time per row", tickformat="~s", ticksuffix="s", dtick=1)
    figure.update_yaxes(title=f"Validation error ({error_label(metric)})")
    alt = "Validation error against prediction time per row, with the Pareto front"
    charts.draw(figure, alt, height=420, key="pareto")


def error_label(metric: str) -> str:
    """Return what the error is, for an axis."""
    return f"1 - {METRICS[metric].label}" if METRICS[metric].higher_is_better else METRICS[metric].label


def bars(frame: pd.DataFrame, metric: str) -> None:
    """Draw the best trials with the intervals of their test scores."""
    names = [f"{rank}. {charts.label(name, 22)}" for rank, name in zip(frame["rank"], frame["algorithm"], strict=True)]
    colors = [charts.SECOND if baseline else charts.ACCENT for baseline in frame["yardstick"]]
    figure = go.Figure()
    figure.add_scatter(
        x=frame["test"], y=names, mode="markers", marker={"size": 9, "color": colors}, showlegend=False,
        error_x=charts.spans(frame["upper"] - frame["test"], frame["test"] - frame["lower"]),
        hovertemplate="%{y}<br>%{x:.4g}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title=f"Test {METRICS[metric].label}, 95% interval")
    alt = f"Test {METRICS[metric].label} of the best trials, with intervals"
    charts.draw(figure, alt, height=420, key="bars")


st.title("Leaderboard")
with messages.show_errors():
    registered = reads.read(datasets.all_datasets)
    if not registered:
        messages.empty("There is no dataset yet, so there are no results.", links.ADD_DATASET, "Add a dataset")
    elif dataset := links.choose_dataset(registered, placeholder="Choose a dataset"):
        show(dataset)
    else:
        st.info("Choose a dataset to see its trials.", icon=":material/table:")
