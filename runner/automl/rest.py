"""H2O's REST interface: plain JSON, and a check of the process that answers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import requests

from core.errors import MetascoutError
from runner.automl.jvm import USER, Jvm, Stopped

_POLL_S = 0.05
_PING_S = 5.0  # H2O counts no other request as a sign that its client is alive
_REQUEST_LIMIT_S = 60.0  # without a byte; a dead process is noticed at once


class Rest:
    """A session with one H2O process. The h2o package's own client waits 91 s for a process that has died."""

    def __init__(self, jvm: Jvm, url: str, stop: Callable[[], bool] = lambda: False) -> None:
        self.jvm, self._url, self._stop = jvm, url, stop
        self._pinged_at = -_PING_S
        self._session = requests.Session()
        self._session.auth = (USER, jvm.password)
        self._session.trust_env = False  # no proxy and no .netrc between this process and its own child

    def get(self, path: str, /, **params: Any) -> dict[str, Any]:
        """Return the answer to GET. Raises MetascoutError with H2O's message, or how the process ended."""
        return cast(dict[str, Any], self._ask("GET", path, params=params).json())

    def post(self, path: str, /, *, body: dict[str, Any] | None = None, **form: Any) -> dict[str, Any]:
        """Return the answer to POST of a JSON body or of a form."""
        answer = self._ask("POST", path, json=body) if body else self._ask("POST", path, data=form)
        return cast(dict[str, Any], answer.json())

    def delete(self, path: str) -> None:
        """Delete a key."""
        self._ask("DELETE", path)

    def download(self, path: str, to: Path, /, **params: Any) -> Path:
        """Write the answer to a file, which appears once it is complete."""
        part = to.with_name(f"{to.name}.part")
        with self._ask("GET", path, params=params, stream=True) as answer, part.open("wb") as file:
            for block in answer.iter_content(2**20):
                file.write(block)
        return part.rename(to)

    def text(self, path: str, /, **params: Any) -> str:
        """Return the answer to GET as text."""
        answer = self._ask("GET", path, params=params)
        answer.encoding = "utf-8"
        return answer.text

    def wait(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the H2O job once it is done; raise MetascoutError where it failed, and Stopped once `stop()`."""
        while job["status"] in ("CREATED", "RUNNING"):
            if self._stop():
                self.cancel(job)
                raise Stopped
            time.sleep(_POLL_S)
            job = self.job(job)
        if job["status"] == "FAILED":
            raise MetascoutError(f"H2O: {_first_line(job.get('exception') or job.get('stacktrace'))}")
        return job

    def job(self, job: dict[str, Any]) -> dict[str, Any]:
        """Return the H2O job as it is now."""
        return cast(dict[str, Any], self.get(f"/3/Jobs/{key(job)}")["jobs"][0])

    def cancel(self, job: dict[str, Any]) -> None:
        """Ask an H2O job to stop; finished models stay."""
        self.post(f"/3/Jobs/{key(job)}/cancel")

    def _ask(self, method: str, path: str, **options: Any) -> requests.Response:
        if time.monotonic() - self._pinged_at > _PING_S:
            self._pinged_at = time.monotonic()
            self._ask("GET", "/3/Ping")
        self.jvm.check()
        url = f"{self._url}{quote(path, safe='/$')}"
        try:
            answer = self._session.request(method, url, timeout=_REQUEST_LIMIT_S, **options)
        except requests.Timeout:
            raise MetascoutError(
                f"H2O did not answer for {_REQUEST_LIMIT_S:.0f} s: it may be short of memory. Give it more."
            ) from None
        except requests.RequestException as error:
            self._wait_for_end()
            raise MetascoutError(f"The connection to H2O broke: {error}.") from None
        if answer.status_code >= 400:
            raise MetascoutError(f"H2O: {_reason(answer)}")
        return answer

    def _wait_for_end(self) -> None:
        """Give a process that broke the connection time to end: its exit code is the better error."""
        for _ in range(50):
            self.jvm.check()
            time.sleep(0.05)


def key(item: dict[str, Any]) -> str:
    """Return the name of a job, a model or a frame in H2O's JSON."""
    return cast(str, item["key"]["name"])


def table_rows(table: dict[str, Any] | None) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table in H2O's JSON, which comes by columns."""
    if table is not None:
        names = [column["name"] for column in table["columns"]]
        for values in zip(*table["data"], strict=True):
            yield dict(zip(names, values, strict=True))


def _reason(answer: requests.Response) -> str:
    try:
        return _first_line(answer.json()["msg"])
    except (ValueError, KeyError):
        return f"{answer.request.method} {answer.request.path_url} gave status {answer.status_code}"


def _first_line(text: str | None) -> str:
    lines = [line.strip() for line in (text or "").splitlines() if line.strip() not in ("", "ERROR MESSAGE:")]
    return lines[0] if lines else "an error without a message"
