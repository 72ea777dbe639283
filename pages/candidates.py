"""The candidates of a network search, as its job's page draws them: error against size, rungs and the table."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import jobs, results
from pages import shared

POINTS = 2_000


def show(job: dict[str, Any]) -> None:
    """Everything about the networks that were tried."""
    frame = shared.read(results.candidates, job["id"])
    if frame.empty:
        waiting = "The first candidates appear here once they have been trained for a while."
        told = "No candidate was trained." if job["status"] in jobs.ENDED else waiting
        st.info(told, icon=":material/hourglass_empty:")
        return
    trained = frame[frame["epochs"] > 0]
    st.caption(f"{len(frame):,} networks proposed, {len(trained):,} trained. The longest trained are the survivors.")
    if len(trained):
        left, right = st.columns([3, 2], gap="medium")
        with left:
            st.subheader("Error against size")
            scatter(trained)
        with right:
            st.subheader("Survivors of each rung")
            rungs(trained)
    st.subheader("Candidates")
    table(frame)


def scatter(frame: pd.DataFrame) -> None:
    """Valid error by number of parameters, with the front of the networks that no other beats in both."""
    front = frame[results.pareto(frame["valid_error"].to_numpy(), frame["n_parameters"].to_numpy())]
    drawn = pd.concat([frame.head(POINTS), front]).drop_duplicates("candidate")
    figure = go.Figure()
    figure.add_scatter(
        x=drawn["n_parameters"], y=drawn["valid_error"], mode="markers", name="Candidates",
        customdata=np.stack([drawn["candidate"].map(lambda name: shared.label(name, 60)), drawn["epochs"]], axis=1),
        marker={
            "size": 8, "opacity": 0.8, "color": np.log2(drawn["epochs"]), "colorscale": "Viridis",
            "colorbar": {"title": "Epochs", **ticks(drawn["epochs"])},
        },
        hovertemplate="%{customdata[0]}<br>%{x:,} parameters<br>error %{y:.4g} after %{customdata[1]} epochs"
        "<extra></extra>",
    )  # fmt: skip
    line = front.sort_values("n_parameters")
    figure.add_scatter(
        x=line["n_parameters"], y=line["valid_error"], mode="lines", name="Pareto front",
        line={"shape": "hv", "color": shared.FAINT, "dash": "dot"}, hoverinfo="skip",
    )  # fmt: skip
    figure.update_xaxes(type="log", title="Parameters", dtick=1, tickformat="~s")
    figure.update_yaxes(title="Error on valid")
    told = "Valid error against the number of parameters, coloured by epochs; the front is drawn"
    shared.chart(figure, told, height=400, key="candidates_by_size")


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
        x=names, y=reached, text=[f"{count:,}" for count in reached], marker={"color": shared.ACCENT},
        hovertemplate="%{y:,} candidates were trained for %{x} epochs or more<extra></extra>",
    )  # fmt: skip
    figure.update_xaxes(title="Epochs", type="category")
    figure.update_yaxes(title="Candidates", rangemode="tozero")
    shared.chart(figure, "Candidates that were trained for so many epochs or more", height=400, key="survivors")


def survivors(frame: pd.DataFrame) -> pd.Series:
    """Candidates by the epochs that they were trained for at least, the first rung first."""
    return frame["epochs"].value_counts().sort_index(ascending=False).cumsum().sort_index()


def table(frame: pd.DataFrame) -> None:
    """The candidates, those trained longest first, then by their error."""
    column = st.column_config
    config: dict[str, Any] = {
        "epochs": column.NumberColumn("Epochs", format="localized", help="The highest rung that it reached"),
        "valid_error": column.NumberColumn("Error, valid", format="%.4f", help="After these epochs"),
        "n_parameters": column.NumberColumn("Parameters", format="localized"),
        "flops": column.NumberColumn("FLOPs a row", format="compact"),
        "candidate": column.TextColumn("Candidate", width="large"),
    }
    st.dataframe(
        frame.head(POINTS), column_order=list(config), column_config=config, hide_index=True,
        height="content" if len(frame) <= 12 else 460, key="candidates", placeholder="",
        alt="Candidates, those trained longest first, then by their error on the valid rows",
    )  # fmt: skip
    if len(frame) > POINTS:
        st.caption(f"The first {POINTS:,} of {len(frame):,} candidates")
