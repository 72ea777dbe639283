"""The track record: every advice that came before the results, and its outcome."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import advice
from pages import links, reads, words
from pages.parts import charts, messages
from pages.parts.advice.selector_view import error_name

OUTCOMES = 30  # of the chart


def show() -> None:
    """Draw the numbers, the chart and the table of the record."""
    frame = reads.read(advice.track_record)
    if frame.empty:
        messages.empty(
            "No dataset had advice before its first result yet. Open the advice before you run anything: the prediction"
            " is saved and compared with the outcome.",
            links.ADVICE, "Open the advice",
        )  # fmt: skip
        return
    st.caption("The last advice on each dataset before its first result; classification and regression together")
    frame = frame.assign(inside=frame["actual"].between(frame["lower"], frame["upper"]))
    with_outcome = frame[frame["actual"].notna()]
    numbers(frame, with_outcome)
    if len(with_outcome):
        chart(with_outcome.head(OUTCOMES))
    table(frame)


def numbers(frame: pd.DataFrame, with_outcome: pd.DataFrame) -> None:
    """Draw how many outcomes there are, how good the advice was, and how often the interval held."""
    with_interval = with_outcome.dropna(subset=["lower", "upper"])
    both = with_outcome.dropna(subset=["default"])
    with st.grid(4, min_column_width=170):
        n_waiting = len(frame) - len(with_outcome)
        st.metric(
            "Advice with outcome", f"{len(with_outcome):,}", f"{n_waiting:,} still without" if n_waiting else None,
            delta_color="off", delta_arrow="off", border=True,
        )  # fmt: skip
        st.metric("Mean regret", words.number(with_outcome["regret"].mean()), border=True,
                  help="Error of the recommended candidate minus that of the best candidate that has run")  # fmt: skip
        default = (both["default"] - both["best"]).mean()
        st.metric(
            "Safe default", words.number(default), f"advice: {words.number(both['regret'].mean())}",
            delta_color="off", delta_arrow="off", border=True,
            help=f"Mean regret on the {len(both):,} datasets where the safe default has run, of it and of the advice",
        )  # fmt: skip
        hits = int(with_interval["inside"].sum())
        st.metric("Inside the interval", f"{hits:,} of {len(with_interval):,}" if len(with_interval) else words.NONE,
                  border=True, help="90% are expected")  # fmt: skip


def chart(frame: pd.DataFrame) -> None:
    """Draw the predicted intervals with the actual errors, the newest first."""
    names, places = [charts.label(name, 26) for name in frame["dataset"]], list(range(len(frame)))
    figure = go.Figure()
    figure.add_scatter(
        x=frame["predicted"], y=places, mode="markers", name="Predicted, with its 90% interval",
        marker={"size": 8, "color": charts.FAINT},
        error_x=charts.spans(frame["upper"] - frame["predicted"], frame["predicted"] - frame["lower"]),
        text=frame["candidate"].map(charts.label), hovertemplate="%{text}: %{x:.4g} predicted<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=frame["actual"], y=places, mode="markers", name="Actual",
        marker={"size": 10, "symbol": "diamond", "color": charts.ACCENT},
        text=frame["candidate"].map(charts.label), hovertemplate="%{text}: %{x:.4g} actual<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", zeroline=False)
    figure.update_xaxes(title="Error of the recommended candidate", rangemode="tozero")
    charts.draw(figure, "Predicted intervals and actual errors", height=120 + 24 * len(frame), key="record_chart")


def table(frame: pd.DataFrame) -> None:
    """Draw the record, with a button in each row that opens the advice."""
    rows = frame.assign(
        open=f"{links.ENTRIES[links.ADVICE].icon} " + frame["dataset"],
        given_at=words.times(frame["given_at"]),
        interval=[words.between(*row) for row in frame[["lower", "upper"]].itertuples(index=False)],
        hit=frame["inside"].map({True: "inside", False: "outside"}).where(frame["actual"].notna(), words.NONE),
        metric=frame["metric"].map(error_name),
    )
    config = columns(list(frame["dataset"]))
    st.dataframe(
        rows, column_order=list(config), column_config=config, hide_index=True,
        height="content" if len(rows) <= 18 else 680, key="record", alt="Advice and its outcome, the newest first",
    )  # fmt: skip


def columns(names: list[str]) -> dict[str, Any]:
    """Return how the table is drawn; `names` are the datasets in its order."""
    column = st.column_config
    return {
        "open": column.ButtonColumn(
            "Dataset", type="tertiary", alignment="left", pinned=True, key="open_advice", on_click=open_advice,
            args=(names,),
        ),
        "given_at": column.DatetimeColumn("Advised", format="calendar"),
        "candidate": column.TextColumn("Recommended", help="The first of the ranking that has run"),
        "predicted": column.NumberColumn("Predicted", format="%.4f"),
        "interval": column.TextColumn("90% interval"),
        "actual": column.NumberColumn("Actual", format="%.4f"),
        "hit": "Interval",
        "best": column.NumberColumn("Best that ran", format="%.4f"),
        "regret": column.NumberColumn("Regret", format="%.4f"),
        "default": column.NumberColumn("Safe default", format="%.4f", help="Its error, if it has run"),
        "metric": "Error measure",
    }  # fmt: skip


def open_advice(names: list[str]) -> None:
    """Go to the advice on the clicked row's dataset."""
    st.switch_page(links.ADVICE, query_params={"dataset": names[st.session_state.open_advice.row]})
