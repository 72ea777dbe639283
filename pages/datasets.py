"""Datasets: those that are registered, each with its best result."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from core import datasets, results
from core.datasets import Dataset
from pages import links, reads, words
from pages.parts import messages


def listed() -> None:
    """The registered datasets, each with its best result."""
    known = reads.read(datasets.all_datasets)
    if not known:
        messages.empty("There is no dataset yet. Add a file or a built-in sample.", links.ADD_DATASET, "Add a dataset")
        return
    links.link(links.ADD_DATASET, "Add dataset", icon=":material/upload_file:")
    best = reads.read(results.best_by_dataset).to_dict("index")
    st.dataframe(
        pd.DataFrame([listed_row(dataset, best.get(dataset.id)) for dataset in known]),
        column_config={
            "open": st.column_config.ButtonColumn(
                "Dataset",
                type="tertiary",
                alignment="left",
                pinned=True,
                key="open_dataset",
                on_click=open_dataset,
            ),
            "rows": st.column_config.NumberColumn("Rows", format="localized"),
            "columns": st.column_config.NumberColumn("Columns", format="localized"),
            "created": st.column_config.DatetimeColumn("Added", format="calendar"),
        },
        hide_index=True,
        height="content" if len(known) <= 25 else 700,
        key="datasets",
        alt="Registered datasets",
    )


def listed_row(dataset: Dataset, best: dict[str, Any] | None) -> dict[str, Any]:
    """A dataset as a row of the list."""
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
listed()
