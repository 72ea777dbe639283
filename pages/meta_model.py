"""Meta-model (/meta_model?kind=...): the known results, how good advice is on unseen datasets, and how it learns."""

from __future__ import annotations

from typing import Any

import streamlit as st

from core import knowledge
from core.advice import fits
from core.advice.fits import Fit
from core.advice.trust import MIN_DATASETS
from core.queue import runners
from pages import actions, links, reads, words
from pages.parts import messages
from pages.parts.advice import advice_quality, error_map, regret_curves, selector_view, similarity_map, track_record
from pages.parts.advice.selector_view import SelectorView


def state(task_type: Any, file: str | None) -> None:
    """Draw whether a fit is due and who does it; a new fit brings the page up to date."""
    with messages.show_errors():
        newest = reads.read(fits.last_fit, task_type)
        if newest is not None and newest.file != file:
            st.rerun()
        failure(task_type)
        if not reads.read(fits.is_due):
            return
        if reads.read(runners.alive):
            st.caption(":material/hourglass_top: A refit is due. The runner starts it within a minute or so.")
            return
        st.warning(
            "There are new results, or someone requested a refit. Start a runner in the project's folder with the"
            " command below.",
            title="A refit is due, and no runner is running", icon=":material/power_off:",
        )  # fmt: skip
        st.code(words.START_RUNNER, language="bash")


def failure(task_type: Any) -> None:
    """Draw why the last fit failed, if it did."""
    history = reads.read(fits.history, task_type)
    if len(history) and isinstance(history["error"].iloc[-1], str):
        when = words.moment(history["fitted_at"].iloc[-1])
        text = f"The last fit ({when}) failed: {history['error'].iloc[-1]}"
        st.warning(words.plain(text), icon=":material/warning:")


def refit_button() -> None:
    """Draw the button that requests a refit."""
    if st.button(
        "Refit now", icon=":material/refresh:", key="refit",
        help="The runner refits when there are new results. This requests a refit at once.",
    ):  # fmt: skip
        fits.request(actions.user())
        st.toast("Refit requested. The runner will do it.", icon=":material/check:")


def headline(fit: Fit, view: SelectorView) -> None:
    """Draw what is known, since when, and how far to trust it."""
    origins = view.about["origin"].value_counts()
    imported = int(origins.drop(list(selector_view.ORIGINS.values()), errors="ignore").sum())
    parts = [f"{origins.get('Yours', 0):,} yours", f"{origins.get('Shipped', 0):,} shipped", f"{imported:,} imported"]
    known_frac = float(view.errors.notna().to_numpy().mean())
    with st.container(horizontal=True, vertical_alignment="center", horizontal_alignment="distribute"):
        st.markdown(
            f"**{fit.n_datasets:,} datasets** ({', '.join(parts)}), **{fit.n_candidates:,} candidates**,"
            f" {words.number(100 * known_frac, 3)}% of their pairs known"
            f" :gray[Fitted {words.moment(fit.fitted_at)} in {words.duration(fit.took_s)}]"
        )
        refit_button()
    reliability(view)
    advice_quality.numbers(view)


def reliability(view: SelectorView) -> None:
    """Draw whether the advice or the safe default is followed, and why."""
    if int(view.past["advice"].notna().sum()) < MIN_DATASETS:
        text = f"{view.reason} Until then the safe default, {view.safe_default}, is recommended."
        st.info(words.plain(text), title="Too early to evaluate", icon=":material/hourglass_empty:")
    elif view.falls_back:
        st.warning(words.plain(view.reason), title="The safe default is recommended", icon=":material/shield:")
    else:
        st.info(words.plain(view.reason), title="The advice is recommended", icon=":material/verified:")


def show(task_type: Any) -> None:
    """Draw everything about one type of task."""
    fit = reads.read(fits.last_fit, task_type)
    waiting = reads.read(fits.is_due) or fit is None
    st.fragment(state, run_every=reads.LIVE_S if waiting else None)(task_type, fit.file if fit else None)
    if fit is None:
        no_selector(task_type)
        return
    view = selector_view.of(fit)
    headline(fit, view)
    drawings = {
        "Unseen datasets": lambda: advice_quality.show(view),
        "Errors": lambda: error_map.show(view, task_type),
        "Map": lambda: similarity_map.show(view, fit),
        "Learning": lambda: regret_curves.show(task_type),
        "Track record": track_record.show,
    }
    tabs = st.tabs(list(drawings), key="tab", bind="query-params", on_change="rerun")
    for tab, draw in zip(tabs, drawings.values(), strict=True):
        if tab.open:
            with tab:
                draw()


def no_selector(task_type: str) -> None:
    """Draw what is missing before the first fit."""
    messages.empty(
        f"There is no selector for {task_type} yet. A runner fits one when there are results: from your jobs, from"
        " imported runs, or those shipped with Metascout.",
        links.NEW_JOB, "Start a job",
    )  # fmt: skip
    refit_button()


st.title("Meta-model")
st.caption("What past runs teach about the next dataset, and how reliable that is")
with messages.show_errors():
    task_types = {name.capitalize(): name for name in knowledge.TASK_TYPES}
    links.preselect("kind", list(task_types), {name: label for label, name in task_types.items()})
    label = st.segmented_control(
        "Type of task", list(task_types), default=next(iter(task_types)), required=True, key="kind",
        bind="query-params", label_visibility="collapsed",
    )  # fmt: skip
    show(task_types[label])
