"""Add dataset: upload a file or take a built-in sample, check it, and register it."""

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
    """Draw the choice of a built-in dataset, and register it."""
    names = list(datasets.SAMPLES)
    name = st.radio("Sample", names, captions=[datasets.SAMPLES[name].about for name in names], key="sample")
    if st.button("Add sample", type="primary", icon=":material/add:", key="add_sample"):
        with messages.show_errors(), st.spinner("Adding the sample"):
            open_dataset(datasets.add_sample(name, owner=actions.user()))


def open_dataset(dataset: Dataset) -> None:
    """Go to the page of a dataset."""
    st.switch_page(links.DATASET, query_params={"dataset": dataset.name})


def add_file() -> None:
    """Draw the upload of a table or of images, and what it holds."""
    left, right = st.columns([3, 1], vertical_alignment="top")
    with left:
        uploaded = st.file_uploader(
            "CSV, Parquet or images (ZIP, npz)", type=["csv", "tsv", "txt", "parquet", "zip", "npz"], key="upload",
            help="Up to 1 GB. The first row of a CSV file names the columns. A ZIP file has one folder of images for"
            " each class. The file stays on this machine.",
        )  # fmt: skip
    with right:
        encoding = st.selectbox("CSV encoding", datasets.ENCODINGS, key="encoding")
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
        add_table(uploaded, inspection, types)


@st.cache_data(ttl=3600, max_entries=64, show_spinner=False)
def holds_images(path: Path) -> bool:
    """Return whether the file is one of images; an upload never changes."""
    return image_files.holds_images(path)


@st.cache_data(ttl=3600, max_entries=64, show_spinner="Reading and converting the images")
def analyse(path: Path, side: int | None, drop: bool, inner: bool) -> tuple[StagedImages, ImageClasses | str]:
    """Return the converted images, and their classes or why they cannot be used; converted once for all reruns."""
    staged = image_files.stage(path, side, inner)
    try:
        return staged, image_sets.analyse(staged, drop)
    except InputError as error:
        return staged, str(error)


def add_images(uploaded: Any, path: Path) -> None:
    """Draw the settings of a set of images, its warnings, the button and examples. Raises what reading it raises."""
    inner = inner_folders(path) if uploaded.name.casefold().endswith(".zip") else False
    left, middle, right = st.columns([1, 2, 1], vertical_alignment="bottom")
    side = left.number_input(
        "Side, pixels", *SIDES, None, 1, key=f"side_{path.name}", placeholder="Automatic",
        help="All images become squares of this side; nothing is cut off. Empty: images of equal size keep it, others"
        " take their median side, at most 64. Smaller images train faster.",
    )  # fmt: skip
    name = middle.text_input("Name", uploads.stem(uploaded.name), max_chars=80, key=f"name_{path.name}")
    drop = drop_rare_classes(right, path.name, "different images")
    staged, classes = analyse(path, side, drop, inner)
    st.caption(f"{staged.n_images:,} images of {image_grid.size(staged.shape)}")
    usable = not isinstance(classes, str)
    if isinstance(classes, str):
        st.error(words.plain(classes), icon=":material/block:")
    else:
        column_table.findings(classes.findings)
    if st.button("Register", type="primary", icon=":material/check:", disabled=not usable, key="register"):
        with st.spinner("Splitting the images"):
            dataset = datasets.register_images(
                path, name=name, side=side, drop_rare_classes=drop, inner_folders=inner, owner=actions.user(),
                source=uploaded.name,
            )  # fmt: skip
        open_dataset(dataset)
    st.subheader("Classes")
    image_grid.grid(staged.parquet, staged.shape, image_table.class_counts(staged.parquet))


def drop_rare_classes(place: Any, file: str, unit: str) -> bool:
    """Draw whether to leave out classes that are too rare to be split."""
    return place.toggle(
        "Leave out rare classes", key=f"drop_{file}",
        help=f"Classes with fewer than 3 {unit} cannot be in the training, validation and test sets at once.",
    )  # fmt: skip


def inner_folders(path: Path) -> bool:
    """Draw which folders of a ZIP are the classes; returns whether they are those within its folders."""
    levels = {"Outer": False, "Inner": True}
    level = st.segmented_control(
        "Class folders", list(levels), default="Outer", required=True, key=f"inner_{path.name}",
        help="**Outer**: each folder is a class, including its subfolders. **Inner**: each subfolder is a class, such"
        " as Greek/character03; few-shot learning then keeps the classes of an outer folder together.",
    )  # fmt: skip
    return levels[level]


