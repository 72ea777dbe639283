"""The known datasets as points on a map, and the meta-features that separate them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import metafeatures
from core.advice import fits
from core.advice.fits import Fit
from pages import reads
from pages.parts import charts
from pages.parts.advice.selector_view import ORIGINS, OWN, SHIPPED, SelectorView

FEATURES = 15  # of the chart of importance


def show(view: SelectorView, fit: Fit) -> None:
    """Draw the map and the importance of the meta-features side by side."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Similar datasets")
        plane(view, fit)
    with right:
        st.subheader("Importance of meta-features")
        importance(view)


def plane(view: SelectorView, fit: Fit) -> None:
    """Draw the known datasets, and own ones that have no result yet."""
    st.caption("Datasets close together have similar meta-features; the axes have no meaning.")
    figure = go.Figure()
    points = view.plane.join(view.about)
    points["best"] = view.errors.idxmin(axis=1)
    origins = list(dict.fromkeys(points["origin"]))
    imported = [name for name in origins if name not in ORIGINS.values()]
    colors = {OWN: charts.SECOND, SHIPPED: charts.ACCENT}
    colors |= {name: charts.COLORS[2 + place % 4] for place, name in enumerate(imported)}
    for origin in sorted(origins, key=lambda name: (name == OWN, name)):
        group = points[points["origin"] == origin]
        dots(figure, group, charts.label(origin), colors[origin], group["mark"], "best: " + group["best"])
    waiting = without_results(view, fit)
    if len(waiting):
        dots(figure, waiting, f"{OWN}, no results yet", colors[OWN], "", "no results yet", "circle-open")
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, title=None)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, title=None)
    alt = f"{len(points)} known datasets on a plane; close ones are similar"
    charts.draw(figure, alt, height=520, key="map")


def dots(
    figure: go.Figure, points: pd.DataFrame, name: str, color: str, mark: pd.Series | str, best: pd.Series | str,
    symbol: str = "circle",
) -> None:  # fmt: skip
    """Add one group of points."""
    own = name.startswith(OWN)
    details = pd.DataFrame({"mark": mark, "best": best}, index=points.index).map(charts.label)
    figure.add_scatter(
        x=points["x"], y=points["y"], mode="markers", name=name, text=[charts.label(str(n), 80) for n in points.index],
        customdata=details.to_numpy(),
        marker={
            "color": color, "symbol": symbol, "size": 11 if own else 8, "opacity": 1 if own else 0.65,
            "line": {"width": 2 if symbol != "circle" else 0},
        },
        hovertemplate="<b>%{text}</b><br>%{customdata[0]}<br>%{customdata[1]}<extra>" + name + "</extra>",
    )  # fmt: skip


def without_results(view: SelectorView, fit: Fit) -> pd.DataFrame:
    """Return the own datasets of this type of task without a result, on the map: x, y."""
    features = reads.read(metafeatures.all_features)
    with_results = view.about.index[view.about["origin"] == OWN]
    same_type = features["is_regression"] == float(fit.task_type == "regression")
    features = features[same_type & ~features.index.isin(with_results)]
    return fits.load_selector(fit).map(features) if len(features) else pd.DataFrame(columns=["x", "y"])


def importance(view: SelectorView) -> None:
    """Draw the most important meta-features, with their names along the bars."""
    top = view.importance[view.importance > 0][:FEATURES]
    if top.empty:
        st.info("No meta-feature separates the known datasets.", icon=":material/info:")
        return
    st.caption("Share of each meta-feature in separating datasets with different rankings")
    names = [metafeatures.NAMES.get(str(name), str(name)) for name in top.index]
    rows = np.arange(len(top))
    figure = go.Figure()
    figure.add_bar(
        x=top, y=rows, orientation="h", width=0.3, marker={"color": charts.ACCENT}, showlegend=False,
        customdata=list(zip(names, top.index, strict=True)),
        hovertemplate="%{customdata[0]}<br>%{x:.1%}<extra>%{customdata[1]}</extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=np.zeros(len(top)), y=rows - 0.4, mode="text", text=[charts.label(name, 52) for name in names],
        textposition="middle right", textfont={"size": 12}, showlegend=False, hoverinfo="skip",
    )  # fmt: skip
    figure.update_yaxes(range=[len(top) - 0.5, -0.8], showticklabels=False, showgrid=False, zeroline=False)
    figure.update_xaxes(tickformat=".0%", rangemode="tozero", title=None)
    alt = f"The most important meta-feature: {names[0]}"
    charts.draw(figure, alt, height=60 + 34 * len(top), key="importance")
