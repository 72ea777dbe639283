"""What a selector knows: the errors of candidates on datasets as a heat map, and the datasets as a map."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import metafeatures
from core.advice import fits
from core.advice.fits import Fit
from core.scoring import METRICS
from pages import links, reads
from pages.parts import charts, csv_export

ROWS = 60  # of the heat map, drawn at once
TOP = 15  # meta-features
CLIP = 0.25  # an error so much above the best of its dataset, or more, has the last colour
ORIGINS = {"own": "Yours", "shipped": "Shipped"}
ALL = "All"


@dataclass(frozen=True)
class Known:
    """A fitted selector, as its page draws it; every table but importance and said has the datasets as index."""

    about: pd.DataFrame  # origin (as people read it), mark, metric (as an error's name)
    errors: pd.DataFrame  # columns candidates, NaN where not run
    past: pd.DataFrame  # see `core.advice.trust.Trust`
    said: pd.DataFrame  # see `core.advice.fits.held_out_predictions`
    importance: pd.Series  # of the meta-features
    plane: pd.DataFrame  # x, y
    coverage: float | None
    reason: str
    falls_back: bool
    safe_default: str


def of(fit: Fit) -> Known:
    """What the page draws of a fit, computed once a process and fit."""
    return _of(fit.file, _fit=fit)


@st.cache_data(max_entries=4, show_spinner="Reading the selector")
def _of(file: str, *, _fit: Fit) -> Known:
    selector, said = fits.load_selector(_fit), fits.held_out_predictions(_fit)
    about = pd.DataFrame.from_dict(_fit.marks, orient="index", columns=["origin", "mark"])
    metric = said["metric"].groupby(level="dataset").first().map(error_name)
    about = about.assign(origin=about["origin"].map(lambda name: ORIGINS.get(name, name)), metric=metric)
    # Yours first, then imported ones, then what ships.
    order = {"Yours": "0", "Shipped": "2"}
    names = sorted(about.index, key=lambda name: (order.get(about["origin"][name], "1" + about["origin"][name]), name))
    about = about.loc[names].fillna({"metric": "error"})
    return Known(
        about, selector.model.errors.loc[names], selector.trust.past.loc[names], said, selector.importance,
        selector.map().loc[names], selector.trust.coverage, selector.reason, selector.falls_back, selector.sbs,
    )  # fmt: skip


def error_name(metric: str) -> str:
    """What an error by a metric is."""
    kind = METRICS.get(metric)
    if kind is None:
        return metric
    return f"1 - {kind.label}" if kind.higher_is_better else kind.label


def errors(known: Known, kind: str) -> None:
    """The heat map of datasets by candidates, and the whole table as a file."""
    about = known.about
    origins = [ALL, *dict.fromkeys(about["origin"])]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        links.preselect("origin", origins)
        origin = st.selectbox("Datasets", origins, key="origin", bind="query-params", width=240)
        text = st.text_input("Name holds", key="name", bind="query-params", width=240)
        export(known, kind)
    kept = about.index[(about["origin"] == origin) | (origin == ALL)]
    kept = kept[kept.str.contains(text.strip(), case=False, regex=False)]
    if not len(kept):
        st.info("No dataset fits these filters.", icon=":material/filter_alt_off:")
        return
    kept = part(kept)
    st.caption(
        "How much worse than the best of its row a candidate was: blue is the best or near it, orange is far from it,"
        " a gap was not run. Candidates stand from the best on average to the worst. Point at a cell for its error."
    )
    heat_map(known, kept)


def part(names: pd.Index) -> pd.Index:
    """As many rows as can be read; where there are more, the reader chooses which."""
    if len(names) <= ROWS:
        return names
    starts = range(0, len(names), ROWS)
    labels = {f"{start + 1} to {min(start + ROWS, len(names))}": start for start in starts}
    chosen = st.segmented_control(
        f"Rows of {len(names):,}",
        list(labels),
        default=next(iter(labels)),
        required=True,
        key="rows",
        bind="query-params",
    )
    return names[labels[chosen] : labels[chosen] + ROWS]


def heat_map(known: Known, names: pd.Index) -> None:
    """Regret by colour, on a scale of square roots: the difference between good and best is what counts."""
    table = known.errors.loc[names]
    regret = known.errors.sub(known.errors.min(axis=1), axis=0)
    order = regret.clip(upper=CLIP).mean().sort_values().index
    table, regret = table[order], regret.loc[names, order]
    rows = [charts.label(str(name), 26) for name in names]
    told = known.about.loc[names]
    full = [
        f"{charts.label(str(name), 80)}<br>{charts.label(what)}" for name, what in zip(names, told["mark"], strict=True)
    ]
    data = np.empty((*table.shape, 3), dtype=object)
    data[:, :, 0], data[:, :, 1] = np.array(full)[:, None], told["metric"].map(charts.label).to_numpy()[:, None]
    data[:, :, 2] = table.to_numpy()
    ticks = {"best": 0.0, "+0.02": 0.02, "+0.1": 0.1, f"≥{CLIP:g}": CLIP}
    figure = go.Figure()
    figure.add_heatmap(
        z=np.sqrt(regret.clip(upper=CLIP)).to_numpy(), x=[charts.label(str(name), 26) for name in order],
        y=list(range(len(rows))), customdata=data, text=regret.to_numpy(), zmin=0, zmax=CLIP**0.5, xgap=1, ygap=1,
        hoverongaps=False,
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
        tickvals=list(range(len(rows))), ticktext=rows, autorange="reversed", showgrid=False, zeroline=False,
        tickfont={"size": 11},
    )  # fmt: skip
    figure.update_xaxes(type="category", showgrid=False, dtick=1, tickangle=-60, tickfont={"size": 11})
    alt = f"Errors of {table.shape[1]} candidates on {len(table)} datasets, less the best error of each dataset"
    charts.draw(figure, alt, height=220 + 17 * len(table), key="errors")


def export(known: Known, kind: str) -> None:
    """All errors as a file."""
    st.download_button(
        "Export all as CSV", lambda: as_csv(known), f"knowledge_{kind}.csv", "text/csv", icon=":material/download:",
        on_click="ignore", key="export",
    )  # fmt: skip


def as_csv(known: Known) -> str:
    """Every known dataset with its errors, a column a candidate."""
    table = known.about.rename(columns={"metric": "error by"}).join(known.errors)
    return csv_export.csv_safe(table.rename_axis("dataset").reset_index())


def map_and_importance(known: Known, fit: Fit) -> None:
    """The datasets on a plane, and what tells them apart."""
    left, right = st.columns([3, 2], gap="medium")
    with left:
        st.subheader("Which datasets are alike")
        plane(known, fit)
    with right:
        st.subheader("What tells the candidates apart")
        importance(known)


def plane(known: Known, fit: Fit) -> None:
    """The known datasets, and own ones that have no result yet."""
    st.caption(
        "Near points have like meta-features; the axes themselves mean nothing. Advice for a dataset rests on those"
        " near it."
    )
    figure = go.Figure()
    points = known.plane.join(known.about)
    points["best"] = known.errors.idxmin(axis=1)
    origins = list(dict.fromkeys(points["origin"]))
    others = [name for name in origins if name not in ORIGINS.values()]
    colors = {"Yours": charts.SECOND, "Shipped": charts.ACCENT}
    colors |= {name: charts.COLORS[2 + place % 4] for place, name in enumerate(others)}
    for origin in sorted(origins, key=lambda name: (name == "Yours", name)):
        some = points[points["origin"] == origin]
        dots(figure, some, charts.label(origin), colors[origin], some["mark"], "best: " + some["best"])
    waiting = unrun(known, fit)
    if len(waiting):
        dots(figure, waiting, "Yours, nothing run yet", colors["Yours"], "", "nothing has run yet", "circle-open")
    figure.update_xaxes(showticklabels=False, showgrid=False, zeroline=False, title=None)
    figure.update_yaxes(showticklabels=False, showgrid=False, zeroline=False, title=None)
    charts.draw(figure, f"{len(points)} known datasets on a plane, near ones are alike", height=520, key="map")


def dots(
    figure: go.Figure, points: pd.DataFrame, name: str, color: str, mark: pd.Series | str, best: pd.Series | str,
    symbol: str = "circle",
) -> None:  # fmt: skip
    """One group of points."""
    own = name.startswith("Yours")
    told = pd.DataFrame({"mark": mark, "best": best}, index=points.index).map(charts.label)
    figure.add_scatter(
        x=points["x"], y=points["y"], mode="markers", name=name, text=[charts.label(str(n), 80) for n in points.index],
        customdata=told.to_numpy(),
        marker={
            "color": color, "symbol": symbol, "size": 11 if own else 8, "opacity": 1 if own else 0.65,
            "line": {"width": 2 if symbol != "circle" else 0},
        },
        hovertemplate="<b>%{text}</b><br>%{customdata[0]}<br>%{customdata[1]}<extra>" + name + "</extra>",
    )  # fmt: skip


def unrun(known: Known, fit: Fit) -> pd.DataFrame:
    """The own datasets of this kind without a result, on the map: x, y."""
    features = reads.read(metafeatures.all_features)
    run = known.about.index[known.about["origin"] == ORIGINS["own"]]
    wanted = features["is_regression"] == float(fit.task_type == "regression")
    features = features[wanted & ~features.index.isin(run)]
    return fits.load_selector(fit).map(features) if len(features) else pd.DataFrame(columns=["x", "y"])


def importance(known: Known) -> None:
    """The first meta-features, with their names written along the bars."""
    top = known.importance[known.importance > 0][:TOP]
    if top.empty:
        st.info("No meta-feature tells the known datasets apart.", icon=":material/info:")
        return
    st.caption("How much each meta-feature told the known datasets' rankings apart, as a share of all.")
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
    charts.draw(figure, f"The most important meta-feature: {names[0]}", height=60 + 34 * len(top), key="importance")
