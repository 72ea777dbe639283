"""How good the advice is on datasets that the selector has not seen, against the defaults, with its intervals."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.advice import regret, trust
from core.advice.model import CONFIDENCE
from core.advice.trust import TOLERANCE
from pages import words
from pages.parts import charts
from pages.parts.advice.selector_view import SelectorView

# By column of the past: its label, colour and dash.
LINES = {
    "advice": ("Advice", charts.ACCENT, "solid"),
    "sbs": ("Safe default", charts.SECOND, "solid"),
    f"advice_{trust.PLAN_SIZE}": (f"Plan of {trust.PLAN_SIZE}", charts.ACCENT, "dot"),
    f"portfolio_{trust.PLAN_SIZE}": (f"Fixed portfolio of {trust.PLAN_SIZE}", charts.SECOND, "dot"),
}
FLOOR = 1e-3  # of a regret on a logarithmic axis


def regrets(view: SelectorView) -> pd.DataFrame:
    """Return the regret of each of LINES on each known dataset, NaN where it is unknown."""
    return view.past[list(LINES)].sub(view.past["best"], axis=0)


def numbers(view: SelectorView) -> None:
    """Draw the mean regret of the advice and the defaults, and how much of the gap between them is closed."""
    table = regrets(view)
    within = (table <= TOLERANCE + 1e-9).sum() / table.notna().sum().clip(lower=1)
    subjects = {
        "advice": "the candidate ranked first",
        "sbs": f"{view.safe_default} on every dataset (chosen without the dataset)",
        f"advice_{trust.PLAN_SIZE}": "the best of the candidates in the plan",
        f"portfolio_{trust.PLAN_SIZE}": "the best of the same candidates on every dataset",
    }
    st.caption("Mean regret on the known datasets, with each treated as new in turn")
    with st.grid(5, min_column_width=170):
        for name, (label, _, _) in LINES.items():
            has_regret = bool(table[name].notna().any())
            st.metric(
                label, words.number(table[name].mean()) if has_regret else words.NONE,
                f"{within[name]:.0%} near the best" if has_regret else None,
                delta_color="off", delta_arrow="off", border=True,
                help=words.plain(
                    f"Mean regret (error minus the error of the best candidate) of {subjects[name]}."
                    f" Near the best: within {TOLERANCE} of it."
                ),
            )  # fmt: skip
        closed_gap(view)


def closed_gap(view: SelectorView) -> None:
    """Draw the share of the gap between the safe default and the best that the advice closes."""
    means = view.past[["advice", "sbs", "best"]].dropna().mean()
    gap = None if means.isna().any() else regret.closed_gap(means["advice"], means["sbs"], means["best"])
    note = "100% is perfect"
    if gap is None:
        note = "not known yet" if means.isna().any() else "the default is best"
    st.metric(
        "Closed gap", words.NONE if gap is None else f"{gap:.0%}", note,
        delta_color="off", delta_arrow="off", border=True,
        help="How much of the safe default's mean regret the advice saves. 100%: the best candidate on every dataset."
        " 0%: as good as the safe default. Undefined if the default is always best.",
    )  # fmt: skip


def show(view: SelectorView) -> None:
    """Draw the regrets as curves, points and a table, and the intervals."""
    table = regrets(view)
    if not table["advice"].notna().any():
        st.info("The advice can be evaluated once a second dataset has results.", icon=":material/hourglass_empty:")
        return
    st.caption(
        "Each known dataset was held out in turn, with its relatives, and got advice from the others. Regret is the"
        " error minus the error of the best candidate."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Distribution of regret")
        curves(table)
    with right:
        st.subheader("Advice and safe default")
        pairs(table)
    st.subheader("By dataset")
    by_dataset(view, table)
    st.subheader("Prediction intervals")
    intervals(view)


def curves(table: pd.DataFrame) -> None:
    """Draw the share of datasets by regret, a line each."""
    figure, end = go.Figure(), max(0.1, float(np.nanmax(table.to_numpy())))
    for name, (label, color, dash) in LINES.items():
        values = np.sort(table[name].dropna().clip(lower=FLOOR))
        share = np.arange(1, len(values) + 1) / max(1, len(values))
        figure.add_scatter(
            x=[*values, end], y=[*share, 1.0], mode="lines", name=label,
            line={"shape": "hv", "color": color, "dash": dash, "width": 2.5},
            hovertemplate="%{y:.0%} of the datasets: at most %{x:.3g}<extra>" + label + "</extra>",
        )  # fmt: skip
    figure.add_vline(x=TOLERANCE, line={"color": charts.FAINT, "dash": "dash", "width": 1})
    ticks = [tick for tick in (FLOOR, TOLERANCE, 0.1, 1.0, 10.0) if tick <= end * 3]
    figure.update_xaxes(
        type="log", title="Regret at most", tickvals=ticks,
        ticktext=[f"{FLOOR:g} or less", *(f"{tick:g}" for tick in ticks[1:])], range=[np.log10(FLOOR), np.log10(end)],
    )  # fmt: skip
    figure.update_yaxes(title="Share of datasets", tickformat=".0%", range=[0, 1.02])
    charts.draw(figure, "Share of the known datasets by regret, of advice and defaults", height=400, key="curves")


def pairs(table: pd.DataFrame) -> None:
    """Draw a point for each dataset; below the diagonal the advice was better."""
    both = table.dropna(subset=["advice", "sbs"])
    end = max(0.1, 1.3 * float(both[["advice", "sbs"]].max(axis=None)))
    better, worse = (both["advice"] < both["sbs"] - 1e-9).sum(), (both["advice"] > both["sbs"] + 1e-9).sum()
    figure = go.Figure()
    figure.add_scatter(
        x=[FLOOR, end], y=[FLOOR, end], mode="lines", line={"color": charts.FAINT, "dash": "dash", "width": 1},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=both["sbs"].clip(lower=FLOOR), y=both["advice"].clip(lower=FLOOR), mode="markers", showlegend=False,
        text=[charts.label(str(name), 80) for name in both.index], customdata=both[["sbs", "advice"]].to_numpy(),
        marker={"size": 9, "color": charts.ACCENT, "opacity": 0.6},
        hovertemplate="<b>%{text}</b><br>safe default %{customdata[0]:.3g}<br>"
        "advice %{customdata[1]:.3g}<extra></extra>",
    )  # fmt: skip
    figure.add_annotation(text="advice worse", x=0.03, y=0.97, xref="paper", yref="paper", showarrow=False)
    figure.add_annotation(text="advice better", x=0.97, y=0.03, xref="paper", yref="paper", showarrow=False)
    axis = _regret_axis(end)
    figure.update_xaxes(title="Regret of the safe default", **axis)
    figure.update_yaxes(title="Regret of the advice", **axis)
    charts.draw(figure, f"The advice was better on {better} datasets, worse on {worse}", height=400, key="pairs")
    same = len(both) - better - worse
    st.caption(f"Better on {better:,} datasets, worse on {worse:,}, the same on {same:,}")


def _regret_axis(end: float) -> dict[str, Any]:
    ticks = [tick for tick in (FLOOR, TOLERANCE, 0.1, 1.0, 10.0) if tick <= end]
    return {
        "type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks],
        "range": [np.log10(FLOOR) - 0.06, np.log10(end)],
    }  # fmt: skip


def by_dataset(view: SelectorView, table: pd.DataFrame) -> None:
    """Draw a row for each dataset: the recommended candidate, its error, and the errors of the defaults."""
    past = view.past
    rows = view.about.assign(
        recommended=candidates_at(view.errors, past["advice"]), advice=past["advice"], sbs=past["sbs"],
        winner=view.errors.idxmin(axis=1), best=past["best"], regret=table["advice"],
        saved=past["sbs"] - past["advice"], plan=table[f"advice_{trust.PLAN_SIZE}"],
        fixed=table[f"portfolio_{trust.PLAN_SIZE}"],
    )  # fmt: skip
    rows = rows.rename_axis("dataset").reset_index().sort_values("regret", ascending=False, na_position="last")
    config = columns()
    st.dataframe(
        rows, column_order=list(config), column_config=config, hide_index=True,
        height="content" if len(rows) <= 12 else 460, key="each",
        alt="Known datasets, by falling regret of the advice",
    )  # fmt: skip


def columns() -> dict[str, Any]:
    """Return how the table of datasets is drawn."""
    column = st.column_config
    return {
        "dataset": column.TextColumn("Dataset", pinned=True),
        "origin": "Origin",
        "recommended": column.TextColumn("Recommended", help="By a selector that had not seen the dataset"),
        "advice": column.NumberColumn("Its error", format="%.4f"),
        "sbs": column.NumberColumn("Safe default", format="%.4f", help="Its error"),
        "best": column.NumberColumn("Best", format="%.4f", help="The lowest error of all candidates"),
        "winner": "Best candidate",
        "regret": column.NumberColumn("Regret", format="%.4f", help="Of the recommended candidate"),
        "saved": column.NumberColumn("Saved", format="%.4f", help="Error of the safe default minus its error"),
        "plan": column.NumberColumn(f"Plan of {trust.PLAN_SIZE}", format="%.4f", help="Its regret"),
        "fixed": column.NumberColumn(f"Portfolio of {trust.PLAN_SIZE}", format="%.4f", help="Its regret"),
        "metric": "Error measure",
        "mark": "Type of data",
    }


def candidates_at(errors: pd.DataFrame, values: pd.Series) -> list[str]:
    """Return the candidate that had this error on each dataset; candidates with the same error are all named."""
    hits = errors.eq(values.reindex(errors.index), axis=0).to_numpy()
    return [" or ".join(map(str, errors.columns[row])) for row in hits]


def intervals(view: SelectorView) -> None:
    """Draw the nominal and the actual coverage, overall and by candidate."""
    if view.coverage is None:
        st.info("Intervals appear once nine datasets have results.", icon=":material/hourglass_empty:")
        return
    predictions = view.predictions.dropna(subset=["lower", "upper", "actual"])
    inside = predictions["actual"].between(predictions["lower"], predictions["upper"])
    left, right = st.columns([1, 2], gap="medium")
    with left:
        with st.grid(2, min_column_width=120):
            st.metric("Nominal coverage", f"{CONFIDENCE:.0%}", border=True)
            st.metric("Actual coverage", f"{view.coverage:.0%}", border=True, help="Of all known errors, each held out")
        width = (predictions["upper"] - predictions["lower"]).median()
        st.caption(
            f"Median width {words.number(width, 2)}. The width was set on these datasets; the track record shows"
            " whether it holds on yours."
        )
    with right:
        by_candidate(inside.groupby(level="candidate").agg(["mean", "size"]))


def by_candidate(inside: pd.DataFrame) -> None:
    """Draw the share of each candidate's errors inside the interval."""
    inside = inside.sort_values(["mean", "size"])
    figure = go.Figure()
    figure.add_vline(x=CONFIDENCE, line={"color": charts.FAINT, "dash": "dash", "width": 1})
    figure.add_scatter(
        x=inside["mean"], y=[charts.label(str(name), 26) for name in inside.index], mode="markers", showlegend=False,
        marker={"size": 9, "color": charts.ACCENT}, customdata=inside["size"],
        hovertemplate="%{y}<br>%{x:.0%} of %{customdata} errors inside<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", dtick=1, tickfont={"size": 11})
    figure.update_xaxes(
        title=f"Share inside; nominal {CONFIDENCE:.0%}", tickformat=".0%",
        range=[min(0.6, inside["mean"].min() - 0.03), 1.02],
    )  # fmt: skip
    alt = "Share of the known errors inside their intervals, by candidate"
    charts.draw(figure, alt, height=90 + 19 * len(inside), key="held")