@st.cache_data(ttl=3600, max_entries=8, show_spinner=False)
def inspect(path: Path, encoding: str) -> Inspection:
    """Return what the file holds; read once for all reruns."""
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
    """Return the task and the findings under these choices; checked once for all reruns."""
    return datasets.check(
        inspect(path, encoding), target=target, types=dict(types), task=task, drop_rare_classes=drop, split_column=split
    )


def preview(inspection: Inspection) -> None:
    """Draw the first rows as they are in the file."""
    n_columns = len(inspection.columns)
    with st.expander(
        f"Preview of {inspection.n_rows:,} rows and {n_columns:,} columns", icon=":material/visibility:", expanded=True
    ):
        st.dataframe(inspection.preview, hide_index=True, height=280, alt="The first 20 rows of the file")


def column_types(inspection: Inspection) -> dict[str, ColumnType]:
    """Draw the table of columns; returns the types that the user corrected."""
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
        alt="Columns of the file; their types can be changed",
    )
    changed = edited["type"].to_numpy() != frame["type"].to_numpy()
    return dict(zip(frame["name"][changed], edited["type"][changed], strict=True))


def add_table(uploaded: Any, inspection: Inspection, types: dict[str, ColumnType]) -> None:
    """Draw the target, the task, the split, the name, the warnings and the button."""
    st.subheader("Target")
    names = [column.name for column in inspection.columns]
    file = f"{inspection.path.name}_{inspection.encoding}"
    left, middle, right = st.columns(3, vertical_alignment="bottom")
    target = left.selectbox("Target", names, index=names.index(inspection.suggested_target), key=f"target_{file}")
    drop = drop_rare_classes(right, file, "rows")
    task = task_of(middle, inspection, target, types, drop, f"task_{file}_{target}")
    left, right = st.columns([1, 2], vertical_alignment="bottom")
    split = split_of(left, inspection, f"split_{file}")
    usable = show_findings(inspection, target, types, task, drop, split, uploaded)
    name = right.text_input("Name", uploads.stem(uploaded.name), max_chars=80, key=f"name_{file}")
    if st.button("Register", type="primary", icon=":material/check:", disabled=not usable, key="register"):
        with st.spinner("Cleaning and splitting the table"):
            dataset = datasets.register(
                inspection.path, name=name, target=target, task=task, types=types, encoding=inspection.encoding,
                drop_rare_classes=drop, split_column=split, owner=actions.user(), source=uploaded.name,
            )  # fmt: skip
            uploads.discard(inspection.path)
        open_dataset(dataset)


def task_of(
    place: Any, inspection: Inspection, target: str, types: dict[str, ColumnType], drop: bool, key: str
) -> Task | None:
    """Draw the choice of task; None leaves it to the values of the target."""
    try:
        inferred = check(inspection.path, inspection.encoding, target, tuple(types.items()), None, drop, None)[0]
        automatic = f"Automatic: {words.TASKS[inferred].lower()}"
    except MetascoutError:
        automatic = "Automatic"
    return place.selectbox(
        "Task", [None, *words.TASKS], format_func=lambda task: words.TASKS[task] if task else automatic, key=key
    )


def split_of(place: Any, inspection: Inspection, key: str) -> str | None:
    """Draw the choice of split: one of the file's own, by its column, or None for a new one."""
    return place.selectbox(
        "Split", [*inspection.split_columns, None], key=key, disabled=not inspection.split_columns,
        format_func=lambda name: f"From column {name}" if name else "New: 60% train, 20% validation, 20% test",
        help="A column with the values train and test (and optionally valid) holds a published split, which makes"
        " results comparable with others.",
    )  # fmt: skip


def show_findings(
    inspection: Inspection, target: str, types: dict[str, ColumnType], task: Task | None, drop: bool,
    split: str | None, uploaded: Any,
) -> bool:  # fmt: skip
    """Draw what looks wrong under these choices; returns whether the table can be registered."""
    try:
        findings = check(inspection.path, inspection.encoding, target, tuple(types.items()), task, drop, split)[1]
    except MetascoutError as error:
        st.error(words.plain(uploads.restore_names(str(error), uploaded)), icon=":material/block:")
        return False
    column_table.findings(findings)
    return True


st.title("Add dataset")
st.caption("A dataset is split once into training, validation and test sets, which every job on it uses.")
FILE, SAMPLE = "A file", "A built-in sample"
source = st.segmented_control("Source", [FILE, SAMPLE], default=FILE, required=True, key="way", bind="query-params")
if source == FILE:
    add_file()
else:
    add_sample()
