"""The time from `make run` in a clean clone to the first answer of the dashboard, with a warm package cache."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.pages.browser import ROOT, free_port

_LIMIT_S = 900


def figures() -> Iterator[tuple[str, str]]:
    """Measure and yield the figures of this part."""
    with tempfile.TemporaryDirectory(prefix="metascout-start-") as folder:
        clone = Path(folder) / "clone"
        subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
        first, second = (_seconds_until_it_answers(clone) for _ in range(2))
        yield "make run in a clean clone until the dashboard answers", f"{first:.0f} s"
        yield "make run again", f"{second:.1f} s"


def _seconds_until_it_answers(clone: Path) -> float:
    port = str(free_port())
    environment = {**os.environ, "METASCOUT_HOME": str(clone.parent / "home"), "STREAMLIT_SERVER_PORT": port}
    begin = time.monotonic()
    process = subprocess.Popen(
        ["make", "run"], cwd=clone, env=environment, stdout=subprocess.DEVNULL, start_new_session=True
    )
    try:
        while time.monotonic() < begin + _LIMIT_S:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).read()
                return time.monotonic() - begin
            except OSError:
                time.sleep(0.1)
        raise RuntimeError(f"the dashboard did not answer within {_LIMIT_S} s")
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
