"""The errors of candidates on the known datasets, as a heat map and as a file."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages import links
from pages.parts import charts, csv_export
from pages.parts.advice.selector_view import SelectorView

ROWS = 60  # drawn at once
CLIP = 0.25  # an error this much above the best of its dataset, or more, has the last colour
ALL = "All"


def show(view: SelectorView, task_type: str) -> None:
    """Draw the filters, the export of the whole table, and the heat map."""
    about = view.about
    origins = [ALL, *dict.fromkeys(about["origin"])]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        links.preselect("origin", origins)
        origin = st.selectbox("Datasets", origins, key="origin", bind="query-params", width=240)
        text = st.text_input("Name contains", key="name", bind="query-params", width=240)
        csv_export.button(lambda: table(view), f"knowledge_{task_type}.csv", "Export all as CSV")
    names = about.index[(about["origin"] == origin) | (origin == ALL)]
    names = names[names.str.contains(text.strip(), case=False, regex=False)]
    if not len(names):
        st.info("No dataset matches these filters.", icon=":material/filter_alt_off:")
        return
    names = part(names)
    st.caption(
        "Error above the best candidate of each dataset: blue is the best or close to it, orange is far from it, a gap"
        " was not run. Candidates are sorted from the best on average to the worst."
    )
    heat_map(view, names)


def part(names: pd.Index) -> pd.Index:
    """Return as many rows as can be read at once; if there are more, the reader chooses which."""
    if len(names) <= ROWS:
        return names
    starts = range(0, len(names), ROWS)
    labels = {f"{start + 1} to {min(start + ROWS, len(names))}": start for start in starts}
    rows = st.segmented_control(
        f"Rows of {len(names):,}", list(labels), default=next(iter(labels)), required=True, key="rows",
        bind="query-params",
    )  # fmt: skip
    return names[labels[rows] : labels[rows] + ROWS]


def heat_map(view: SelectorView, names: pd.Index) -> None:
    """Draw regret by colour on a square-root scale, which shows the difference between good and best."""
    regret = view.errors.sub(view.errors.min(axis=1), axis=0)
    order = regret.clip(upper=CLIP).mean().sort_values().index
    errors, regret = view.errors.loc[names, order], regret.loc[names, order]
    ticks = {"best": 0.0, "+0.02": 0.02, "+0.1": 0.1, f"≥{CLIP:g}": CLIP}
    figure = go.Figure()
    figure.add_heatmap(
        z=np.sqrt(regret.clip(upper=CLIP)).to_numpy(), x=[charts.label(str(name), 26) for name in order],
        y=list(range(len(names))), customdata=_details(view, errors), text=regret.to_numpy(), zmin=0, zmax=CLIP**0.5,
        xgap=1, ygap=1, hoverongaps=False,
        colorscale=[[0, charts.ACCENT], [0.3, "#A9C4EC"], [0.5, "#D9DCE2"], [1, charts.SECOND]],
        colorbar={
            "orientation": "h", "y": 1, "yanchor": "bottom", "x": 0, "xanchor": "left", "thickness": 8,
            "tickvals": [tick**0.5 for tick in ticks.values()], "ticktext": list(ticks), "tickangle": 0,
            "ticklabelposition": "outside top",
        },
        hovertemplate="<b>%{x}</b> on %{customdata[0]}<br>%{customdata[1]} %{customdata[2]:.4g}<br>"
        "%{text:.3g} above the best<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(
        tickvals=list(range(len(names))), ticktext=[charts.label(str(name), 26) for name in names],
        autorange="reversed", showgrid=False, zeroline=False, tickfont={"size": 11},
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, dtick=1, tickangle=-60, tickfont={"size": 11})
    alt = f"Errors of {len(order)} candidates on {len(names)} datasets, above the best error of each dataset"
    charts.draw(figure, alt, height=220 + 17 * len(names), key="errors")


def _details(view: SelectorView, errors: pd.DataFrame) -> np.ndarray:
    """Return, for each cell, the dataset with what it is, the name of the error, and the error [rows, columns, 3]."""
    about = view.about.loc[errors.index]
    names = [
        f"{charts.label(str(name), 80)}<br>{charts.label(mark)}"
        for name, mark in zip(errors.index, about["mark"], strict=True)
    ]
    details = np.empty((*errors.shape, 3), dtype=object)
    details[:, :, 0] = np.array(names)[:, None]
    details[:, :, 1] = about["metric"].map(charts.label).to_numpy()[:, None]
    details[:, :, 2] = errors.to_numpy()
    return details


def table(view: SelectorView) -> pd.DataFrame:
    """Return every known dataset with its errors, a column for each candidate."""
    frame = view.about.rename(columns={"metric": "error by"}).join(view.errors)
    return frame.rename_axis("dataset").reset_index()
