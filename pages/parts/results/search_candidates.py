"""The candidates of a network search, as its job's page draws them: error against size, rungs, the table, any two."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from core import datasets, results
from core.queue import jobs
from core.scoring import METRICS
from pages import links, reads, words
from pages.parts import charts, network_drawing

POINTS = 2_000
WAITING = "The first candidates appear here once they have been trained for a while."


def show(job: jobs.Job) -> None:
    """Everything about the networks that were tried."""
    frame = reads.read(results.candidates, job.id)
    if frame.empty:
        told = "No candidate was trained." if job.status in jobs.ENDED else WAITING
        st.info(told, icon=":material/hourglass_empty:")
        return
    trained, error = frame[frame["epochs"] > 0], measure(job)
    best = trained["valid_error"].min()
    so_far = f" The lowest {error} on valid so far is {words.number(best)}." if np.isfinite(best) else ""
    unit = "network" if len(frame) == 1 else "networks"
    st.caption(f"{len(frame):,} {unit} proposed, {len(trained):,} trained.{so_far}")
    if len(trained):
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.subheader("Error against size")
            scatter(trained, error)
        with right:
            st.subheader("Survivors of each rung")
            rungs(trained)
    st.subheader("Candidates")
    table(frame, error)


def measure(job: jobs.Job) -> str:
    """What the error of a candidate is, within a sentence: the same whatever the job's metric is."""
    task = reads.read(datasets.get, job.dataset_id).task
    return METRICS["rmse"].label if task == "regression" else "error rate"


def capital(text: str) -> str:
    """The words as the beginning of a label."""
    return text[:1].upper() + text[1:]


