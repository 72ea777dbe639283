"""Import runs: upload past runs, check them and import them as a scenario; list and remove scenarios."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import knowledge, metafeatures
from core.datasets.files import tables, uploads
from core.errors import InputError, MetascoutError
from core.knowledge import imports
from core.knowledge.imports import Inspection
from core.knowledge.recognition import Reading
from pages import actions, links, reads, words
from pages.parts import messages, run_columns

EXAMPLE = """dataset,candidate,accuracy,fold,fit_s,feature:n_rows
churn,random forest,0.81,1,12.5,7043
churn,logistic regression,0.80,1,0.9,7043
adult,random forest,0.86,1,40.1,48842
adult,logistic regression,0.85,1,3.2,48842
"""
ABOUT = """
- **A table** (CSV or Parquet): a row for each dataset and candidate, with the error or a metric. Optional: a column of
  folds, of fit times in seconds, and numbers that describe the dataset (`feature:...`).
- **MLflow runs** as CSV, as exported from its page or by `mlflow.search_runs`.
- **An ASlib scenario**: a ZIP of the folder with `description.txt` and `algorithm_runs.arff`.
"""


def add_file() -> None:
    """Draw the upload of a file of runs, and what would be imported."""
    turn = st.session_state.get("imports", 0)  # a new key empties the uploader
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left:
        uploaded = st.file_uploader(
            "CSV, Parquet or an ASlib scenario (ZIP)", type=["csv", "tsv", "txt", "parquet", "zip"], key=f"runs_{turn}",
            help="Up to 1 GB. The first row of a CSV file names the columns. The file stays on this machine.",
        )  # fmt: skip
    with right:
        encoding = st.selectbox("CSV encoding", tables.ENCODINGS, key="runs_encoding")
    if uploaded is None:
        with st.expander("Supported files", icon=":material/help:"):
            st.markdown(ABOUT)
            st.code(EXAMPLE, language=None)
        return
    try:
        path = uploads.receive(uploaded)
        first = inspect(path, Reading(encoding=encoding))
    except MetascoutError as error:
        show_problem(error, [uploaded], ":material/error:")
        return
    key = f"{path.name}_{encoding}"
    with messages.show_errors():
        reading, features = run_columns.draw(first, encoding, key)
        files = [file for file in (uploaded, features) if file is not None]
        inspection = check(path, reading, files)
        confirm(path, reading, inspection is not None, default_name(first, path, uploaded), files, key)


@st.cache_data(ttl=3600, max_entries=32, show_spinner="Reading the runs")
def inspect(path: Path, reading: Reading) -> Inspection:
    """Return what the file holds under this reading; an upload never changes, so it is read once for all reruns."""
    return imports.inspect(path, reading)


def show_problem(error: MetascoutError, files: list[Any], icon: str = ":material/block:") -> None:
    """Show an error with the names of the reader's files, without the field's name, which its place shows."""
    text = f"{error.text} {error.remedy or ''}".strip() if isinstance(error, InputError) else str(error)
    st.error(words.plain(uploads.restore_names(text, *files)), icon=icon)


def check(path: Path, reading: Reading, files: list[Any]) -> Inspection | None:
    """Draw what would be imported under this reading, and what is left out; None if nothing can be imported."""
    try:
        inspection = inspect(path, reading)
    except MetascoutError as error:
        show_problem(error, files)
        return None
    for question in inspection.questions:
        show_problem(question, files)
    if inspection.questions:
        return None
    st.subheader("Import")
    better = "higher" if inspection.higher_is_better else "lower"
    st.caption(words.plain(f"By {inspection.metric}; {better} is better"))
    counts(inspection)
    if inspection.notes:
        st.info("\n".join(f"- {words.plain(uploads.restore_names(note, *files))}" for note in inspection.notes))
    use(inspection)
    preview(inspection)
    return inspection


def counts(inspection: Inspection) -> None:
    """Draw how much would be imported."""
    with st.grid(4, min_column_width=130):
        st.metric("Datasets", f"{inspection.n_datasets:,}", border=True)
        st.metric("Candidates", f"{inspection.n_candidates:,}", border=True)
        st.metric("Results", f"{inspection.n_rows:,}", border=True, help="Pairs of a dataset and a candidate")
        n_features = f"{len(inspection.features):,}"
        st.metric("Meta-features", n_features, border=True, help="Numbers that describe a dataset")


def use(inspection: Inspection) -> None:
    """Draw whether the scenario can advise on new datasets, and what that needs."""
    ours = reads.read(knowledge.our_features, knowledge.task_type(str(inspection.metric)))
    n = len(set(inspection.features) & set(ours))
    content = f"The file has {n:,} of our {len(ours):,} meta-features"
    if knowledge.advises(inspection.features, ours):
        st.success(f"{content}: it can advise on new datasets.", icon=":material/check_circle:")
        return
    text = f"{content}. Advice on new datasets needs at least half of them, so this scenario is for comparison only."
    st.info(text, icon=":material/compare_arrows:")
    with st.expander("Our meta-features", icon=":material/list:"):
        rows = [(name, metafeatures.NAMES.get(name, ""), name in inspection.features) for name in ours]
        st.dataframe(
            pd.DataFrame(rows, columns=["Name", "Meaning", "In the file"]), hide_index=True, height=280,
            alt="The meta-features by which datasets are compared",
        )  # fmt: skip


def preview(inspection: Inspection) -> None:
    """Draw the first results as they would be imported."""
    with st.expander("Preview of the first rows", icon=":material/visibility:", expanded=True):
        rows = inspection.preview
        rows = rows if rows["fit_s"].notna().any() else rows.drop(columns="fit_s")
        height: Any = "content" if len(rows) <= 8 else 320
        st.dataframe(rows, hide_index=True, height=height, alt="The first 20 results as they would be imported")


def default_name(first: Inspection, path: Path, uploaded: Any) -> str:
    """Return a name for the scenario: its own, or the file's."""
    return uploads.stem(uploaded.name if first.name == path.stem else f"{first.name}.zip")


