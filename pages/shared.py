"""What the pages share: the menu, cached reads, numbers with their units, links, and the look of charts."""

from __future__ import annotations

import math
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from core import datasets
from core.errors import InputError, MetascoutError
from core.queue import jobs
from core.scoring import METRICS
from core.specs import LABELS
from core.store import database

P = ParamSpec("P")
R = TypeVar("R")

HOME, ADVICE = "pages/home.py", "pages/dataset_advice.py"
DATASETS, ADD_DATASET = "pages/datasets.py", "pages/add_dataset.py"
DATASET = "pages/dataset.py"
NEW_JOB, JOBS, JOB = "pages/new_job.py", "pages/job_list.py", "pages/job.py"
LEADERBOARD, TRIAL, COMPARE = "pages/leaderboard.py", "pages/trial.py", "pages/compare.py"
FEWSHOT_BOARD, PLAYGROUND = "pages/fewshot_board.py", "pages/playground.py"
IMPORT_RUNS, META_MODEL = "pages/import_runs.py", "pages/meta_model.py"
LOGO, ICON = (Path(__file__).with_name(name) for name in ("logo.svg", "icon.svg"))
# The Python that runs this page has what the runner needs; another one may not.
START_RUNNER = f"{os.path.relpath(sys.executable)} -m runner"
LIVE_S = 2.0
BEST_N = 500
FEW_POINTS = 3  # of a chart, whose own spread would be a poor scale

