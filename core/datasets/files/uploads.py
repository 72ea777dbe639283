"""Uploads: files from the browser, streamed to disk as they arrive.

Streamlit holds an uploaded file in memory. This middleware stands before its upload route: once Streamlit has checked
the request and reads the body, the file goes to disk, and Streamlit gets a short signed reference instead.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from anyio import to_thread
from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException

from core.errors import InputError
from core.store import database, housekeeping

MAX_BYTES = 2**30
_OVERHEAD_BYTES = 2**20  # the multipart frame around the file
_ROUTE = re.compile(r"/_stcore/upload_file/([^/]+)/([^/]+)$")
_PREFIX = b"metascout-upload:"
_SECRET = secrets.token_bytes(32)  # of this process: references expire when it ends

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Upload(Protocol):
    """What Streamlit's uploader returns: the name of the user's file, and bytes."""

    name: str

    def getvalue(self) -> bytes:
        """Return the whole content."""


def receive(upload: Upload) -> Path:
    """Return the file on disk of an upload; an upload that came without the middleware is written there.

    Raises InputError when the file no longer exists, or is larger than 1 GB.
    """
    content = upload.getvalue()
    if content.startswith(_PREFIX):
        name = _name_in(content)
        if name is None or not (folder() / name).exists():
            raise InputError(f"The upload of {upload.name} has expired.", remedy="Choose the file again.")
        return folder() / name
    if len(content) > MAX_BYTES:
        text = f"{upload.name} has {len(content):,} bytes; at most {MAX_BYTES:,} are allowed."
        raise InputError(text, remedy="Choose a smaller file.")
    path = folder() / hashlib.sha256(content).hexdigest()[:32]
    if not path.exists():
        part = path.with_suffix(f".{secrets.token_hex(4)}.part")
        try:
            with database.explain_disk_full():
                part.write_bytes(content)
                part.replace(path)
        finally:
            part.unlink(missing_ok=True)
    return path


def discard(path: Path) -> None:
    """Delete an upload that has been registered; a file elsewhere stays."""
    if path.parent == folder():
        path.unlink(missing_ok=True)


def restore_names(sentence: str, *uploads: Upload) -> str:
    """Return the sentence with the names of the user's files instead of their names on disk."""
    for upload in uploads:
        sentence = sentence.replace(receive(upload).name, upload.name)
    return sentence


def stem(name: str) -> str:
    """Return a first proposal for the name of a dataset, from the name of its file."""
    return re.sub(r"[^\w .\-]+", "_", re.sub(r"\.\w{1,7}$", "", name)).strip("_ .")[:80] or "table"


def folder() -> Path:
    """Return the folder of the uploads; they stay there until they are registered or a day old."""
    path = database.home() / "uploads"
    path.mkdir(parents=True, exist_ok=True)
    return path


def _sign(name: str) -> bytes:
    return hmac.new(_SECRET, name.encode(), "sha256").hexdigest().encode()


def _reference(name: str) -> bytes:
    return _PREFIX + name.encode() + b":" + _sign(name)


def _name_in(reference: bytes) -> str | None:
    """Return the file's name in the folder, or None where the signature is wrong."""
    name, _, signature = reference.removeprefix(_PREFIX).partition(b":")
    text = name.decode("ascii", "replace")
    return text if hmac.compare_digest(signature, _sign(text)) else None


class UploadsToDisk:
    """ASGI middleware, as the module describes it. The limits are checked while the body streams in."""

    def __init__(self, app: Callable[..., Awaitable[None]], max_bytes: int = MAX_BYTES) -> None:
        self.app = app
        self.max_bytes = max_bytes

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Pass requests on; replace the body of an upload by a reference, and delete the file of a deleted upload."""
        route = _ROUTE.search(scope.get("path", "")) if scope["type"] == "http" else None
        if route is None or scope["method"] not in ("PUT", "DELETE"):
            await self.app(scope, receive, send)
            return
        path = folder() / hmac.new(_SECRET, "/".join(route.groups()).encode(), "sha256").hexdigest()[:32]
        status = 500

        async def note_status(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        body = _Body(scope, receive, path, self.max_bytes)
        try:
            await self.app(scope, body.receive, note_status)
        finally:
            body.close()
            # A request that is refused before its body must not delete an accepted file.
            refused = body.opened and status >= 400
            deleted = scope["method"] == "DELETE" and status < 400
            if refused or deleted:
                path.unlink(missing_ok=True)


class _Body:
    """The request's body: streamed to `path` at the first read, which returns a reference to it."""

    def __init__(self, scope: Message, receive: Receive, path: Path, max_bytes: int) -> None:
        self._scope, self._receive, self._path, self._max_bytes = scope, receive, path, max_bytes
        self._is_read = self._is_complete = self.opened = False
        self._file: BinaryIO | None = None
        self._head: list[bytes] = []  # the part's header lines, unchanged
        self._line = bytearray()  # the header line that is being read
        self._parts = self._written = 0

    async def receive(self) -> Message:
        if self._is_read or self._scope["method"] != "PUT":
            return await self._receive()
        self._is_read = True
        boundary = self._boundary()
        await to_thread.run_sync(housekeeping.sweep)
        await self._store(boundary)
        lines = [b"--" + boundary, *self._head, b"", _reference(self._path.name), b"--" + boundary + b"--", b""]
        return {"type": "http.request", "body": b"\r\n".join(lines), "more_body": False}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _boundary(self) -> bytes:
        kind, options = parse_options_header(dict(self._scope["headers"]).get(b"content-type", b""))
        boundary = options.get(b"boundary")
        if kind != b"multipart/form-data" or not boundary:
            raise HTTPException(400, "An upload must be sent as multipart/form-data.")
        return boundary

    async def _store(self, boundary: bytes) -> None:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": lambda data, start, end: self._line.extend(data[start:end]),
                "on_header_value": self._header_value,
                "on_header_end": self._header_end,
                "on_part_data": self._write,
                "on_end": self._end,
            },
        )
        try:
            async for chunk in self._chunks():
                await to_thread.run_sync(parser.write, chunk)
            self.close()
        except FormParserError:
            self._is_complete = False
        except OSError as error:
            raise HTTPException(507, f"The upload cannot be stored: {error.strerror}.") from error
        if not self._is_complete:
            raise HTTPException(400, "The upload is not complete multipart data.")

    async def _chunks(self) -> AsyncIterator[bytes]:
        total, more = 0, True
        while more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise HTTPException(400, "The upload was interrupted.")
            chunk, more = message.get("body", b""), message.get("more_body", False)
            total += len(chunk)
            if total > self._max_bytes + _OVERHEAD_BYTES:
                raise HTTPException(413, "File too large")
            yield chunk

    def _begin(self) -> None:
        self._parts += 1
        if self._parts > 1:
            raise HTTPException(400, "Upload one file at a time.")
        self._file = self._path.open("wb")
        self.opened = True

    def _end(self) -> None:
        self._is_complete = True

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        if b": " not in self._line:  # a value may come in pieces
            self._line.extend(b": ")
        self._line.extend(data[start:end])

    def _header_end(self) -> None:
        self._head.append(bytes(self._line))
        self._line.clear()

    def _write(self, data: bytes, start: int, end: int) -> None:
        self._written += end - start
        if self._written > self._max_bytes:
            raise HTTPException(413, "File too large")
        if self._file is not None:
            self._file.write(memoryview(data)[start:end])
