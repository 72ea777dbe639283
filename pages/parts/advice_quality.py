"""How good a selector's advice is on datasets that it has not seen, against the defaults, and how sure it may be."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core.advice import regret, trust
from core.advice.model import CONFIDENCE
from core.advice.trust import TOLERANCE
from pages import words
from pages.parts import charts
from pages.parts.knowledge_maps import Known

# By the columns of the past: what it is, its colour and dash.
LINES = {
    "advice": ("Advice", charts.ACCENT, "solid"),
    "sbs": ("Safe default", charts.SECOND, "solid"),
    f"advice_{trust.PLAN_SIZE}": (f"Plan of {trust.PLAN_SIZE}", charts.ACCENT, "dot"),
    f"portfolio_{trust.PLAN_SIZE}": (f"Fixed portfolio of {trust.PLAN_SIZE}", charts.SECOND, "dot"),
}
FLOOR = 1e-3  # of a regret on a logarithmic axis


def regrets(known: Known) -> pd.DataFrame:
    """Regret of each of LINES on each known dataset, NaN where it is unknown."""
    return known.past[list(LINES)].sub(known.past["best"], axis=0)


def numbers(known: Known) -> None:
    """Mean regret of the advice and the defaults, and how much of the gap between default and best is closed."""
    found = regrets(known)
    within = (found <= TOLERANCE + 1e-9).sum() / found.notna().sum().clip(lower=1)
    notes = {
        "advice": "the first of the advice",
        "sbs": f"always {known.safe_default}, or what it would have been without the dataset",
        f"advice_{trust.PLAN_SIZE}": "the best of the candidates that the plan would have run",
        f"portfolio_{trust.PLAN_SIZE}": "the best of the same candidates, run on every dataset",
    }
    st.caption("Mean regret on the known datasets, each advised on as if it were new")
    with st.grid(5, min_column_width=170):
        for name, (label, _, _) in LINES.items():
            judged = bool(found[name].notna().any())
            st.metric(
                label, words.number(found[name].mean()) if judged else words.NONE,
                f"{within[name]:.0%} near the best" if judged else None,
                delta_color="off", delta_arrow="off", border=True,
                help=words.plain(
                    f"Mean regret (the error minus that of the best candidate) of {notes[name]}."
                    f" Near the best: within {TOLERANCE} of it."
                ),
            )  # fmt: skip
        closed(known)


def closed(known: Known) -> None:
    """The share of the gap between the safe default and the best that the advice closes."""
    means = known.past[["advice", "sbs", "best"]].dropna().mean()
    gap = None if means.isna().any() else regret.closed_gap(means["advice"], means["sbs"], means["best"])
    why = "100% is perfect"
    if gap is None:
        why = "not judged yet" if means.isna().any() else "default is best"
    st.metric(
        "Closed gap", words.NONE if gap is None else f"{gap:.0%}", why,
        delta_color="off", delta_arrow="off", border=True,
        help="How much of the safe default's mean regret the advice saves: 100% would be the best candidate on every"
        " dataset, 0% is as good as the safe default, less is worse. Undefined where the default is always best.",
    )  # fmt: skip


def show(known: Known) -> None:
    """Curves, a dataset each, and the intervals."""
    found = regrets(known)
    if not found["advice"].notna().any():
        st.info(
            "It takes a second dataset with results to judge the advice on one that was not known.",
            icon=":material/hourglass_empty:",
        )
        return
    st.caption(
        "Each known dataset was left out in turn, with its relatives, and advised on by what the others taught."
        " Regret is the error minus that of the best candidate there."
    )
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("How often is the regret small?")
        curves(found)
    with right:
        st.subheader("Advice against the safe default")
        pairs(found)
    st.subheader("Each dataset")
    table(known, found)
    st.subheader("Do the intervals hold?")
    intervals(known)


def curves(found: pd.DataFrame) -> None:
    """The share of datasets by regret, a line each."""
    figure, end = go.Figure(), max(0.1, float(np.nanmax(found.to_numpy())))
    for name, (label, color, dash) in LINES.items():
        values = np.sort(found[name].dropna().clip(lower=FLOOR))
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
    figure.update_yaxes(title="Share of the datasets", tickformat=".0%", range=[0, 1.02])
    charts.draw(figure, "Share of the known datasets by regret, of advice and defaults", height=400, key="curves")


def pairs(found: pd.DataFrame) -> None:
    """A dataset a point; below the diagonal the advice was better."""
    known = found.dropna(subset=["advice", "sbs"])
    end = max(0.1, 1.3 * float(known[["advice", "sbs"]].max(axis=None)))
    figure = go.Figure()
    figure.add_scatter(
        x=[FLOOR, end], y=[FLOOR, end], mode="lines", line={"color": charts.FAINT, "dash": "dash", "width": 1},
        hoverinfo="skip", showlegend=False,
    )  # fmt: skip
    figure.add_scatter(
        x=known["sbs"].clip(lower=FLOOR), y=known["advice"].clip(lower=FLOOR), mode="markers", showlegend=False,
        text=[charts.label(str(name), 80) for name in known.index], customdata=known[["sbs", "advice"]].to_numpy(),
        marker={"size": 9, "color": charts.ACCENT, "opacity": 0.6},
        hovertemplate="<b>%{text}</b><br>safe default %{customdata[0]:.3g}<br>"
        "advice %{customdata[1]:.3g}<extra></extra>",
    )  # fmt: skip
    figure.add_annotation(text="advice worse", x=0.03, y=0.97, xref="paper", yref="paper", showarrow=False)
    figure.add_annotation(text="advice better", x=0.97, y=0.03, xref="paper", yref="paper", showarrow=False)
    better, worse = (known["advice"] < known["sbs"] - 1e-9).sum(), (known["advice"] > known["sbs"] + 1e-9).sum()
    ticks = [tick for tick in (FLOOR, TOLERANCE, 0.1, 1.0, 10.0) if tick <= end]
    axis = {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks],
            "range": [np.log10(FLOOR) - 0.06, np.log10(end)]}  # fmt: skip
    figure.update_xaxes(title="Regret of the safe default", **axis)
    figure.update_yaxes(title="Regret of the advice", **axis)
    charts.draw(figure, f"The advice was better on {better} datasets, worse on {worse}", height=400, key="pairs")
    same = len(known) - better - worse
    st.caption(f"Better on {better:,} datasets, worse on {worse:,}, the same on {same:,}.")


def table(known: Known, found: pd.DataFrame) -> None:
    """A dataset a row: what was recommended, what it got, and what the defaults and the best got."""
    past = known.past
    shown = known.about.assign(
        recommended=candidates_at(known.errors, past["advice"]), advice=past["advice"], sbs=past["sbs"],
        winner=known.errors.idxmin(axis=1), best=past["best"], regret=found["advice"],
        saved=past["sbs"] - past["advice"], plan=found[f"advice_{trust.PLAN_SIZE}"],
        fixed=found[f"portfolio_{trust.PLAN_SIZE}"],
    )  # fmt: skip
    shown = shown.rename_axis("dataset").reset_index().sort_values("regret", ascending=False, na_position="last")
    column = st.column_config
    st.dataframe(
        shown,
        column_order=["dataset", "origin", "recommended", "advice", "sbs", "best", "winner", "regret", "saved", "plan",
                      "fixed", "metric", "mark"],
        column_config={
            "dataset": column.TextColumn("Dataset", pinned=True),
            "origin": "From", "mark": "Kind of data", "metric": "Error is",
            "recommended": column.TextColumn("Recommended", help="By a selector that had not seen the dataset"),
            "advice": column.NumberColumn("Its error", format="%.4f"),
            "sbs": column.NumberColumn("Safe default", format="%.4f", help="Its error"),
            "best": column.NumberColumn("Best", format="%.4f", help="The lowest error of all candidates"),
            "winner": "Best candidate",
            "regret": column.NumberColumn("Regret", format="%.4f", help="Of the recommended candidate"),
            "saved": column.NumberColumn("Saved", format="%.4f", help="Error of the safe default minus its error"),
            "plan": column.NumberColumn(f"Plan of {trust.PLAN_SIZE}", format="%.4f", help="Its regret"),
            "fixed": column.NumberColumn(f"Portfolio of {trust.PLAN_SIZE}", format="%.4f", help="Its regret"),
        },
        hide_index=True, height="content" if len(shown) <= 12 else 460, key="each",
        alt="Known datasets, those where the advice lost most first",
    )  # fmt: skip


def candidates_at(errors: pd.DataFrame, values: pd.Series) -> list[str]:
    """The candidate that had this error on each dataset; those that had the same are all named."""
    hits = errors.eq(values.reindex(errors.index), axis=0).to_numpy()
    return [" or ".join(map(str, errors.columns[row])) for row in hits]


def intervals(known: Known) -> None:
    """The coverage that is claimed and that was reached, and by candidate."""
    if known.coverage is None:
        st.info("Intervals are given once nine datasets with results are known.", icon=":material/hourglass_empty:")
        return
    said = known.said.dropna(subset=["lower", "upper", "actual"])
    inside = said["actual"].between(said["lower"], said["upper"])
    left, right = st.columns([1, 2], gap="medium")
    with left:
        with st.grid(2, min_column_width=120):
            st.metric("Claimed", f"{CONFIDENCE:.0%}", border=True)
            st.metric("Reached", f"{known.coverage:.0%}", border=True, help="Of all known errors, each unseen")
        width = (said["upper"] - said["lower"]).median()
        st.caption(
            f"Half of the intervals are narrower than {words.number(width, 2)}. One width for all was set on these"
            " datasets so that nine of ten errors lie inside; with few datasets it has to be wider. The track record"
            " shows whether it holds on yours."
        )
    with right:
        by_candidate(inside.groupby(level="candidate").agg(["mean", "size"]))


def by_candidate(held: pd.DataFrame) -> None:
    """The share of each candidate's errors that lay inside."""
    held = held.sort_values(["mean", "size"])
    figure = go.Figure()
    figure.add_vline(x=CONFIDENCE, line={"color": charts.FAINT, "dash": "dash", "width": 1})
    figure.add_scatter(
        x=held["mean"], y=[charts.label(str(name), 26) for name in held.index], mode="markers", showlegend=False,
        marker={"size": 9, "color": charts.ACCENT}, customdata=held["size"],
        hovertemplate="%{y}<br>%{x:.0%} of %{customdata} errors inside<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(type="category", autorange="reversed", dtick=1, tickfont={"size": 11})
    figure.update_xaxes(
        title=f"Share inside; {CONFIDENCE:.0%} is claimed", tickformat=".0%",
        range=[min(0.6, held["mean"].min() - 0.03), 1.02],
    )  # fmt: skip
    charts.draw(
        figure, "Share of the known errors inside their intervals, by candidate", height=90 + 19 * len(held), key="held"
    )
