"""The store: the only module that opens the database.

DuckDB allows one writing process or several reading ones, and processes that open the file in turn lose rows. So each
process has one in-memory instance. For each transaction it takes a file lock (shared to read, exclusive to write),
attaches the file, works, and detaches it.
"""

from __future__ import annotations

import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import IO, Any

import duckdb
import portalocker

from core.errors import MetascoutError, StoreBusyError
from core.store.migrations import MIGRATIONS

DEADLINE_S = 20.0
_POLL_S = 0.002
_BUSY_POLL_S = 0.05
# One thread: the queries are small, and waking a second thread costs more than it saves.
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {"threads": 1, "memory_limit": "1GB"}

_thread_lock = threading.Lock()  # one transaction at a time in this process; each takes milliseconds
_holder: int | None = None  # the thread inside a transaction
_connections: tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection] | None = None  # see _attach
_current: set[Path] = set()  # stores whose tables are of this version


def home() -> Path:
    """Return the data directory: METASCOUT_HOME, by default ./metascout-data. Creates it if missing."""
    return _create(os.environ.get("METASCOUT_HOME", "metascout-data"))


@cache  # called in each transaction
def _create(text: str) -> Path:
    path = Path(text).expanduser().resolve()
    if any(part.startswith(".") for part in path.parts):
        raise MetascoutError(f"METASCOUT_HOME is {path}. H2O cannot read a path with a hidden folder. Choose another.")
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as error:
        text = f"The data directory {path} cannot be created ({error.strerror}). Set METASCOUT_HOME to another folder."
        raise MetascoutError(text) from None
    return path


def store_path() -> Path:
    """Return the database file: METASCOUT_STORE, by default metascout.duckdb in the data directory."""
    setting = os.environ.get("METASCOUT_STORE")
    return Path(setting).resolve() if setting else home() / "metascout.duckdb"


