"""Datasets: the registered ones, each with its best result."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from pages import links, reads, words
from pages.parts import messages


def show() -> None:
    """Draw the page below its title."""
    registered = reads.read(datasets.all_datasets)
    if not registered:
        messages.empty("There is no dataset yet. Add a file or a built-in sample.", links.ADD_DATASET, "Add a dataset")
        return
    links.link(links.ADD_DATASET)
    best = reads.read(results.best_by_dataset).to_dict("index")
    st.dataframe(
        pd.DataFrame([row(dataset, best.get(dataset.id)) for dataset in registered]), column_config=config(),
        hide_index=True, height="content" if len(registered) <= 25 else 700, key="datasets", alt="Registered datasets",
    )  # fmt: skip


def config() -> dict[str, Any]:
    """Return how the table is drawn; a row's button opens the dataset."""
    column = st.column_config
    return {
        "open": column.ButtonColumn(
            "Dataset", type="tertiary", alignment="left", pinned=True, key="open_dataset", on_click=open_dataset
        ),
        "rows": column.NumberColumn("Rows", format="localized"),
        "columns": column.NumberColumn("Columns", format="localized"),
        "created": column.DatetimeColumn("Added", format="calendar"),
    }


def row(dataset: Dataset, best: dict[str, Any] | None) -> dict[str, Any]:
    """Return a dataset as a row of the table."""
    result = f"{words.metric_label(best['metric'])} {words.number(best['test'])}, {best['algorithm']}" if best else ""
    return {
        "open": f":material/{'image' if dataset.modality == 'image' else 'table'}: {dataset.name}",
        "Task": words.TASKS[dataset.task],
        "Target": dataset.target,
        "rows": sum(dataset.n_rows.values()),
        "columns": len(dataset.columns),
        "Best on test": result or words.NONE,
        "Source": dataset.source,
        "Owner": dataset.owner,
        "created": words.times(pd.Series([dataset.created_at]))[0],
    }


def open_dataset() -> None:
    """Go to the clicked dataset."""
    st.switch_page(links.DATASET, query_params={"dataset": st.session_state.open_dataset.label.partition(": ")[2]})


st.title("Datasets")
show()
