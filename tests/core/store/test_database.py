"""The store: transactions of many processes, migrations, backups and full disks."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import duckdb
import pytest

from core.errors import MetascoutError, StoreBusyError
from core.store import backup, database
from core.store.migrations import MIGRATIONS


def _write_message(text: str) -> None:
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO messages VALUES (1, 1, 0, 'info', ?)", [text])


def _messages() -> list[str]:
    with database.transaction() as connection:
        return [row[0] for row in connection.execute("SELECT text FROM messages ORDER BY text").fetchall()]


def test_another_process_reads_a_committed_row(home: Path) -> None:
    _write_message("hello")
    code = (
        "from core.store import database\n"
        "with database.transaction() as c: print(c.execute('SELECT text FROM messages').fetchall())"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[('hello',)]"


def _write_and_fail() -> None:
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO messages VALUES (1, 1, 0, 'info', 'lost')")
        connection.execute("INSERT INTO no_such_table VALUES (1)")


def _write_and_swallow() -> None:
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO messages VALUES (1, 1, 0, 'info', 'lost')")
        with suppress(duckdb.Error):
            connection.execute("INSERT INTO jobs (id) VALUES (NULL)")


def test_an_error_rolls_the_whole_transaction_back(home: Path) -> None:
    with pytest.raises(duckdb.CatalogException, match="no_such_table"):
        _write_and_fail()
    assert _messages() == []
    _write_message("saved")
    assert _messages() == ["saved"]


def test_an_error_that_the_caller_swallows_is_raised_at_the_end_and_never_a_silent_loss(home: Path) -> None:
    with pytest.raises(duckdb.TransactionException, match="aborted"):
        _write_and_swallow()
    _write_message("saved")
    assert _messages() == ["saved"]


def test_a_reader_cannot_write(home: Path) -> None:
    with pytest.raises(duckdb.Error, match="read-only"), database.transaction() as connection:
        connection.execute("INSERT INTO messages VALUES (1, 1, 0, 'info', 'x')")


def test_a_transaction_inside_a_transaction_is_an_error_and_not_a_deadlock(home: Path) -> None:
    with database.transaction(), pytest.raises(RuntimeError, match="inside a transaction"), database.transaction():
        pass


def test_threads_of_one_process_lose_nothing(home: Path) -> None:
    threads = [threading.Thread(target=lambda n=n: [_write_message(f"{n}-{i}") for i in range(10)]) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(_messages()) == 40


def test_a_store_that_another_program_has_open_is_an_error_that_names_it(home: Path) -> None:
    code = (
        "import duckdb, sys, time\n"
        f"c = duckdb.connect({str(database.store_path())!r})\n"
        "print('open', flush=True)\ntime.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "open\n"
        with pytest.raises(StoreBusyError, match=f"PID {other.pid}"), database.transaction(write=True, deadline_s=0.3):
            pass
    finally:
        other.kill()
        other.wait()
    _write_message("after")
    assert _messages() == ["after"]


def test_a_lock_held_too_long_is_an_error_and_not_a_hang(home: Path) -> None:
    code = (
        "from core.store import database\nimport time\n"
        "with database.transaction(write=True):\n    print('held', flush=True)\n    time.sleep(60)"
    )
    other = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    try:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        busy = pytest.raises(StoreBusyError, match="Another process is using the store")
        with busy, database.transaction(deadline_s=0.2):
            pass
    finally:
        other.kill()
        other.wait()


def test_a_file_that_is_no_database_is_an_error_that_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("this is no database, but long enough to look at " * 20)
    monkeypatch.setenv("METASCOUT_STORE", str(path))
    with pytest.raises(MetascoutError, match=r"notes\.txt cannot be opened"), database.transaction():
        pass


def test_a_hidden_data_directory_is_refused_since_h2o_cannot_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_HOME", str(tmp_path / ".hidden" / "home"))
    with pytest.raises(MetascoutError, match="hidden folder"):
        database.home()


def test_migrations_are_applied_once_and_an_old_store_is_backed_up_first(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _write_message("old")
    monkeypatch.setattr(database, "MIGRATIONS", (*MIGRATIONS, "CREATE TABLE later (a INTEGER)"))
    database._current.clear()  # as in a new process
    with database.transaction() as connection:
        versions = connection.execute("SELECT version FROM migrations ORDER BY version").fetchall()
        assert connection.execute("SELECT count(*) FROM later").fetchall() == [(0,)]
    assert versions == [(number + 1,) for number in range(len(MIGRATIONS) + 1)]
    assert _messages() == ["old"]
    path = home / f"metascout.v{len(MIGRATIONS)}.duckdb"
    assert duckdb.connect(str(path), read_only=True).execute("SELECT text FROM messages").fetchall() == [("old",)]


def test_a_store_of_a_newer_version_is_refused(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO migrations VALUES (99, ?)", [time.time()])
    database._current.clear()
    with pytest.raises(MetascoutError, match="newer version"), database.transaction():
        pass


def test_a_backup_opens_and_holds_the_committed_rows(home: Path, tmp_path: Path) -> None:
    _write_message("precious")
    copy = backup.backup(tmp_path / "copy.duckdb")
    assert duckdb.connect(str(copy), read_only=True).execute("SELECT text FROM messages").fetchall() == [("precious",)]


def test_a_backup_holds_the_rows_that_a_killed_process_left_in_the_write_ahead_log(home: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom core.store import database\n"
        "with database.transaction(write=True) as c:\n"
        "    c.execute(\"INSERT INTO messages VALUES (1, 1, 0, 'info', 'safe')\")\n"
        "    c.execute('COMMIT')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)"  # before the checkpoint
    )
    _write_message("first")
    assert subprocess.run([sys.executable, "-c", code]).returncode == -9
    copy = backup.backup(tmp_path / "copy.duckdb")
    rows = duckdb.connect(str(copy)).execute("SELECT text FROM messages ORDER BY text").fetchall()
    assert rows == [("first",), ("safe",)]


def test_a_folder_that_may_not_be_written_is_an_error_with_the_remedy(home: Path) -> None:
    (home / "metascout.lock").unlink()
    (home / "metascout.lock").mkdir()  # root may write everywhere, but not into a folder as if it were a file
    with pytest.raises(MetascoutError, match=r"metascout\.lock cannot be written"), database.transaction():
        pass


_FILL = """
from core.store import database
from core.errors import MetascoutError
statement = "INSERT INTO messages SELECT 1, 1, i, 'info', md5(random()::VARCHAR) FROM range(1000) r(i)"
acknowledged = 0
try:
    while acknowledged < 2000:
        with database.transaction(write=True) as connection:
            connection.execute(statement)
        acknowledged += 1
except MetascoutError as error:
    print(acknowledged, error)
"""
_COUNT = """
from core.store import database
with database.transaction() as connection:
    print(connection.execute("SELECT count(*) FROM messages").fetchall()[0][0])
"""


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="mounting a small disk needs root on Linux")
def test_a_full_disk_is_a_clear_error_and_loses_no_acknowledged_row(tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a small disk")
    environment = {**os.environ, "METASCOUT_HOME": str(small / "home")}
    try:
        out = subprocess.run(
            [sys.executable, "-c", _FILL], env=environment, capture_output=True, text=True, timeout=120
        )
        count, _, sentence = out.stdout.strip().partition(" ")
        assert "is full. Free some space" in sentence, out.stderr
        subprocess.run(["mount", "-o", "remount,size=64m", str(small)], check=True)
        again = subprocess.run(
            [sys.executable, "-c", _COUNT], env=environment, capture_output=True, text=True, check=True
        )
        assert int(again.stdout) == 1000 * int(count)
    finally:
        subprocess.run(["umount", str(small)], check=True)