def scatter(frame: pd.DataFrame, error: str) -> None:
    """Valid error by number of parameters, with the front of the networks that no other beats in both."""
    front = frame[results.pareto(frame["valid_error"].to_numpy(), frame["n_parameters"].to_numpy())]
    drawn = pd.concat([frame.head(POINTS), front]).drop_duplicates("candidate")
    figure = go.Figure()
    figure.add_scatter(
        x=drawn["n_parameters"], y=drawn["valid_error"], mode="markers", name="Candidates",
        customdata=np.stack([drawn["candidate"].map(lambda name: charts.label(name, 60)), drawn["epochs"]], axis=1),
        marker={
            "size": 8, "opacity": 0.8, "color": np.log2(drawn["epochs"]), "colorscale": "Viridis",
            "colorbar": {"title": "Epochs", **ticks(drawn["epochs"])}, "showscale": drawn["epochs"].nunique() > 1,
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
    figure.update_yaxes(title=f"{capital(error)} on valid")
    if len(drawn) <= charts.FEW_POINTS:
        figure.update_yaxes(range=charts.padded_range(drawn["valid_error"]))
    told = f"{capital(error)} on valid against the number of parameters, coloured by epochs; the front is drawn"
    charts.draw(figure, told, height=400, key="candidates_by_size")


def ticks(epochs: pd.Series) -> dict[str, Any]:
    """The rungs as ticks of a logarithmic colour bar, at most six."""
    values = sorted(set(epochs))
    values = values[:: -(-len(values) // 6)]
    return {"tickvals": [float(np.log2(value)) for value in values], "ticktext": [f"{value:,}" for value in values]}


def rungs(frame: pd.DataFrame) -> None:
    """How many candidates reached each rung."""
    reached = survivors(frame)
    names = [f"{epochs:,}" for epochs in reached.index]
    figure = go.Figure()
    figure.add_bar(
        x=names, y=reached, text=[f"{count:,}" for count in reached], marker={"color": charts.ACCENT},
        hovertemplate="Trained for %{x} epochs or more: %{y:,}<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Epochs", type="category")
    figure.update_yaxes(title="Candidates", rangemode="tozero", dtick=1 if reached.max() < 5 else None)
    charts.draw(figure, "Candidates that were trained for so many epochs or more", height=400, key="survivors")


def survivors(frame: pd.DataFrame) -> pd.Series:
    """Candidates by the epochs that they were trained for at least, the first rung first."""
    return frame["epochs"].value_counts().sort_index(ascending=False).cumsum().sort_index()


def table(frame: pd.DataFrame, error: str) -> None:
    """The candidates, those trained longest first, then by their error."""
    column = st.column_config
    config: dict[str, Any] = {
        "epochs": column.NumberColumn("Epochs", format="localized", help="The highest rung that it reached"),
        "valid_error": column.NumberColumn(
            f"{capital(error)}, valid",
            format="%.4f",
            help="After these epochs" + (": the share of rows with a wrong class" if error == "error rate" else ""),
        ),
        "n_parameters": column.NumberColumn("Parameters", format="localized"),
        "flops": column.NumberColumn("FLOPs a row", format="compact"),
        "latency": column.NumberColumn("Latency, ms", format="%.3g", help="To predict one row alone"),
        "trial": column.ButtonColumn("Trial", type="tertiary", key="open_trial", on_click=open_trial),
        "candidate": column.TextColumn("Candidate", width="large"),
    }
    shown = frame.head(POINTS).assign(
        latency=frame["latency_s"] * 1e3,
        trial=[None if np.isnan(trial_id) else f"Trial {trial_id:.0f}" for trial_id in frame["trial_id"].head(POINTS)],
    )
    order = [name for name in config if name in ("epochs", "candidate") or shown[name].notna().any()]
    st.dataframe(
        shown, column_order=order, column_config=config, hide_index=True,
        height="content" if len(frame) <= 12 else 460, key="candidates", placeholder="",
        alt="Candidates, those trained longest first, then by their error on the valid rows",
    )  # fmt: skip
    if len(frame) > POINTS:
        st.caption(f"The first {POINTS:,} of {len(frame):,} candidates")


def open_trial() -> None:
    """Go to the finalist's trial."""
    st.switch_page(links.TRIAL, query_params={"trial": st.session_state.open_trial.label.rpartition(" ")[2]})


def networks_of(job: jobs.Job) -> None:
    """Any candidate as it is built, and any other beside it."""
    frame = reads.read(results.candidates, job.id)
    if frame.empty:
        st.info("No candidate was trained." if job.status in jobs.ENDED else WAITING, icon=":material/account_tree:")
        return
    names = frame["candidate"].tolist()
    sides = st.columns(2, gap="medium")
    chosen = [choice(side, names, index) for side, index in zip(sides, (0, None), strict=True)]
    rows = [frame[frame["candidate"] == name].iloc[0] for name in chosen if name]
    facts(rows, capital(measure(job)))
    final = any(np.isfinite(row["trial_id"]) for row in rows)
    for number, (side, row) in enumerate(zip(sides, rows, strict=False)):
        with side:
            way_to_trial(row, final=final)
            network(job.id, row, key=f"network_{number}")


def choice(side: DeltaGenerator, names: list[str], index: int | None) -> str | None:
    """One of the candidates, which the link keeps."""
    key, label = ("network", "Candidate") if index is not None else ("beside", "Beside it")
    links.preselect(key, names)
    return side.selectbox(label, names, index=index, key=key, bind="query-params", placeholder="Any other candidate")


def facts(rows: list[pd.Series], error: str) -> None:
    """What is known of the chosen candidates, a column each."""
    told = {
        f"{error} on valid": [words.number(row["valid_error"]) for row in rows],
        "Trained for, epochs": [f"{row['epochs']:,}" for row in rows],
        "Parameters": [_count(row["n_parameters"]) for row in rows],
        "FLOPs, a row": [_count(row["flops"]) for row in rows],
        "Latency, a row alone": [words.duration(row["latency_s"]) for row in rows],
    }
    names = ["Candidate", "Beside it"]
    frame = pd.DataFrame({"": list(told), **{names[i]: [row[i] for row in told.values()] for i in range(len(rows))}})
    st.dataframe(frame, hide_index=True, height="content", key="facts", alt="The chosen candidates, a column each")


def _count(value: float) -> str:
    return f"{value:,.0f}" if np.isfinite(value) else words.NONE


def way_to_trial(row: pd.Series, *, final: bool) -> None:
    """The link to a finalist's trial; with `final` it is said that there is none, so that drawings start level."""
    if np.isfinite(row["trial_id"]):
        trial_id = int(row["trial_id"])
        links.link(links.TRIAL, f"Trial {trial_id}", icon=":material/science:", trial=trial_id)
    elif final:
        st.page_link(links.TRIAL, label="No finalist: it has no trial", icon=":material/science:", disabled=True)


def network(job_id: int, row: pd.Series, *, key: str) -> None:
    """The drawing of a candidate."""
    trial_id = row["trial_id"]
    layers = reads.read(results.architecture, job_id, row["candidate"])
    if not layers and np.isfinite(trial_id):
        layers = reads.read(results.trial, int(trial_id)).details.get("architecture") or []
    if layers:
        network_drawing.draw(layers, key=key)
    else:
        st.info("The search has not told how this network is built.", icon=":material/account_tree:")
