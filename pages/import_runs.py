"""Import runs: a team's own past, looked at and corrected before it is kept; the scenarios that are kept."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from core import knowledge, metafeatures
from core.datasets.files import findings, tables, uploads
from core.errors import InputError, MetascoutError
from core.knowledge import imports
from core.knowledge.imports import Inspection
from core.knowledge.recognition import Reading
from pages import actions, links, reads, words
from pages.parts import messages

KINDS = {"aslib": "an ASlib scenario", "tidy": "a table of runs", "mlflow": "the runs of MLflow"}
BETTER = {None: "As its name tells", True: "Higher is better", False: "Lower is better"}
EXAMPLE = """dataset,candidate,accuracy,fold,fit_s,feature:n_rows
churn,random forest,0.81,1,12.5,7043
churn,logistic regression,0.80,1,0.9,7043
adult,random forest,0.86,1,40.1,48842
adult,logistic regression,0.85,1,3.2,48842
"""
ABOUT = """
- **A table** (CSV or Parquet): a row for each dataset and candidate, with the error or a metric. If there are any: a
  column of folds, of seconds to fit, and numbers that describe the dataset (`feature:...`).
- **MLflow's runs** as CSV, as its page or `mlflow.search_runs` gives them.
- **An ASlib scenario**: a ZIP of the folder with `description.txt` and `algorithm_runs.arff`.
"""


def add_file() -> None:
    """A file of runs, looked at before it is imported."""
    turn = st.session_state.get("imports", 0)  # a new key empties the uploader
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left:
        uploaded = st.file_uploader(
            "CSV, Parquet or an ASlib scenario (ZIP)", type=["csv", "tsv", "txt", "parquet", "zip"], key=f"runs_{turn}",
            help="Up to 1 GB. The first row of a CSV file names the columns. The file stays on this machine.",
        )  # fmt: skip
    with right:
        encoding = st.selectbox("Encoding of CSV", tables.ENCODINGS, key="runs_encoding")
    if uploaded is None:
        with st.expander("What such a file looks like", icon=":material/help:"):
            st.markdown(ABOUT)
            st.code(EXAMPLE, language=None)
        return
    try:
        path = uploads.receive(uploaded)
        first = inspect(path, Reading(encoding=encoding))
    except MetascoutError as error:
        st.error(words.plain(uploads.restore_names(without_field(error), uploaded)), icon=":material/error:")
        return
    key = f"{path.name}_{encoding}"
    with messages.show_errors():
        reading, described = corrections(first, encoding, key)
        files = [each for each in (uploaded, described) if each is not None]
        found = recognised(path, reading, files)
        confirm(path, reading, found, proposed(first, path, uploaded), files, key)


@st.cache_data(ttl=3600, max_entries=32, show_spinner="Reading the runs")
def inspect(path: Path, reading: Reading) -> Inspection:
    """What the file was recognised as under this reading; an upload never changes, so once for all reruns."""
    return imports.inspect(path, reading)


def corrections(first: Inspection, encoding: str, key: str) -> tuple[Reading, Any]:
    """What the columns mean, as recognised unless the user says otherwise; and the upload of meta-features."""
    st.subheader("What it means")
    st.caption(f"Recognised as {KINDS[first.format]} with {findings.plural(first.n_read, 'row', 'rows')}.")
    if first.format == "aslib":
        metric = st.selectbox(
            "Metric", [None, *first.metrics], key=f"metric_{key}",
            format_func=lambda name: f"As recognised: {first.metric}" if name is None else name,
        )  # fmt: skip
        return Reading(metric=metric, encoding=encoding, average=averaged(first, key)), None
    roles = first.roles
    with st.grid(3, min_column_width=220):
        needed = "Choose a column"
        dataset = column("Dataset", first, roles.dataset, f"dataset_{key}", needed)
        told = "The model, algorithm or pipeline."
        candidate = column("Candidate", first, roles.candidate, f"candidate_{key}", needed, told)
        metric = metric_of(first, key)
        better = st.selectbox(
            "Which is better", list(BETTER), format_func=BETTER.__getitem__, key=f"better_{key}",
            help="An error is always better when it is lower.",
        )  # fmt: skip
        told = "Errors are averaged over its values."
        fold = column("Fold or repeat", first, roles.fold, f"fold_{key}", told=told)
        fit_s = column("Seconds to fit", first, roles.fit_s, f"fit_s_{key}")
    average = averaged(first, key)
    with st.expander("Meta-features from a second file", icon=":material/add:"):
        described = st.file_uploader(
            "CSV or Parquet with a dataset in each row", type=["csv", "tsv", "txt", "parquet"], key=f"features_{key}",
            help="Its columns of numbers describe the dataset that the column of the same name as above names.",
        )  # fmt: skip
    reading = Reading(dataset, candidate, metric, better, fold, fit_s, None, average, encoding)
    return reading if described is None else replace(reading, features=uploads.receive(described)), described


def column(
    label: str, first: Inspection, recognised: str | None, key: str, none: str = "None", told: str | None = None
) -> str | None:
    """The column of one meaning; None: as recognised."""
    usual = none if recognised is None else f"As recognised: {recognised}"
    return st.selectbox(
        label, [None, *first.columns], format_func=lambda name: usual if name is None else name, key=key, help=told
    )


def metric_of(first: Inspection, key: str) -> str | None:
    """The metric that counts: one that was recognised, another column, or the user's word for a column of values."""
    told = first.roles
    if told.metric is None and (told.value or "").casefold() in ("value", "score"):
        word = st.text_input(
            "Metric", key=f"metric_{key}", placeholder=f"What {told.value} is, such as accuracy",
            help="What the column holds, or the name of the column that counts instead.",
        )  # fmt: skip
        return word.strip() or None
    usual = "Choose one" if first.metric is None else f"As recognised: {first.metric}"
    others = [name for name in first.columns if name not in (*first.metrics, *told.columns())]
    return st.selectbox(
        "Metric", [None, *first.metrics, *others], format_func=lambda name: usual if name is None else name,
        key=f"metric_{key}",
    )  # fmt: skip