@contextmanager
def transaction(write: bool = False, *, deadline_s: float = DEADLINE_S) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a transaction on the store; commit at the end, roll back on an error.

    Fetch results before it ends, and do nothing slow in it: others wait. Raises StoreBusyError when the store is not
    free within `deadline_s` seconds, and MetascoutError when the file cannot be written or read.
    """
    path, until = store_path(), time.monotonic() + deadline_s
    if path not in _current:
        migrate(path, until)
    with _attached(path, until, write) as connection:
        yield connection


@contextmanager
def _attached(path: Path, until: float, write: bool) -> Iterator[duckdb.DuckDBPyConnection]:
    with explain_disk_full(), _turn(until), _file_lock(until, write):
        outer, inner = _attach(path, until, write)
        try:
            if write:  # a reader needs none: its lock keeps every writer out
                inner.execute("BEGIN")
            yield inner
            if write:
                # Fails if an error was swallowed: COMMIT would then pass and save nothing.
                inner.execute("SELECT 1")
                inner.execute("COMMIT")
        except BaseException:
            with suppress(duckdb.Error):  # a failed COMMIT has ended the transaction already
                inner.execute("ROLLBACK")
            raise
        finally:
            _detach(outer)


def _detach(outer: duckdb.DuckDBPyConnection) -> None:
    """Detach the file. If a full disk prevents the checkpoint, committed rows stay in the write-ahead log."""
    try:
        outer.execute("DETACH store")
    except duckdb.Error as error:
        if "CHECKPOINT during DETACH failed" not in str(error):
            raise


@contextmanager
def _turn(until: float) -> Iterator[None]:
    global _holder
    if _holder == threading.get_ident():
        raise RuntimeError("a transaction inside a transaction: end the first one")
    if not _thread_lock.acquire(timeout=max(0.0, until - time.monotonic())):
        raise StoreBusyError("Another thread is using the store. Try again in a moment.")
    _holder = threading.get_ident()
    try:
        yield
    finally:
        _holder = None
        _thread_lock.release()


@contextmanager
def _file_lock(until: float, write: bool) -> Iterator[None]:
    flags = portalocker.LockFlags.EXCLUSIVE if write else portalocker.LockFlags.SHARED
    with lock_file("lock") as file:
        while True:
            try:
                portalocker.lock(file, flags | portalocker.LockFlags.NON_BLOCKING)
                break
            except (portalocker.AlreadyLocked, portalocker.LockException):
                if time.monotonic() > until:
                    raise StoreBusyError(
                        f"Another process is using the store {store_path()}. Try again in a moment."
                    ) from None
                time.sleep(_POLL_S)
        try:
            yield
        finally:
            portalocker.unlock(file)


def lock_file(suffix: str) -> IO[str]:
    """Open a file beside the store for locking. Raises MetascoutError where it cannot be written."""
    path = store_path().with_suffix(f".{suffix}")
    try:
        return path.open("a+")
    except OSError as error:
        if _is_disk_full(error):
            raise
        raise MetascoutError(
            f"The store cannot be used: {path} cannot be written ({error.strerror}). Set METASCOUT_HOME to a folder "
            "with write permission."
        ) from None


def _attach(path: Path, until: float, write: bool) -> tuple[duckdb.DuckDBPyConnection, duckdb.DuckDBPyConnection]:
    """Attach the file to this process's instance; return a connection that attaches, and one that works in it.

    Two, because `USE store` costs as much as attaching: the second connection says it only once.
    Waits while another program has the file open.
    """
    global _connections
    outer = _connections[0] if _connections else duckdb.connect(":memory:", config=_SETTINGS)
    statement = f"ATTACH {_quoted(path)} AS store" + ("" if write else " (READ_ONLY)")
    while True:
        try:
            outer.execute(statement)
            break
        except duckdb.ResourceInUseException as error:  # the last DETACH of this process has not quite ended
            if time.monotonic() > until:
                raise StoreBusyError(f"The store {path} is busy. Try again in a moment.") from error
            time.sleep(_BUSY_POLL_S)
        except duckdb.IOException as error:
            if _is_disk_full(error):
                raise
            if "lock" not in str(error).lower():
                raise MetascoutError(f"The store {path} cannot be opened: {error}") from error
            if time.monotonic() > until:
                name, _, _ = str(error).partition("held in ")[2].partition(" (PID ")
                pid = str(error).partition(" (PID ")[2].partition(")")[0]
                holder = f"{name} (PID {pid})" if name and pid else "another program"
                raise StoreBusyError(f"The store {path} is open in {holder}. Close it there and try again.") from error
            time.sleep(_BUSY_POLL_S)
    if _connections is None:
        inner = outer.cursor()
        inner.execute("USE store")
        _connections = outer, inner
    return _connections


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"


@contextmanager
def explain_disk_full() -> Iterator[None]:
    """Turn the error of a full disk into a MetascoutError with the remedy; other errors pass."""
    try:
        yield
    except (OSError, duckdb.Error) as error:
        if _is_disk_full(error):
            text = f"The disk of {home()} is full. Free some space, or set METASCOUT_HOME to a folder on another disk."
            raise MetascoutError(text) from error
        raise


def _is_disk_full(error: Exception) -> bool:
    by_text = "No space left" in str(error) or "max_temp_directory_size" in str(error)
    return by_text or getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT)


def insert(connection: duckdb.DuckDBPyConnection, table: str, row: dict[str, Any]) -> int:
    """Add one row, its columns by name, to a table with an `id`; return the id. `table` must not be a user's text."""
    marks = ", ".join(f"${name}" for name in row)
    statement = f"INSERT INTO {table} ({', '.join(row)}) VALUES ({marks}) RETURNING id"
    return int(connection.execute(statement, row).fetchall()[0][0])


def migrate(path: Path, until: float) -> None:
    """Bring the store's tables to this version: copy the file, then apply each missing step once."""
    if path.exists():
        with _attached(path, until, write=False) as connection:
            version = _version(connection)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
        version = 0
    if version > len(MIGRATIONS):
        raise MetascoutError(f"The store {path} was written by a newer version of Metascout. Update Metascout.")
    if version < len(MIGRATIONS):
        _apply_migrations(path, until)
    _current.add(path)


def _apply_migrations(path: Path, until: float) -> None:
    with _attached(path, until, write=True) as connection:
        version = _version(connection)  # again, as another process may have been first
        if 0 < version < len(MIGRATIONS):
            copy_files(path, path.with_suffix(f".v{version}.duckdb"))
        for number, statements in enumerate(MIGRATIONS[version:], start=version + 1):
            connection.execute(statements)
            connection.execute("INSERT INTO migrations VALUES (?, ?)", [number, time.time()])


def _version(connection: duckdb.DuckDBPyConnection) -> int:
    connection.execute("SELECT count(*) FROM duckdb_tables() WHERE database_name='store' AND table_name='migrations'")
    if connection.fetchall()[0][0] == 0:
        return 0
    return connection.execute("SELECT coalesce(max(version), 0) FROM migrations").fetchall()[0][0]


def copy_files(path: Path, target: Path) -> None:
    """Copy a database file, and the write-ahead log where a killed process or a full disk left committed rows."""
    shutil.copy2(path, target)
    log = path.with_name(f"{path.name}.wal")
    if log.exists():
        shutil.copy2(log, target.with_name(f"{target.name}.wal"))
