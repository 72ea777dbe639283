"""Add dataset: a file or a built-in sample, looked at and corrected before it is registered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from core import datasets
from core.datasets import ColumnType, Dataset, Finding, Inspection, image_sets
from core.datasets.files import uploads
from core.datasets.image_sets import ImageClasses
from core.datasets.images import conversion as image_files
from core.datasets.images import image_table
from core.datasets.images.conversion import SIDES, StagedImages
from core.errors import InputError, MetascoutError
from core.scoring import Task
from pages import actions, links, words
from pages.parts import column_table, image_grid, messages


def add_sample() -> None:
    """A built-in table, registered at one click."""
    names = list(datasets.SAMPLES)
    name = st.radio("Sample", names, captions=[datasets.SAMPLES[name].about for name in names], key="sample")
    if st.button("Add sample", type="primary", icon=":material/add:", key="add_sample"):
        with messages.show_errors(), st.spinner("Adding the sample"):
            done(datasets.add_sample(name, owner=actions.user()))


def done(dataset: Dataset) -> None:
    """Go to what has been registered."""
    st.switch_page(links.DATASET, query_params={"dataset": dataset.name})


def add_file() -> None:
    """A table or a file of images, looked at before it is registered."""
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left:
        uploaded = st.file_uploader(
            "CSV, Parquet or images (ZIP, npz)", type=["csv", "tsv", "txt", "parquet", "zip", "npz"], key="upload",
            help="Up to 1 GB. The first row of a CSV file names the columns. A ZIP file has a folder for each class "
            "of images. The file stays on this machine.",
        )  # fmt: skip
    with right:
        encoding = st.selectbox("Encoding of CSV", datasets.ENCODINGS, key="encoding")
    if uploaded is None:
        return
    try:
        path = uploads.receive(uploaded)
        if holds_images(path):
            add_images(uploaded, path)
            return
        with st.spinner("Reading the file"):
            inspection = inspect(path, encoding)
    except MetascoutError as error:
        st.error(words.plain(uploads.restore_names(str(error), uploaded)), icon=":material/error:")
        return
    preview(inspection)
    types = column_types(inspection)
    with messages.show_errors():
        choices(uploaded, inspection, types)


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def holds_images(path: Path) -> bool:
    """Whether the file is one of images; an upload never changes."""
    return image_files.holds_images(path)


@st.cache_data(ttl=3600, max_entries=64, show_spinner="Reading and converting the images")
def judge(path: Path, side: int | None, drop: bool, inner: bool) -> tuple[StagedImages, ImageClasses | str]:
    """The converted images, and what they are good for, or why for nothing; converted once for all reruns."""
    staged = image_files.stage(path, side, inner)
    try:
        return staged, image_sets.analyse(staged, drop)
    except InputError as error:
        return staged, str(error)


def add_images(uploaded: Any, path: Path) -> None:
    """Images by class: examples, their size, the guard rails, and the button. Raises what reading them raises."""
    inner = inner_folders(path) if uploaded.name.casefold().endswith(".zip") else False
    left, middle, right = st.columns([1, 2, 1], vertical_alignment="bottom")
    side = left.number_input(
        "Side, pixels", *SIDES, None, 1, key=f"side_{path.name}", placeholder="As found",
        help="All images become squares of this side, each kept whole. Left empty, images of one size keep it; others "
        "take their median side, at most 64. Smaller images train faster.",
    )  # fmt: skip
    name = middle.text_input("Name of the dataset", uploads.stem(uploaded.name), max_chars=80, key=f"name_{path.name}")
    drop = right.toggle(
        "Leave out rare classes", key=f"drop_{path.name}",
        help="Classes with fewer than 3 different images cannot be in train, valid and test at once.",
    )  # fmt: skip
    staged, verdict = judge(path, side, drop, inner)
    st.caption(f"{staged.n_images:,} images of {image_grid.told(staged.shape)}")
    if isinstance(verdict, str):
        st.error(words.plain(verdict), icon=":material/block:")
    else:
        column_table.findings(verdict.findings)
    if st.button(
        "Register", type="primary", icon=":material/check:", disabled=isinstance(verdict, str), key="register"
    ):
        with st.spinner("Splitting the images"):
            dataset = datasets.register_images(
                path, name=name, side=side, drop_rare_classes=drop, inner_folders=inner, owner=actions.user(),
                source=uploaded.name,
            )  # fmt: skip
        done(dataset)
    st.subheader("Classes")
    image_grid.grid(staged.parquet, staged.shape, image_table.class_counts(staged.parquet))


def inner_folders(path: Path) -> bool:
    """Whether the classes of a ZIP are the folders within its folders."""
    levels = {"Outer": False, "Inner": True}
    chosen = st.segmented_control(
        "Class folders", list(levels), default="Outer", required=True, key=f"inner_{path.name}",
        help="**Outer**: each folder is a class, with all that lies in it. **Inner**: each folder within a folder is "
        "one, such as Greek/character03; few-shot learning then keeps the classes of an outer folder together.",
    )  # fmt: skip
    return levels[chosen]


@st.cache_data(ttl=3600, max_entries=8, show_spinner=False)
def inspect(path: Path, encoding: str) -> Inspection:
    """What the file holds; read once for all reruns."""
    return datasets.inspect(path, encoding=encoding)


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def check(
    path: Path,
    encoding: str,
    target: str,
    types: tuple[tuple[str, ColumnType], ...],
    task: Task | None,
    drop: bool,
    split: str | None,
) -> tuple[Task, tuple[Finding, ...]]:
    """The task and the findings under these choices; judged once for all reruns."""
    return datasets.check(
        inspect(path, encoding), target=target, types=dict(types), task=task, drop_rare_classes=drop, split_column=split
    )


def preview(inspection: Inspection) -> None:
    """The first rows as they stand in the file."""
    n_columns = len(inspection.columns)
    with st.expander(
        f"Preview of {inspection.n_rows:,} rows and {n_columns:,} columns", icon=":material/visibility:", expanded=True
    ):
        st.dataframe(inspection.preview, hide_index=True, height=280, alt="The first 20 rows of the file")


def column_types(inspection: Inspection) -> dict[str, ColumnType]:
    """The table of columns; returns the types that the user corrected."""
    st.subheader("Columns")
    st.caption("Correct a type where the guess is wrong. Ignored columns are not used.")
    frame = column_table.frame(inspection.columns)
    edited = st.data_editor(
        frame,
        column_config=column_table.config(editable=True),
        disabled=[name for name in frame.columns if name != "type"],
        hide_index=True,
        height="content" if len(frame) <= 12 else 460,
        key=f"columns_{inspection.path.name}_{inspection.encoding}",
        alt="Columns of the file with their types, which can be changed",
    )
    changed = edited["type"].to_numpy() != frame["type"].to_numpy()
    return dict(zip(frame["name"][changed], edited["type"][changed], strict=True))


def choices(uploaded: Any, inspection: Inspection, types: dict[str, ColumnType]) -> None:
    """Target, task and name; the guard rails; and the button."""
    st.subheader("What to predict")
    names = [column.name for column in inspection.columns]
    file = f"{inspection.path.name}_{inspection.encoding}"
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    target = left.selectbox("Target", names, index=names.index(inspection.suggested_target), key=f"target_{file}")
    drop = right.toggle(
        "Leave out rare classes", key=f"drop_{file}",
        help="Classes with fewer than 3 rows cannot be in train, valid and test at once.",
    )  # fmt: skip
    task = task_of(middle, inspection, target, types, drop, f"task_{file}_{target}")
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    split = split_of(left, inspection, f"split_{file}")
    found = guard_rails(inspection, target, types, task, drop, split, uploaded)
    name = right.text_input("Name of the dataset", uploads.stem(uploaded.name), max_chars=80, key=f"name_{file}")
    if st.button("Register", type="primary", icon=":material/check:", disabled=not found, key="register"):
        with st.spinner("Cleaning and splitting the table"):
            dataset = datasets.register(
                inspection.path, name=name, target=target, task=task, types=types, encoding=inspection.encoding,
                drop_rare_classes=drop, split_column=split, owner=actions.user(), source=uploaded.name,
            )  # fmt: skip
            uploads.discard(inspection.path)
        done(dataset)


def task_of(
    place: Any, inspection: Inspection, target: str, types: dict[str, ColumnType], drop: bool, key: str
) -> Task | None:
    """The task, inferred unless the user says otherwise."""
    try:
        inferred = check(inspection.path, inspection.encoding, target, tuple(types.items()), None, drop, None)[0]
        told = f"As inferred: {words.TASKS[inferred].lower()}"
    except MetascoutError:
        told = "As inferred"
    return place.selectbox(
        "Task", [None, *words.TASKS], format_func=lambda task: told if task is None else words.TASKS[task], key=key
    )


def split_of(place: Any, inspection: Inspection, key: str) -> str | None:
    """The column with the file's own split, where it has one and the user wants it."""
    return place.selectbox(
        "Split", [*inspection.split_columns, None], key=key, disabled=not inspection.split_columns,
        format_func=lambda name: f"As in column {name}" if name else "Made here: 60% train, 20% valid, 20% test",
        help="A column with the words train and test (and perhaps valid) is a split that others compare with.",
    )  # fmt: skip


def guard_rails(
    inspection: Inspection, target: str, types: dict[str, ColumnType], task: Task | None, drop: bool,
    split: str | None, uploaded: Any,
) -> bool:  # fmt: skip
    """What looks wrong under these choices; whether the table can be registered."""
    try:
        findings = check(inspection.path, inspection.encoding, target, tuple(types.items()), task, drop, split)[1]
    except MetascoutError as error:
        st.error(words.plain(uploads.restore_names(str(error), uploaded)), icon=":material/block:")
        return False
    column_table.findings(findings)
    return True


st.title("Add dataset")
st.caption("A dataset is cleaned and split once into train, valid and test rows; every job on it uses this split.")
FILE, SAMPLE = "A file", "A built-in sample"
way = st.segmented_control("From", [FILE, SAMPLE], default=FILE, required=True, key="way", bind="query-params")
if way == FILE:
    add_file()
else:
    add_sample()