def averaged(first: Inspection, key: str) -> bool:
    """Whether rows that say different things of one dataset and candidate are repeats."""
    always = first.format == "mlflow"
    return st.toggle(
        "Average repeats", always, key=f"average_{key}", disabled=always,
        help="Rows that say different things of one dataset and candidate count as repeats; else they are refused. "
        "Runs of MLflow are always averaged.",
    )  # fmt: skip


def recognised(path: Path, reading: Reading, files: list[Any]) -> Inspection | None:
    """What would be imported under this reading, and what is left out; None where nothing can be."""
    try:
        found = inspect(path, reading)
    except MetascoutError as error:
        st.error(words.plain(uploads.restore_names(without_field(error), *files)), icon=":material/block:")
        return None
    for question in found.questions:
        st.error(
            words.plain(uploads.restore_names(without_field(question), *files)),
            icon=":material/block:",
        )
    if found.questions:
        return None
    ours = reads.read(knowledge.our_features, knowledge.task_type(str(found.metric)))
    st.subheader("What is imported")
    better = "higher" if found.higher_is_better else "lower"
    st.caption(words.plain(f"By {found.metric}: {better} is better."))
    counts(found)
    if found.notes:
        st.info("\n".join(f"- {words.plain(uploads.restore_names(note, *files))}" for note in found.notes))
    advice(found, ours)
    with st.expander("Preview of the first rows", icon=":material/visibility:", expanded=True):
        preview = found.preview if found.preview["fit_s"].notna().any() else found.preview.drop(columns="fit_s")
        height: Any = "content" if len(preview) <= 8 else 320
        st.dataframe(preview, hide_index=True, height=height, alt="The first 20 results as they would be imported")
    return found


def without_field(error: MetascoutError) -> str:
    """Return an error's sentences without the field's name, which its place on the page shows."""
    return f"{error.text} {error.remedy or ''}".strip() if isinstance(error, InputError) else str(error)


def counts(found: Inspection) -> None:
    """How much would be imported."""
    with st.grid(4, min_column_width=130):
        st.metric("Datasets", f"{found.n_datasets:,}", border=True)
        st.metric("Candidates", f"{found.n_candidates:,}", border=True)
        st.metric("Results", f"{found.n_rows:,}", border=True, help="Pairs of a dataset and a candidate.")
        st.metric("Meta-features", f"{len(found.features):,}", border=True, help="Numbers that describe a dataset.")


def advice(found: Inspection, ours: list[str]) -> None:
    """Whether new datasets can be compared with those of the file, and what would be needed."""
    n = len(set(found.features) & set(ours))
    carried = f"It carries {n:,} of our {len(ours):,} meta-features"
    if knowledge.advises(found.features, ours):
        st.success(f"{carried}: it can advise on new datasets.", icon=":material/check_circle:")
        return
    text = f"{carried}. With fewer than half it cannot advise on new datasets; it stands beside what is known."
    st.info(text, icon=":material/compare_arrows:")
    with st.expander("Our meta-features", icon=":material/list:"):
        rows = [(name, metafeatures.NAMES.get(name, ""), name in found.features) for name in ours]
        st.dataframe(
            pd.DataFrame(rows, columns=["Name", "What it says", "In the file"]), hide_index=True, height=280,
            alt="The meta-features that datasets are compared by",
        )  # fmt: skip


