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
    """The metric and the filters, which the link keeps."""
    labels = {METRICS[name].label: name for name in metrics_for(dataset.task)}
    links.preselect("metric", list(labels), {name: label for label, name in labels.items()})
    one, two, three, four = st.columns([2, 4, 2, 2], vertical_alignment="bottom")
    metric = one.selectbox("Metric", list(labels), key="metric", bind="query-params")
    chosen = two.multiselect(
        "Algorithms", algorithms, key="algorithm", bind="query-params", placeholder="All algorithms"
    )
    job = three.selectbox(
        "Job", [str(job_id) for job_id in job_ids], index=None, key="job", bind="query-params", placeholder="All jobs"
    )
    baselines = four.toggle(
        "Yardsticks", True, key="yardsticks", bind="query-params",
        help="Two simple models of scikit-learn, fitted by every job, to compare with",
    )  # fmt: skip
    return labels[metric], results.Scope(tuple(sorted(chosen)), int(job) if job else None, baselines)


def show(dataset: Dataset) -> None:
    """Filters, table and charts of one dataset."""
    algorithms, job_ids = reads.read(results.filter_values, dataset.id)
    metric, scope = filters(dataset, algorithms, job_ids)
    if not algorithms:
        messages.empty("No trial yet on this dataset.", links.NEW_JOB, "Start a job", dataset=dataset.name)
        return
    frame = reads.read(results.leaderboard, dataset.id, metric=metric, limit=trial_table.BEST_N, scope=scope)
    if frame.empty:
        st.info("No trial fits these filters.", icon=":material/filter_alt_off:")
        return
    headline(dataset, len(frame), frame.attrs["n_trials"], metric)
    trial_table.table(frame, key="board")
    with st.container(horizontal=True, vertical_alignment="center"):
        export(dataset, metric, scope)
        links.link(links.COMPARE, "Compare two trials", icon=":material/compare_arrows:", dataset=dataset.name)
    drawings(frame, metric)


def headline(dataset: Dataset, n_shown: int, n_trials: int, metric: str) -> None:
    """How to read the table."""
    n = f"The best {n_shown} of {n_trials:,}" if n_trials > n_shown else f"{n_trials:,}"
    rows = f"{dataset.n_rows['valid']:,} valid rows; scored on the same {dataset.n_rows['test']:,} test rows"
    trial = "trials" if n_trials != 1 else "trial"
    st.caption(f"{n} {trial}, ranked by {words.metric_label(metric)} on the {rows}, with a 95% interval.")


def export(dataset: Dataset, metric: str, scope: results.Scope) -> None:
    """The table as a file, with all trials of the view."""
    st.download_button(
        "Export as CSV", lambda: csv_export.csv_safe(results.leaderboard(dataset.id, metric=metric, scope=scope)),
        f"leaderboard_{dataset.name}.csv", "text/csv", icon=":material/download:", on_click="ignore", key="export",
    )  # fmt: skip


def drawings(frame: pd.DataFrame, metric: str) -> None:
    """Error against speed, and the best with their intervals."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Accuracy against speed")
        pareto(frame, metric)
    with right:
        st.subheader(f"The first {min(BARS, len(frame))}, on test")
        bars(frame.head(BARS), metric)


def pareto(frame: pd.DataFrame, metric: str) -> None:
    """Error by prediction time, with the front."""
    shown = pd.concat([frame.head(POINTS), frame[frame["pareto"]]]).drop_duplicates("trial_id")
    figure = go.Figure()
    kinds = {"Trials": (False, "circle", charts.ACCENT), "Yardsticks": (True, "diamond", charts.SECOND)}
    for name, (yardstick, symbol, color) in kinds.items():
        part = shown[shown["yardstick"] == yardstick]
        if len(part):
            figure.add_scatter(
                x=part["predict_row_s"], y=part["valid_error"], mode="markers", name=name,
                text=part["algorithm"].map(charts.label), customdata=part["trial_id"],
                marker={"symbol": symbol, "size": 9, "color": color, "opacity": 0.75},
                hovertemplate="%{text}<br>trial %{customdata}<br>error %{y:.4g}<br>%{x:.3s}s a row<extra></extra>",
            )  # fmt: skip
    front = shown[shown["pareto"]].sort_values("predict_row_s")
    if len(front):
        figure.add_scatter(
            x=front["predict_row_s"], y=front["valid_error"], mode="lines", name="Pareto front",
            line={"shape": "hv", "color": charts.FAINT, "dash": "dot"}, hoverinfo="skip",
        )  # fmt: skip
    figure.update_xaxes(type="log", title="Prediction time a row", tickformat="~s", ticksuffix="s", dtick=1)
    figure.update_yaxes(title=f"Error on valid ({error_words(metric)})")
    charts.draw(figure, "Valid error against prediction time a row; the front is drawn", height=420, key="pareto")


def error_words(metric: str) -> str:
    """What the error is, for an axis."""
    return f"1 - {METRICS[metric].label}" if METRICS[metric].higher_is_better else METRICS[metric].label


def bars(frame: pd.DataFrame, metric: str) -> None:
    """The best trials with the intervals of their test values."""
    names = [f"{rank}. {charts.label(name, 22)}" for rank, name in zip(frame["rank"], frame["algorithm"], strict=True)]
    colors = [charts.SECOND if yardstick else charts.ACCENT for yardstick in frame["yardstick"]]
    figure = go.Figure()
    figure.add_scatter(
        x=frame["test"], y=names, mode="markers", marker={"size": 9, "color": colors}, showlegend=False,
        error_x={
            "type": "data", "symmetric": False, "array": frame["upper"] - frame["test"],
            "arrayminus": frame["test"] - frame["lower"], "color": charts.FAINT, "thickness": 2, "width": 4,
        },
        hovertemplate="%{y}<br>%{x:.4g}<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(autorange="reversed", type="category")
    figure.update_xaxes(title=f"{METRICS[metric].label} on test, 95% interval")
    charts.draw(figure, f"{METRICS[metric].label} on test of the best trials, with intervals", height=420, key="bars")


st.title("Leaderboard")
with messages.show_errors():
    known = reads.read(datasets.all_datasets)
    if not known:
        messages.empty("There is no dataset yet, so there are no results.", links.ADD_DATASET, "Add a dataset")
    elif chosen := links.choose_dataset(known, placeholder="Choose a dataset"):
        show(chosen)
    else:
        st.info("Choose a dataset to see its trials.", icon=":material/table:")
