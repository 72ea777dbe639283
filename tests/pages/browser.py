"""A real dashboard, a real runner and a real Chromium, for tests and benchmarks."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Playwright

ROOT = Path(__file__).parents[2]
_QUIET = ("--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-sync", "--disable-component-update")


def chromium(playwright: Playwright) -> Browser:
    """The machine's Chromium, headless, asking nobody for anything."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next((found for name in names if (found := shutil.which(name))), None)
    assert path is not None, "no Chromium on this machine: `make browser` installs it"
    return playwright.chromium.launch(executable_path=path, args=[*_QUIET, "--disable-background-networking"])


def free_port() -> int:
    """A port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def dashboard() -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """The dashboard on a free port: its process and its address, once it answers."""
    address = f"http://127.0.0.1:{free_port()}"
    command = ["-m", "streamlit", "run", "app.py", "--server.port", address.rpartition(":")[2]]
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, stdout=subprocess.DEVNULL, env=os.environ)
    try:
        until = time.monotonic() + 60
        while not _answers(address):
            assert process.poll() is None, "the dashboard ended"
            assert time.monotonic() < until, "the dashboard does not answer"
            time.sleep(0.05)
        yield process, address
    finally:
        process.terminate()
        process.wait()


def _answers(address: str) -> bool:
    try:
        urllib.request.urlopen(f"{address}/api/health", timeout=1).read()
    except OSError:
        return False
    return True


@contextmanager
def runner() -> Iterator[subprocess.Popen[bytes]]:
    """The runner, as a user starts it."""
    process = subprocess.Popen([sys.executable, "-m", "runner"], cwd=ROOT, env=os.environ)
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(timeout=60)