def confirm(path: Path, reading: Reading, usable: bool, name: str, files: list[Any], key: str) -> None:
    """Draw the name of the scenario and the button that imports it. Raises what importing raises."""
    name = st.text_input("Scenario name", name, max_chars=80, key=f"name_{key}")
    try:
        imports.check_name(name)
    except InputError as error:
        show_problem(error, [])
        usable = False
    if st.button("Import", type="primary", icon=":material/check:", disabled=not usable, key="import"):
        with st.spinner("Importing the runs"):
            scenario, _ = imports.import_(path, reading, name=name, owner=actions.user(), source=files[0].name)
        for file in files:
            uploads.discard(uploads.receive(file))
        st.session_state["imports"] = st.session_state.get("imports", 0) + 1
        st.session_state["imported"] = scenario.name
        content = f"{scenario.n_datasets:,} datasets, {scenario.n_candidates:,} candidates"
        actions.save_outcome("success", f"{scenario.name} is imported: {content}.")
        st.rerun()


def next_step() -> None:
    """Draw where to go after an import, once."""
    name = st.session_state.pop("imported", None)
    if name is not None:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/check_circle: {words.plain(f'{name} is in the list below.')}")
            links.link(links.ADVICE)


def scenarios() -> None:
    """Draw the imported scenarios, and the button that removes one."""
    st.subheader("Imported scenarios")
    overview = reads.read(knowledge.overview)
    if overview.empty:
        text = "No runs have been imported yet. Upload a file above. The results of your own jobs need no import."
        messages.empty(text, links.NEW_JOB, "Start a new job")
        return
    st.dataframe(
        scenario_rows(overview), column_config=config(), hide_index=True,
        height="content" if len(overview) <= 15 else 560, key="scenarios", alt="Imported scenarios, the latest first",
    )  # fmt: skip
    if st.button("Remove a scenario", icon=":material/delete:", key="remove"):
        remove(overview)


def scenario_rows(overview: pd.DataFrame) -> pd.DataFrame:
    """Return the scenarios as people read them."""
    arrows = overview["higher_is_better"].map({True: " ↑", False: " ↓"})
    return pd.DataFrame(
        {
            "name": overview["name"],
            "use": overview["advises"].map({True: "Advice", False: "Comparison"}),
            "metric": overview["metric"] + arrows,
            "datasets": overview["n_datasets"],
            "candidates": overview["n_candidates"],
            "results": overview["n_rows"],
            "source": overview["source"],
            "owner": overview["owner"],
            "imported": words.times(overview["imported_at"]),
        }
    )


def config() -> dict[str, Any]:
    """Return how the table of scenarios is drawn."""
    column = st.column_config
    return {
        "name": column.TextColumn("Scenario", pinned=True),
        "use": column.TextColumn("Use", help="Advice needs at least half of our meta-features"),
        "metric": column.TextColumn("Metric", help="↑ higher is better, ↓ lower is better"),
        "datasets": column.NumberColumn("Datasets", format="localized"),
        "candidates": column.NumberColumn("Candidates", format="localized"),
        "results": column.NumberColumn("Results", format="localized"),
        "source": "Source",
        "owner": "Owner",
        "imported": column.DatetimeColumn("Imported", format="calendar"),
    }


@st.dialog("Remove a scenario")
def remove(overview: pd.DataFrame) -> None:
    """Draw the choice of the scenario to remove, and the button that confirms it."""
    name = st.selectbox("Scenario", list(overview["name"]), key="removed")
    row = overview.set_index("name").loc[name]
    text = f"This deletes its {row['n_rows']:,} results on {row['n_datasets']:,} datasets. You can import it again."
    st.markdown(words.plain(text))
    if st.button("Remove", type="primary", icon=":material/delete:", key="remove_now", on_click=remove_now):
        st.rerun()


def remove_now() -> None:
    """Remove the chosen scenario, and save the outcome."""
    try:
        knowledge.remove(st.session_state["removed"])
        actions.save_outcome("success", f"{st.session_state['removed']} is removed.")
    except MetascoutError as error:
        actions.save_outcome("error", str(error))


st.title("Import runs")
st.caption("Teach the advice from runs made elsewhere: how well each candidate did on each dataset")
messages.show_outcome()
next_step()
add_file()
scenarios()
