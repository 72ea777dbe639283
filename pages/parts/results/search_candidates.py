"""The candidates of a network search: error against size, survivors of each rung, and the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets, results
from core.queue import jobs
from core.scoring import METRICS
from pages import links, reads, words
from pages.parts import charts

POINTS = 2_000
WAITING = "The first candidates appear here once they have been trained for a while."


def show(job: jobs.Job) -> None:
    """Draw everything about the networks that were tried."""
    frame = reads.read(results.candidates, job.id)
    if frame.empty:
        nothing(job, ":material/hourglass_empty:")
        return
    trained, error = frame[frame["epochs"] > 0], error_name(job)
    best = trained["valid_error"].min()
    lowest = f" Lowest validation {error}: {words.number(best)}." if np.isfinite(best) else ""
    unit = "network" if len(frame) == 1 else "networks"
    st.caption(f"{len(frame):,} {unit} proposed, {len(trained):,} trained.{lowest}")
    if len(trained):
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.subheader("Error and size")
            scatter(trained, error)
        with right:
            st.subheader("Survivors by rung")
            rungs(trained)
    st.subheader("Candidates")
    table(frame, error)


def nothing(job: jobs.Job, icon: str) -> None:
    """Draw that there is no candidate, or none yet."""
    text = "The job ended before it trained a candidate." if job.status in jobs.ENDED else WAITING
    st.info(text, icon=icon)


def error_name(job: jobs.Job) -> str:
    """Return what the error of a candidate is, within a sentence: the same for every metric of the job."""
    task = reads.read(datasets.get, job.dataset_id).task
    return METRICS["rmse"].label if task == "regression" else "error rate"


def scatter(frame: pd.DataFrame, error: str) -> None:
    """Draw the validation error by number of parameters, with the Pareto front."""
    front = frame[results.pareto(frame["valid_error"].to_numpy(), frame["n_parameters"].to_numpy())]
    points = pd.concat([frame.head(POINTS), front]).drop_duplicates("candidate")
    figure = go.Figure()
    figure.add_scatter(
        x=points["n_parameters"], y=points["valid_error"], mode="markers", name="Candidates",
        customdata=np.stack([points["candidate"].map(lambda name: charts.label(name, 60)), points["epochs"]], axis=1),
        marker={
            "size": 8, "opacity": 0.8, "color": np.log2(points["epochs"]), "colorscale": "Viridis",
            "colorbar": {"title": "Epochs", **ticks(points["epochs"])}, "showscale": points["epochs"].nunique() > 1,
        },
        hovertemplate=f"%{{customdata[0]}}<br>%{{x:,}} parameters<br>{error} %{{y:.4g}} after epoch %{{customdata[1]}}"
        "<extra></extra>",
    )  # fmt: skip
    line = front.sort_values("n_parameters")
    figure.add_scatter(
        x=line["n_parameters"], y=line["valid_error"], mode="lines", name="Pareto front",
        line={"shape": "hv", "color": charts.FAINT, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(type="log", title="Parameters", dtick=1, tickformat="~s")
    figure.update_yaxes(title=f"Validation {error}")
    if len(points) <= charts.FEW_POINTS:
        figure.update_yaxes(range=charts.padded_range(points["valid_error"]))
    alt = f"Validation {error} against the number of parameters, coloured by epochs, with the Pareto front"
    charts.draw(figure, alt, height=400, key="candidates_by_size")


def ticks(epochs: pd.Series) -> dict[str, Any]:
    """Return the rungs as ticks of a logarithmic colour bar, at most six."""
    values = sorted(set(epochs))
    values = values[:: -(-len(values) // 6)]
    return {"tickvals": [float(np.log2(value)) for value in values], "ticktext": [f"{value:,}" for value in values]}


def rungs(frame: pd.DataFrame) -> None:
    """Draw how many candidates reached each rung."""
    counts = survivors(frame)
    names = [f"{epochs:,}" for epochs in counts.index]
    figure = go.Figure()
    figure.add_bar(
        x=names, y=counts, text=[f"{count:,}" for count in counts], marker={"color": charts.ACCENT},
        hovertemplate="Trained for at least %{x} epochs: %{y:,}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Epochs", type="category")
    figure.update_yaxes(title="Candidates", rangemode="tozero", dtick=1 if counts.max() < 5 else None)
    charts.draw(figure, "Candidates by the epochs they were trained for at least", height=400, key="survivors")


def survivors(frame: pd.DataFrame) -> pd.Series:
    """Return the candidates by the epochs that they were trained for at least, the first rung first."""
    return frame["epochs"].value_counts().sort_index(ascending=False).cumsum().sort_index()


def table(frame: pd.DataFrame, error: str) -> None:
    """Draw the candidates, those trained longest first, then by error."""
    rows = frame.head(POINTS).assign(
        latency=frame["latency_s"] * 1e3,
        trial=[None if np.isnan(trial_id) else f"Trial {trial_id:.0f}" for trial_id in frame["trial_id"].head(POINTS)],
    )
    config = columns(error)
    order = [name for name in config if name in ("epochs", "candidate") or rows[name].notna().any()]
    st.dataframe(
        rows, column_order=order, column_config=config, hide_index=True,
        height="content" if len(frame) <= 12 else 460, key="candidates", placeholder="",
        alt="Candidates, those trained longest first, then by validation error",
    )  # fmt: skip
    if len(frame) > POINTS:
        st.caption(f"The first {POINTS:,} of {len(frame):,} candidates")


def columns(error: str) -> dict[str, Any]:
    """Return how the table is drawn."""
    column = st.column_config
    detail = ": the share of rows with a wrong class" if error == "error rate" else ""
    return {
        "epochs": column.NumberColumn("Epochs", format="localized", help="The highest rung that it reached"),
        "valid_error": column.NumberColumn(
            f"Validation {error}", format="%.4f", help=f"After these epochs{detail}"
        ),
        "n_parameters": column.NumberColumn("Parameters", format="localized"),
        "flops": column.NumberColumn("FLOPs per row", format="compact"),
        "latency": column.NumberColumn("Latency, ms", format="%.3g", help="To predict a single row"),
        "trial": column.ButtonColumn("Trial", type="tertiary", key="open_trial", on_click=open_trial),
        "candidate": column.TextColumn("Candidate", width="large"),
    }  # fmt: skip


def open_trial() -> None:
    """Go to the finalist's trial."""
    st.switch_page(links.TRIAL, query_params={"trial": st.session_state.open_trial.label.rpartition(" ")[2]})