STATUSES = {
    "queued": ("gray", ":material/schedule:"),
    "running": ("blue", ":material/play_circle:"),
    "paused": ("violet", ":material/pause_circle:"),
    "succeeded": ("green", ":material/check_circle:"),
    "failed": ("red", ":material/error:"),
    "cancelled": ("orange", ":material/cancel:"),
}
STATUS_COLORS = ["#8A8F98", "#3B7DD8", "#CC79A7", "#009E73", "#D55E00", "#E69F00"]  # of a table's badges, in that order
COLORS = ["#3B7DD8", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#8A8F98"]  # Okabe and Ito
ACCENT, SECOND, FAINT = COLORS[0], COLORS[1], COLORS[-1]
NONE = "\N{EN DASH}"
ENGINES = {
    "automl": "H2O AutoML",
    "nas": "Neural architecture search",
    "portfolio": "Portfolio",
    "fewshot": "Few-shot meta-training",
    "finetune": "Few-shot fine-tuning",
}
TASKS = {"binary": "Binary classification", "multiclass": "Multiclass classification", "regression": "Regression"}


def menu() -> dict[str, list[Any]]:
    """The pages by section; those of one job, trial or dataset are reached by links only."""
    page = st.Page
    return {
        "": [
            page(HOME, title="Home", icon=":material/home:", default=True),
            page(ADVICE, title="Advice", icon=":material/lightbulb:", url_path="advice"),
        ],
        "Data": [
            page(DATASETS, title="Datasets", icon=":material/table:", url_path="datasets"),
            page(ADD_DATASET, title="Add dataset", icon=":material/upload_file:", url_path="add_dataset"),
            page(DATASET, title="Dataset", icon=":material/table:", url_path="dataset", visibility="hidden"),
        ],
        "Work": [
            page(NEW_JOB, title="New job", icon=":material/add_circle:", url_path="new_job"),
            page(JOBS, title="Jobs", icon=":material/list_alt:", url_path="jobs"),
            page(JOB, title="Job", icon=":material/deployed_code:", url_path="job", visibility="hidden"),
            page(PLAYGROUND, title="Playground", icon=":material/draw:", url_path="playground"),
        ],
        "Results": [
            page(LEADERBOARD, title="Leaderboard", icon=":material/leaderboard:", url_path="leaderboard"),
            page(FEWSHOT_BOARD, title="Few-shot", icon=":material/filter_5:", url_path="few_shot"),
            page(TRIAL, title="Trial", icon=":material/science:", url_path="trial", visibility="hidden"),
            page(COMPARE, title="Compare", icon=":material/compare_arrows:", url_path="compare", visibility="hidden"),
        ],
        "Knowledge": [
            page(META_MODEL, title="Meta-model", icon=":material/psychology:", url_path="meta_model"),
            page(IMPORT_RUNS, title="Import runs", icon=":material/database_upload:", url_path="import_runs"),
        ],
    }


# Reads


def read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """What a read of core returns; all sessions share one read until the store changes, or for two seconds."""
    name = f"{function.__module__}.{function.__qualname__}"
    return _read(name, args, tuple(sorted(kwargs.items())), _stamp(), _function=function)


@st.cache_data(ttl=LIVE_S, max_entries=200, show_spinner=False)
def _read(name: str, args: Any, kwargs: Any, stamp: Any, *, _function: Callable[..., Any]) -> Any:
    return _function(*args, **dict(kwargs))


def _stamp() -> tuple[str, int, int]:
    """Changes with every write to the store, and costs a call of stat."""
    path = database.store_path()
    try:
        stat = path.stat()
    except FileNotFoundError:  # before the first read
        return str(path), 0, 0
    return str(path), stat.st_mtime_ns, stat.st_size


@contextmanager
def sentences() -> Iterator[None]:
    """Shows a known error that is raised inside as its sentence."""
    try:
        yield
    except MetascoutError as error:
        say(error)


def say(error: MetascoutError) -> None:
    """Show the sentence of a known error."""
    st.error(plain(sentence(error)), icon=":material/error:")


def sentence(error: MetascoutError) -> str:
    """Return the sentence of a known error, with a spec's fields by the labels that forms give them."""
    return error.sentence(LABELS) if isinstance(error, InputError) else str(error)


def lost(title: str, error: InputError, page: str, label: str) -> None:
    """A page whose link leads nowhere: why, and where to go instead."""
    st.title(title)
    say(error)
    link(page, label)


def asked_id(name: str) -> int | None:
    """The id that the link carries as ?name=; None where it carries none. Raises InputError for anything else."""
    text = st.query_params.get(name)
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise InputError(f"The link asks for {name} {text!r}, which is not a number. Open it from the menu instead.")
    return int(text)


def asked_choice(key: str, options: Sequence[str], aliases: dict[str, str] | None = None) -> None:
    """Let ?key= preselect a bound selectbox by an option's other name, such as an id; says so where there is none."""
    text = st.query_params.get(key)
    if text is None or text in options or key in st.session_state:
        return
    if (chosen := (aliases or {}).get(text)) in options:
        st.session_state[key] = chosen
    else:
        st.warning(f"The link asks for {key} {plain(text)}, which there is not. Choose one below.")


def user() -> str:
    """The e-mail of who is signed in, else "local"."""
    return str(st.user.get("email") or "local") if st.user.get("is_logged_in") else "local"


def empty(text: str, page: str, label: str, **params: Any) -> None:
    """An empty state: what is missing, and the link to the next step."""
    with st.container(border=True, horizontal_alignment="center", gap="small"):
        st.markdown(f":gray[{plain(text)}]", text_alignment="center")
        link(page, label, **params)


def link(page: str, label: str, *, icon: str = ":material/arrow_forward:", **params: Any) -> None:
    """A link to a page with its query parameters."""
    st.page_link(page, label=label, icon=icon, query_params={key: str(value) for key, value in params.items()})


# What can be done with a job


def act_on_job(action: str, job_id: int, priority: int | None = None) -> int | None:
    """Do what a menu says ("Cancel", "Retry", ...; "Move": to `priority`), and keep what to say of it for `told`.

    Returns the new job's id after a retry.
    """
    made = None
    try:
        if action == "Pause":
            waits = jobs.request_pause(job_id) == "paused"
            text = "is paused." if waits else "will pause as soon as its checkpoint is written."
        elif action == "Resume":
            jobs.resume(job_id)
            text = "is queued again and goes on where it paused."
        elif action == "Cancel":
            stopped = jobs.request_cancel(job_id) == "cancelled"
            text = "is cancelled." if stopped else "will stop within seconds; what it has found so far is kept."
        elif action == "Retry":
            made = jobs.retry(job_id, user=user())
            text = f"is queued again as job {made}."
        else:
            if priority is None:
                priority = jobs.get(job_id).priority + {"Raise priority of": 1, "Lower priority of": -1}[action]
            jobs.set_priority(job_id, priority)
            text = f"has priority {priority} now."
        st.session_state["told"] = "success", f"Job {job_id} {text}"
    except MetascoutError as error:
        st.session_state["told"] = "error", sentence(error)
    return made


def clone(job_id: int, kind: str) -> None:
    """Go to the form that makes such jobs, with this one's values."""
    if kind == "finetune":
        st.switch_page(PLAYGROUND, query_params={"job": str(job_id)})
    st.switch_page(NEW_JOB, query_params={"clone": str(job_id)})


def told() -> None:
    """What the last action came to, said once."""
    kind, text = st.session_state.pop("told", (None, ""))
    if kind == "error":
        st.error(plain(text), icon=":material/error:")
    elif kind:
        st.toast(plain(text), icon=":material/check:")


# Words and numbers


def plain(text: str) -> str:
    """The text for a Markdown context, shown as it is: no formatting, links, icons, emoji codes or formulas."""
    escaped = re.sub(r"([\\`*_{}\[\]()<>#+|~$!&])", r"\\\1", text)
    # Codes such as :smile: and -> are replaced after Markdown has been parsed: an invisible joiner breaks them.
    return re.sub(r"([:\-=@])(?=\S)", "\\1\u2060", escaped)


def number(value: float | None, digits: int = 4) -> str:
    """A number with the digits that matter; a dash for none."""
    if value is None or not math.isfinite(value):
        return NONE
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 10 ** (digits + 2):
        decimals = max(0, digits - 1 - math.floor(math.log10(abs(value)))) if abs(value) >= 1 else digits
        return f"{value:,.{decimals}f}"
    return f"{value:.{digits - 1}g}"


def interval(value: float | None, lower: float | None, upper: float | None) -> str:
    """A value with its 95% interval."""
    known = lower is not None and upper is not None and math.isfinite(lower) and math.isfinite(upper)
    return f"{number(value)} ({between(lower, upper)})" if known else number(value)


def between(lower: float | None, upper: float | None) -> str:
    """The bounds of an interval."""
    return f"{number(lower)} to {number(upper)}"


def duration(seconds: float | None) -> str:
    """Seconds in the two units that matter."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    for limit, factor, unit in ((1e-3, 1e6, "µs"), (1, 1e3, "ms")):
        if 0 < seconds < limit:
            return f"{seconds * factor:.3g} {unit}"
    if seconds < 59.5:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, hours = divmod(round(seconds), 60), divmod(round(seconds / 60), 60)
    return f"{minutes[0]} min {minutes[1]} s" if seconds < 3600 else f"{hours[0]} h {hours[1]} min"


def size(n_bytes: float | None) -> str:
    """Bytes in the unit that fits."""
    if n_bytes is None or not math.isfinite(n_bytes):
        return NONE
    value, units = float(n_bytes), ["B", "kB", "MB", "GB", "TB"]
    while value >= 1000 and len(units) > 1:
        value, units = value / 1000, units[1:]
    return f"{value:.0f} {units[0]}" if units[0] == "B" else f"{value:.3g} {units[0]}"


def count(value: float) -> str:
    """A large count in the unit that fits, such as 1.23 M."""
    for limit, unit in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if value >= limit:
            return f"{value / limit:.3g}{unit}"
    return f"{value:.0f}"


def times(seconds: pd.Series) -> pd.Series:
    """Seconds since the epoch as times where the reader is."""
    stamps = pd.to_datetime(pd.to_numeric(seconds), unit="s", utc=True)
    return stamps.dt.tz_convert(st.context.timezone or "UTC").dt.tz_localize(None).dt.floor("s")


def moment(seconds: float) -> str:
    """One time where the reader is, such as 24 Nov 2026, 07:08."""
    return str(times(pd.Series([seconds]))[0].strftime("%-d %b %Y, %H:%M"))


def now() -> float:
    """Seconds since the epoch."""
    return datetime.now(UTC).timestamp()


def badge(status: str) -> None:
    """A job's state, as a word, a colour and an icon."""
    color, icon = STATUSES[status]
    st.badge(status.capitalize(), icon=icon, color=color)  # type: ignore[arg-type]


def decimals(values: pd.Series) -> str:
    """The format of a table's column of metric values."""
    largest = values.abs().max()
    return "%,.0f" if largest >= 1000 else "%.2f" if largest >= 10 else "%.4f"


def csv_safe(frame: pd.DataFrame) -> str:
    """The table as CSV in which no text starts a formula when a spreadsheet opens it."""
    frame = frame.rename(columns=_harmless).copy()
    for position, kind in enumerate(frame.dtypes):
        if not pd.api.types.is_numeric_dtype(kind) and not pd.api.types.is_bool_dtype(kind):
            frame.isetitem(position, frame.iloc[:, position].map(_harmless))
    return frame.to_csv(index=False)


def _harmless(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@", "\t", "\r") else value


# Charts


def chart(figure: go.Figure, alt: str, *, height: int = 380, key: str | None = None) -> None:
    """Draw a figure in the house's look; the theme gives its colours, light or dark."""
    figure.update_layout(
        height=height,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        colorway=COLORS,
        hoverlabel={"namelength": -1},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1, "x": 0, "title": None, "traceorder": "normal"},
    )
    figure.update_xaxes(automargin=True, title_standoff=12)
    figure.update_yaxes(automargin=True, title_standoff=12)
    st.plotly_chart(figure, key=key, alt=alt, config={"displaylogo": False, "displayModeBar": False})


def around(values: pd.Series) -> list[float] | None:
    """A range for a chart of a few values, with room above and below them; None where none is a number."""
    low, high = float(values.min()), float(values.max())
    room = max(high - low, 0.1 * max(abs(low), abs(high)), 1e-9)
    return [low - room, high + room] if math.isfinite(room) else None


def label(text: str, most: int = 40) -> str:
    """A name for a chart, where `<` would start markup; shortened."""
    short = text if len(text) <= most else text[: most - 1] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;")


def metric_label(metric: str) -> str:
    """A metric's name with its better direction."""
    return f"{METRICS[metric].label} {'↑' if METRICS[metric].higher_is_better else '↓'}"


def pick_dataset(
    known: Sequence[datasets.Dataset],
    *,
    key: str = "dataset",
    width: int | Literal["stretch"] = "stretch",
    **options: Any,
) -> datasets.Dataset | None:
    """A choice of dataset that the link keeps, by name; a link may also carry the id. None: none is chosen."""
    names = [dataset.name for dataset in known]
    asked_choice(key, names, {str(dataset.id): dataset.name for dataset in known})
    name = st.selectbox("Dataset", names, index=None, key=key, bind="query-params", width=width, **options)
    return next((dataset for dataset in known if dataset.name == name), None)