def proposed(first: Inspection, path: Path, uploaded: Any) -> str:
    """A name for the scenario: its own, or the file's."""
    return uploads.stem(uploaded.name if first.name == path.stem else f"{first.name}.zip")


def confirm(
    path: Path, reading: Reading, found: Inspection | None, name: str, files: list[Any], key: str
) -> None:  # fmt: skip
    """The name of the scenario, and the button. Raises what importing raises."""
    name = st.text_input("Name of the scenario", name, max_chars=80, key=f"name_{key}")
    try:
        imports.check_name(name)
        fits = True
    except InputError as error:
        st.error(words.plain(without_field(error)), icon=":material/block:")
        fits = False
    if st.button(
        "Import", type="primary", icon=":material/check:", disabled=found is None or not fits, key="import"
    ):  # fmt: skip
        with st.spinner("Importing the runs"):
            scenario, _ = imports.import_(path, reading, name=name, owner=actions.user(), source=files[0].name)
        for each in files:
            uploads.discard(uploads.receive(each))
        st.session_state["imports"] = st.session_state.get("imports", 0) + 1
        st.session_state["imported"] = scenario.name
        what = f"{scenario.n_datasets:,} datasets, {scenario.n_candidates:,} candidates"
        actions.save_outcome("success", f"{scenario.name} is imported: {what}.")
        st.rerun()


def imported() -> None:
    """Where to go from what has just been imported; said once."""
    name = st.session_state.pop("imported", None)
    if name is not None:
        with st.container(border=True, horizontal=True, vertical_alignment="center"):
            st.markdown(f":material/check_circle: {words.plain(f'{name} stands in the list below.')}")
            links.link(links.ADVICE, "Advice")


def listed() -> None:
    """The imported scenarios, and the way to remove one."""
    st.subheader("Imported scenarios")
    known = reads.read(knowledge.overview)
    if known.empty:
        text = "No runs have been imported yet. Drop in a file above. What your jobs find counts without it."
        messages.empty(text, links.NEW_JOB, "Start a new job")
        return
    st.dataframe(
        shown(known), column_config=config(), hide_index=True, height="content" if len(known) <= 15 else 560,
        key="scenarios", alt="Imported scenarios, the last one first",
    )  # fmt: skip
    if st.button("Remove a scenario", icon=":material/delete:", key="remove"):
        remove(known)


def shown(known: pd.DataFrame) -> pd.DataFrame:
    """The scenarios as people read them."""
    arrows = known["higher_is_better"].map({True: " ↑", False: " ↓"})
    return pd.DataFrame(
        {
            "name": known["name"],
            "use": known["advises"].map({True: "Advises", False: "Stands beside"}),
            "metric": known["metric"] + arrows,
            "datasets": known["n_datasets"],
            "candidates": known["n_candidates"],
            "results": known["n_rows"],
            "source": known["source"],
            "owner": known["owner"],
            "imported": words.times(known["imported_at"]),
        }
    )


def config() -> dict[str, Any]:
    """How the table of scenarios is drawn."""
    column = st.column_config
    return {
        "name": column.TextColumn("Scenario", pinned=True),
        "use": column.TextColumn(
            "Use", help="A scenario advises on new datasets if it carries at least half of our meta-features."
        ),
        "metric": column.TextColumn("Metric", help="↑ higher is better, ↓ lower is better"),
        "datasets": column.NumberColumn("Datasets", format="localized"),
        "candidates": column.NumberColumn("Candidates", format="localized"),
        "results": column.NumberColumn("Results", format="localized"),
        "source": "Source",
        "owner": "By",
        "imported": column.DatetimeColumn("Imported", format="calendar"),
    }


@st.dialog("Remove a scenario")
def remove(known: pd.DataFrame) -> None:
    """Which scenario goes, once more asked."""
    name = st.selectbox("Scenario", list(known["name"]), key="removed")
    row = known.set_index("name").loc[name]
    results, datasets = (f"{row[each]:,}" for each in ("n_rows", "n_datasets"))
    st.markdown(
        words.plain(f"Its {results} results on {datasets} datasets are deleted. The file can be imported again.")
    )
    if st.button("Remove for good", type="primary", icon=":material/delete:", key="remove_now", on_click=remove_now):
        st.rerun()


def remove_now() -> None:
    """Remove the chosen scenario, and keep what to say of it."""
    try:
        knowledge.remove(st.session_state["removed"])
        actions.save_outcome("success", f"{st.session_state['removed']} is removed.")
    except MetascoutError as error:
        actions.save_outcome("error", str(error))


st.title("Import runs")
st.caption("What was tried elsewhere becomes knowledge: which candidate did how well on which dataset.")
messages.show_outcome()
imported()
add_file()
listed()
