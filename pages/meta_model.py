"""Meta-model (/meta_model?kind=...): what past runs teach, how good advice is on unseen datasets, and how it learns."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import advice, knowledge
from core.advice import fits
from core.advice.fits import Fit
from core.advice.trust import MIN_DATASETS
from core.queue import runners
from pages import actions, links, reads, words
from pages.parts import advice_quality, charts, knowledge_maps, messages
from pages.parts.advice_quality import LINES
from pages.parts.knowledge_maps import Known

OUTCOMES = 30  # of advice, drawn


def state(kind: Any, file: str | None) -> None:
    """Whether a fit is due and who does it; a fit that has come brings the page up to date."""
    with messages.show_errors():
        newest = reads.read(fits.last_fit, kind)
        if newest is not None and newest.file != file:
            st.rerun()
        failed(kind)
        if not reads.read(fits.is_due):
            return
        if reads.read(runners.alive):
            st.caption(":material/hourglass_top: A fit is due: the runner does it by itself, within a minute or so.")
            return
        st.warning(
            "Something new is known, or a fit was asked for. The runner fits; start one in the project's"
            " folder as below.",
            title="A fit is due, and no runner is alive", icon=":material/power_off:",
        )  # fmt: skip
        st.code(words.START_RUNNER, language="bash")


def failed(kind: Any) -> None:
    """The sentence of the last fit, where it failed."""
    history = reads.read(fits.history, kind)
    if len(history) and isinstance(history["error"].iloc[-1], str):
        when = words.moment(history["fitted_at"].iloc[-1])
        st.warning(
            words.plain(f"The last fit ({when}) came to nothing: {history['error'].iloc[-1]}"),
            icon=":material/warning:",
        )


def ask(kind: str) -> None:
    """The button that asks for a fit."""
    if st.button(
        "Refit now", icon=":material/refresh:", key="refit",
        help="The runner fits by itself whenever something new is known; this asks for it at once.",
    ):  # fmt: skip
        fits.request(actions.user())
        st.toast("A fit is asked for: the runner does it.", icon=":material/check:")


def headline(fit: Fit, told: Known) -> None:
    """What is known, since when, and how far to trust it."""
    origins = told.about["origin"].value_counts()
    imported = int(origins.drop(list(knowledge_maps.ORIGINS.values()), errors="ignore").sum())
    parts = [f"{origins.get('Yours', 0):,} yours", f"{origins.get('Shipped', 0):,} shipped", f"{imported:,} imported"]
    filled = float(told.errors.notna().to_numpy().mean())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(
            f"**{fit.n_datasets:,} datasets** ({', '.join(parts)}), **{fit.n_candidates:,} candidates**,"
            f" {words.number(100 * filled, 3)}% of their pairs known."
            f" :gray[Fitted {words.moment(fit.fitted_at)}, took {words.duration(fit.took_s)}.]"
        )
        ask(fit.task_type)
    judged = int(told.past["advice"].notna().sum())
    if judged < MIN_DATASETS:
        st.info(
            words.plain(f"{told.reason} Until then the safe default, {told.safe_default}, is recommended."),
            title="Too early to judge", icon=":material/hourglass_empty:",
        )  # fmt: skip
    elif told.falls_back:
        st.warning(words.plain(told.reason), title="The safe default is recommended", icon=":material/shield:")
    else:
        st.info(words.plain(told.reason), title="The advice is followed", icon=":material/verified:")
    advice_quality.numbers(told)


def show(kind: Any) -> None:
    """Everything of one kind of task."""
    fit = reads.read(fits.last_fit, kind)
    due = reads.read(fits.is_due)
    st.fragment(state, run_every=reads.LIVE_S if due or fit is None else None)(kind, fit.file if fit else None)
    if fit is None:
        nothing(kind)
        return
    told = knowledge_maps.of(fit)
    headline(fit, told)
    drawings = {
        "Unseen datasets": lambda: advice_quality.show(told),
        "Errors": lambda: knowledge_maps.errors(told, kind),
        "Map": lambda: knowledge_maps.map_and_importance(told, fit),
        "Learning": lambda: learning(kind),
        "Track record": track_record,
    }
    opened = st.tabs(list(drawings), key="tab", bind="query-params", on_change="rerun")
    for tab, draw in zip(opened, drawings.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def nothing(kind: str) -> None:
    """Before the first fit."""
    messages.empty(
        f"No selector for {kind} has been fitted yet. A runner fits one as soon as results are known: your own jobs',"
        " those of imported runs, or those that ship with Metascout.",
        links.NEW_JOB, "Start a job",
    )  # fmt: skip
    ask(kind)


def learning(kind: Any) -> None:
    """Does advice get better as results accumulate: simulated, and as it was."""
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("As datasets are added, simulated")
        simulated(reads.read(fits.learning_curve, kind))
    with right:
        st.subheader("From fit to fit, as it was")
        as_it_was(reads.read(fits.history, kind))


def simulated(frame: pd.DataFrame) -> None:
    """Mean regret on held-out datasets by the number that is known."""
    if frame.empty:
        st.info(
            "There are too few datasets to leave some out: the curve is drawn from 15 datasets with results on.",
            icon=":material/hourglass_empty:",
        )
        return
    own = frame.attrs.get("own", False)
    known_ones = "your datasets, beside the shipped ones" if own else "datasets"
    st.caption(
        f"Selectors that know only so many {known_ones}, judged on datasets that were held out; means of five draws."
    )
    lines(frame, [int(n) for n in frame.index], "Your datasets known" if own else "Datasets known", "simulated")


def as_it_was(history: pd.DataFrame) -> None:
    """Mean regret at each fit, on the datasets that were known then."""
    good = history[history["advice"].notna()]  # neither a failed fit nor one of a single dataset judges anything
    if len(good) < 2:
        st.info("There has been one fit so far; the next ones are drawn here.", icon=":material/hourglass_empty:")
        return
    st.caption(
        "Each fit was judged on the datasets known then, each unseen. Harder datasets raise all lines: what counts is"
        " how they lie to one another."
    )
    lines(good, list(words.times(good["fitted_at"])), "Fitted", "as_it_was", good["n_datasets"])


def lines(frame: pd.DataFrame, x: list[Any], title: str, key: str, n_datasets: pd.Series | None = None) -> None:
    """Mean regret, a line each of advice and defaults."""
    figure = go.Figure()
    told = "" if n_datasets is None else "<br>%{customdata} datasets known"
    for name, (label, color, dash) in LINES.items():
        figure.add_scatter(
            x=x, y=frame[name], mode="lines+markers", name=label, line={"color": color, "dash": dash, "width": 2.5},
            customdata=n_datasets, hovertemplate=f"%{{x}}: %{{y:.4f}}{told}<extra>{label}</extra>",
        )  # fmt: skip
    figure.update_xaxes(title=title)
    figure.update_yaxes(title="Mean regret", rangemode="tozero")
    charts.draw(figure, f"Mean regret by {title.lower()}, of advice and defaults", height=400, key=key)


def track_record() -> None:
    """Every advice that was given before the results, and what came of it."""
    frame = reads.read(advice.track_record)
    if frame.empty:
        messages.empty(
            "No advice has been given yet on a dataset without results. Ask for it before you run anything on one:"
            " what was predicted is kept, and compared with what came of it.",
            links.ADVICE, "Ask for advice",
        )  # fmt: skip
        return
    st.caption("Classification and regression together: the last advice on each dataset before its first result.")
    frame = frame.assign(inside=frame["actual"].between(frame["lower"], frame["upper"]))
    judged = frame[frame["actual"].notna()]
    record_numbers(frame, judged)
    if len(judged):
        record_chart(judged.head(OUTCOMES))
    record_table(frame)


def record_numbers(frame: pd.DataFrame, judged: pd.DataFrame) -> None:
    """How many, how good, how often inside."""
    with_interval = judged.dropna(subset=["lower", "upper"])
    both = judged.dropna(subset=["default"])
    with st.grid(4, min_column_width=170):
        waits = len(frame) - len(judged)
        st.metric(
            "Advice with an outcome", f"{len(judged):,}", f"{waits:,} still without" if waits else None,
            delta_color="off", delta_arrow="off", border=True,
        )  # fmt: skip
        st.metric("Mean regret", words.number(judged["regret"].mean()), border=True,
                  help="Error of the recommended candidate minus that of the best that has run")  # fmt: skip
        default = (both["default"] - both["best"]).mean()
        st.metric(
            "Safe default", words.number(default), f"advice: {words.number(both['regret'].mean())}",
            delta_color="off", delta_arrow="off", border=True,
            help=f"Its mean regret on the datasets where it has run ({len(both):,}), and that of the advice there",
        )  # fmt: skip
        hits = int(with_interval["inside"].sum())
        st.metric("Inside the interval", f"{hits:,} of {len(with_interval):,}" if len(with_interval) else words.NONE,
                  border=True, help="90% are claimed")  # fmt: skip


def record_chart(judged: pd.DataFrame) -> None:
    """The predicted intervals with what came of them, the newest first."""
    names, places = [charts.label(name, 26) for name in judged["dataset"]], list(range(len(judged)))
    figure = go.Figure()
    figure.add_scatter(
        x=judged["predicted"], y=places, mode="markers", name="Predicted, with its 90% interval",
        marker={"size": 8, "color": charts.FAINT},
        error_x={
            "type": "data", "symmetric": False, "array": judged["upper"] - judged["predicted"],
            "arrayminus": judged["predicted"] - judged["lower"], "color": charts.FAINT, "thickness": 2, "width": 4,
        },
        text=judged["candidate"].map(charts.label), hovertemplate="%{text}: %{x:.4g} predicted<extra></extra>",
    )  # fmt: skip
    figure.add_scatter(
        x=judged["actual"], y=places, mode="markers", name="Actual",
        marker={"size": 10, "symbol": "diamond", "color": charts.ACCENT},
        text=judged["candidate"].map(charts.label), hovertemplate="%{text}: %{x:.4g} in fact<extra></extra>",
    )  # fmt: skip
    figure.update_yaxes(tickvals=places, ticktext=names, autorange="reversed", zeroline=False)
    figure.update_xaxes(title="Error of the recommended candidate", rangemode="tozero")
    charts.draw(figure, "Predicted intervals and actual errors", height=120 + 24 * len(judged), key="record_chart")


def record_table(frame: pd.DataFrame) -> None:
    """The record, a row each, with the way to the advice."""
    shown = frame.assign(
        open=":material/lightbulb: " + frame["dataset"],
        given_at=words.times(frame["given_at"]),
        interval=[words.between(*row) for row in frame[["lower", "upper"]].itertuples(index=False)],
        hit=frame["inside"].map({True: "inside", False: "outside"}).where(frame["actual"].notna(), words.NONE),
        metric=frame["metric"].map(knowledge_maps.error_name),
    )  # fmt: skip
    column = st.column_config
    st.dataframe(
        shown,
        column_order=["open", "given_at", "candidate", "predicted", "interval", "actual", "hit", "best", "regret",
                      "default", "metric"],
        column_config={
            "open": column.ButtonColumn("Dataset", type="tertiary", alignment="left", pinned=True, key="open_advice",
                                        on_click=open_advice, args=(list(frame["dataset"]),)),
            "given_at": column.DatetimeColumn("Given", format="calendar"),
            "candidate": column.TextColumn("Recommended", help="The first of the ranking that has run"),
            "predicted": column.NumberColumn("Predicted", format="%.4f"),
            "interval": column.TextColumn("90% interval"),
            "actual": column.NumberColumn("Actual", format="%.4f"),
            "hit": "Interval",
            "best": column.NumberColumn("Best that ran", format="%.4f"),
            "regret": column.NumberColumn("Regret", format="%.4f"),
            "default": column.NumberColumn("Safe default", format="%.4f", help="Its error, where it has run"),
            "metric": "Error is",
        },
        hide_index=True, height="content" if len(shown) <= 18 else 680, key="record",
        alt="Advice and its outcome, the newest first",
    )  # fmt: skip


def open_advice(names: list[str]) -> None:
    """Go to the advice on the clicked row's dataset."""
    st.switch_page(links.ADVICE, query_params={"dataset": names[st.session_state.open_advice.row]})


st.title("Meta-model")
st.caption("What past runs teach about the next dataset, and how far that can be trusted.")
with messages.show_errors():
    kinds = {kind.capitalize(): kind for kind in knowledge.TASK_TYPES}
    links.preselect("kind", list(kinds), {kind: label for label, kind in kinds.items()})
    chosen = st.segmented_control(
        "Kind of task", list(kinds), default=next(iter(kinds)), required=True, key="kind", bind="query-params",
        label_visibility="collapsed",
    )  # fmt: skip
    show(kinds[chosen])
