"""Compare (/compare?dataset=NAME&left=45&right=46): two trials of a dataset side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from core.errors import InputError
from core.results import Trial
from pages import links, reads, words
from pages.parts import messages, network_drawing, trial_table


def choose(side: str, names: dict[str, str], default: str) -> str:
    """Draw the choice of a trial; the link keeps its id, since a bound choice would keep its rank, which changes."""
    ids = list(names)
    if side not in st.session_state:
        linked = st.query_params.get(side, default)
        if linked not in names:
            st.warning(f"The link asks for trial {words.plain(linked)}, which is not a trial of this dataset.")
        st.session_state[side] = linked if linked in names else default
    trial_id = st.selectbox(side.capitalize(), ids, key=side, format_func=lambda trial_id: names[trial_id])
    st.query_params[side] = trial_id
    return trial_id


def figures(trials: Sequence[Trial]) -> None:
    """Draw scores and costs, a column for each trial."""
    rows: dict[str, list[str]] = {}
    for name in trials[0].scores["metric"]:
        rows[f"Test {words.metric_label(name)}"] = [_score(trial, name) for trial in trials]
    rows["Fit time"] = [words.duration(trial.fit_s) for trial in trials]
    rows["Prediction time per row"] = [words.duration(trial.predict_row_s) for trial in trials]
    rows["Size"] = [words.size(trial.size_bytes) for trial in trials]
    rows["Parameters"] = [f"{trial.n_parameters:,}" if trial.n_parameters else words.NONE for trial in trials]
    table("Scores and cost", rows, trials)


def _score(trial: Trial, metric: str) -> str:
    rows = trial.scores[trial.scores["metric"] == metric]
    return words.interval(*rows[["test", "lower", "upper"]].iloc[0]) if len(rows) else words.NONE


def settings(trials: Sequence[Trial]) -> None:
    """Draw the parameters of both trials, those that differ first."""
    names = list(dict.fromkeys(name for trial in trials for name in trial.params))
    rows = {name: [str(trial.params.get(name, words.NONE)) for trial in trials] for name in names}
    if rows:
        table("Parameters", dict(sorted(rows.items(), key=lambda row: row[1][0] == row[1][1])), trials)
        st.caption("Parameters that differ come first.")


def table(title: str, rows: dict[str, list[str]], trials: Sequence[Trial]) -> None:
    """Draw names with the values of the left and the right trial."""
    st.subheader(title)
    values: dict[str, Any] = {"Name": list(rows)}
    values |= {f"Trial {trial.id}": [row[side] for row in rows.values()] for side, trial in enumerate(trials)}
    frame = pd.DataFrame(values)
    st.dataframe(frame, hide_index=True, height="content" if len(frame) <= 15 else 520, alt=f"{title} of two trials")


def architectures(trials: Sequence[Trial]) -> None:
    """Draw the networks side by side, if there are any."""
    if not any(trial.details.get("architecture") for trial in trials):
        return
    st.subheader("Architectures")
    for side, place, trial in zip(("left", "right"), st.columns(2, gap="medium"), trials, strict=True):
        with place:
            links.link(links.TRIAL, f"Trial {trial.id}", trial=trial.id)
            if layers := trial.details.get("architecture"):
                network_drawing.draw(layers, key=f"architecture_{side}")
            else:
                st.info(f"{words.plain(trial.algorithm)} is not a network.", icon=":material/account_tree:")


def compare(dataset: Dataset) -> None:
    """Draw both choices and the comparison."""
    board = reads.read(results.leaderboard, dataset.id, limit=trial_table.BEST_N)
    if len(board) < 2:
        messages.empty("A comparison needs two trials.", links.NEW_JOB, "Start a job", dataset=dataset.name)
        return
    names = {
        str(row["trial_id"]): f"{row['rank']}. {row['algorithm']} (trial {row['trial_id']}, job {row['job_id']})"
        for row in board.to_dict("records")
    }
    one, two = st.columns(2, gap="medium")
    with one:
        left = choose("left", names, next(iter(names)))
    with two:
        right = choose("right", names, next(name for name in names if name != left))
    if left == right:
        st.info("Choose two different trials.", icon=":material/compare_arrows:")
        return
    trials = [reads.read(results.trial, int(trial_id)) for trial_id in (left, right)]
    figures(trials)
    settings(trials)
    architectures(trials)


def show() -> None:
    """Draw the page."""
    name = st.query_params.get("dataset")
    if name is None:
        raise InputError("The link names no dataset. Choose one on the leaderboard.")
    dataset = reads.read(datasets.get, name)
    links.name_tab(dataset.name, "Compare")
    st.title("Compare two trials")
    with st.container(horizontal=True):
        links.link(links.LEADERBOARD, dataset=dataset.name)
        links.link(links.DATASET, words.plain(dataset.name), dataset=dataset.name)
    compare(dataset)


with messages.show_errors():
    try:
        show()
    except InputError as error:
        messages.dead_end("Compare", error, links.LEADERBOARD, "Leaderboard")
