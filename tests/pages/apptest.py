"""A session of the dashboard without a browser: open a page by its link, and read what it shows."""

from __future__ import annotations

import base64
import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from streamlit.components.v2.component_manager import BidiComponentManager
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from pages import links

APP = Path(__file__).parents[2] / "app.py"


@cache
def _components() -> BidiComponentManager:
    """The installed components, which a session of its own would look for among all packages, for 0.1 s."""
    manager = BidiComponentManager()
    manager.discover_and_register_components(start_file_watching=False)
    return manager


def opened(page: str, **params: str) -> AppTest:
    """A session that a link to a page has opened, by the name of the page's script."""
    at = AppTest.from_file(str(APP), default_timeout=30)
    at._bidi_component_manager = _components()
    # As a browser does that follows a link; `AppTest.switch_page` needs a run of the first page before.
    at._page_hash = calc_hash(links.ENTRIES[f"pages/{page}.py"].url_path or "")
    for key, value in params.items():
        at.query_params[key] = value
    return at.run()


def fine(at: AppTest) -> AppTest:
    """The session, which shows neither an exception nor an error."""
    assert [item.value for item in at.exception] == []
    assert [item.value for item in at.error] == []
    return at


def shown(text: str) -> str:
    """What a reader sees of escaped text."""
    return re.sub(r"\\(.)", r"\1", text).replace("\u2060", "")


def table(at: AppTest) -> pd.DataFrame:
    """The data of the page's table."""
    return at.dataframe[0].value


def upload(at: AppTest, name: str, content: bytes) -> AppTest:
    """Choose a file on the page that adds datasets."""
    at.file_uploader(key="upload").upload(name, content)
    return at.run()


def figure(at: AppTest, key: str) -> dict[str, Any]:
    """The chart of that key."""
    [chart] = [item for item in at.get("plotly_chart") if key in item.proto.id]
    return json.loads(chart.proto.spec)


def values(axis: Any) -> Any:
    """The numbers of a chart's axis or cells, which Plotly may send as bytes."""
    if not isinstance(axis, dict):
        return list(axis)
    flat = np.frombuffer(base64.b64decode(axis["bdata"]), dtype=axis["dtype"])
    return flat.reshape([int(n) for n in str(axis.get("shape", len(flat))).split(",")]).tolist()


def engine(at: AppTest) -> Any:
    """The engine that the page shows as chosen."""
    return at.get_by_key("engine").value
