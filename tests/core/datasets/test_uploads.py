"""Uploads: streamed to disk within the limits, replaced by a reference that nobody can forge."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.exceptions import HTTPException
from starlette.middleware.exceptions import ExceptionMiddleware
from starlette.requests import Request
from starlette.responses import Response

from core.datasets.files import uploads
from core.errors import InputError


async def _streamlit(scope: Any, receive: Any, send: Any) -> None:
    """Stand-in for Streamlit: refuses a request without a token before it reads; saves the one part of the form."""
    request = Request(scope, receive)
    if request.headers.get("x-xsrftoken") != "good":
        await Response("no token", 403)(scope, receive, send)
        return
    if request.method == "DELETE":
        await Response(status_code=204)(scope, receive, send)
        return
    form = await request.form()
    (part,) = form.values()
    parts.append((part.filename, await part.read()))  # type: ignore[union-attr]
    await Response(status_code=204)(scope, receive, send)


parts: list[tuple[str, bytes]] = []


async def _handled(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return Response(error.detail, error.status_code)


def send(
    method: str, body: Iterator[bytes], *, boundary: str = "xyz", token: str = "good", max_bytes: int = 10_000
) -> int:
    """Send a request through the middleware in pieces; return the status of the answer."""
    headers = [
        (b"content-type", f"multipart/form-data; boundary={boundary}".encode()),
        (b"x-xsrftoken", token.encode()),
    ]
    scope = {
        "type": "http", "method": method, "path": "/base/_stcore/upload_file/session/file", "headers": headers,
        "query_string": b"", "http_version": "1.1", "asgi": {"version": "3.0"},
    }  # fmt: skip
    messages: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        piece = next(body, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def save(message: Any) -> None:
        messages.append(message)

    inner = ExceptionMiddleware(_streamlit, handlers={HTTPException: _handled})
    asyncio.run(uploads.UploadsToDisk(inner, max_bytes)(scope, receive, save))
    return int(messages[0]["status"])


def multipart(content: bytes, name: str = "../a b.csv", piece: int = 7) -> Iterator[bytes]:
    """A browser's upload, cut into small pieces."""
    head = f'--xyz\r\nContent-Disposition: form-data; name="f"; filename="{name}"\r\nContent-Type: text/csv\r\n\r\n'
    body = head.encode() + content + b"\r\n--xyz--\r\n"
    return iter([body[i : i + piece] for i in range(0, len(body), piece)])


@dataclass
class FakeUpload:
    """An upload as Streamlit passes it to the page."""

    name: str
    content: bytes

    def getvalue(self) -> bytes:
        return self.content


@pytest.fixture(autouse=True)
def no_parts() -> None:
    parts.clear()


def test_an_upload_goes_to_disk_and_streamlit_gets_a_reference(home: Path) -> None:
    content = bytes(range(256)) * 30 + b"\r\n--xy"
    assert send("PUT", multipart(content)) == 204
    ((name, reference),) = parts
    assert name == "../a b.csv"
    assert len(reference) < 200
    path = uploads.receive(FakeUpload(name, reference))
    assert path.read_bytes() == content
    assert path.parent == home / "uploads"
    assert send("DELETE", iter([])) == 204
    assert not path.exists()
    with pytest.raises(InputError, match="Choose the file again"):
        uploads.receive(FakeUpload(name, reference))


def test_a_refused_or_too_large_or_broken_upload_leaves_nothing_behind(home: Path) -> None:
    assert send("PUT", multipart(b"x" * 100), token="bad") == 403
    assert send("PUT", multipart(b"x" * 10_001)) == 413
    assert send("PUT", multipart(b"x" * 100), boundary="other") == 400
    assert send("PUT", iter(list(multipart(b"x" * 100))[:-2])) == 400
    two = b"".join(multipart(b"one")).removesuffix(b"--\r\n") + b"\r\n" + b"".join(multipart(b"two"))
    assert send("PUT", iter([two])) == 400
    assert list(uploads.folder().iterdir()) == []
    assert parts == []


def test_a_refused_request_does_not_delete_the_accepted_file(home: Path) -> None:
    assert send("PUT", multipart(b"good")) == 204
    assert send("PUT", multipart(b"evil"), token="bad") == 403
    ((name, reference),) = parts
    assert uploads.receive(FakeUpload(name, reference)).read_bytes() == b"good"


@pytest.mark.parametrize(
    "content", [b"metascout-upload:../../etc/passwd:00", b"metascout-upload:", b"metascout-upload:a:b"]
)
def test_a_forged_reference_opens_no_file(home: Path, content: bytes) -> None:
    with pytest.raises(InputError, match="expired"):
        uploads.receive(FakeUpload("x.csv", content))
