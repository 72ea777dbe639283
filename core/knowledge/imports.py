"""Imports: a team's own past runs, as an ASlib scenario, a tidy table or MLflow's runs."""

from __future__ import annotations

import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from core.datasets.files import scratch
from core.errors import InputError
from core.knowledge import recognition, scenarios, tidying
from core.knowledge.recognition import Format, Reading
from core.knowledge.scenarios import Scenario
from core.knowledge.sources import Roles
from core.knowledge.tidying import TidyFiles
from core.store import database

_NAME = re.compile(r"[\w .\-]{1,80}")


@dataclass(frozen=True, slots=True, eq=False)
class Inspection:
    """What a file was recognised as, before it is imported; `notes` are sentences.

    A question is what must be answered or corrected first. While there is one nothing is counted, and `import_` refuses
    the file with the first of them.
    """

    format: Format
    name: str  # proposed
    columns: tuple[str, ...]  # of the file, to choose from
    roles: Roles
    metrics: tuple[str, ...]  # to choose from
    metric: str | None
    higher_is_better: bool | None
    n_datasets: int
    n_candidates: int
    n_rows: int  # pairs of a dataset and a candidate
    n_read: int  # rows of the file
    features: tuple[str, ...]
    preview: pd.DataFrame  # the first rows as `tidying.preview` returns them; empty while there are questions
    notes: tuple[str, ...]
    questions: tuple[InputError, ...]


def inspect(path: Path, reading: Reading | None = None) -> Inspection:
    """Return what the file is and what would be imported.

    Raises InputError if it cannot be read, or the reading names something that it does not have.
    """
    with _work() as work:
        draft = recognition.recognise(Path(path), reading or Reading(), work)
        source, questions = draft.source, draft.questions
        files, preview = TidyFiles(work, work, 0, 0, 0, (), ()), pd.DataFrame()
        if not questions:
            try:
                files = tidying.tidy(source, work)
                preview = tidying.preview(files)
            except InputError as error:
                questions = (error,)
    return Inspection(
        draft.format, draft.name, source.runs.names, source.roles, draft.metrics, source.metric,
        source.higher_is_better, files.n_datasets, files.n_candidates, files.n_rows, source.runs.n_rows, files.names,
        preview, (*draft.notes, *files.notes), questions,
    )  # fmt: skip


def import_(
    path: Path,
    reading: Reading | None = None,
    *,
    name: str | None = None,
    owner: str = "local",
    source: str | None = None,
) -> tuple[Scenario, tuple[str, ...]]:
    """Import the file into the store as a scenario; returns it with notes on what was left out or averaged.

    The file is read and checked before the store is locked; `source` is the file's own name if it is stored under
    another. Raises InputError, and saves nothing, if it cannot be used, a question is open, or the name is taken.
    """
    with _work() as work:
        draft = recognition.recognise(Path(path), reading or Reading(), work)
        if draft.questions:
            raise draft.questions[0]
        chosen = check_name(draft.name if name is None else name)
        files = tidying.tidy(draft.source, work)
        scenario = Scenario(
            chosen, str(draft.source.metric), bool(draft.source.higher_is_better), source or Path(path).name, owner,
            time.time(), files.n_datasets, files.n_candidates, files.n_rows,
        )  # fmt: skip
        scenarios.add(scenario, files.errors, files.features)
    return scenario, (*draft.notes, *files.notes)


@contextmanager
def _work() -> Iterator[Path]:
    """Yield a folder for temporary files, which is deleted at the end."""
    folder = Path(tempfile.mkdtemp(prefix="import-", dir=scratch.folder()))
    try:
        with database.explain_disk_full():
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_name(name: str) -> str:
    """Return the name of a new scenario, stripped. Raises InputError if it cannot be used, or is taken."""
    name = name.strip()
    if not _NAME.fullmatch(name):
        raise InputError(
            f"The name {name!r} cannot be used.", field="name", value=name,
            remedy="Use 1 to 80 letters, digits, spaces, _, - and dots.",
        )  # fmt: skip
    scenarios.check_free(name)
    return name
