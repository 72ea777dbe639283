"""The run directory: how events are read, pauses are marked, and old files are removed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.events import Message, to_json
from runner import launch, loop


def test_a_torn_line_in_the_event_file_becomes_a_warning(tmp_path: Path) -> None:
    (tmp_path / "events.jsonl").write_bytes(
        b'{"type":"Message","at":1.0,"text":"a","level":"info"}\n{"type":"Mess\n{"type":"Message","at":2'
    )
    events, times, offset = launch.read_events(tmp_path, 0)
    assert next(event.text for event in events if isinstance(event, Message)) == "a"
    assert "unreadable event" in events[1].text  # type: ignore[union-attr]
    assert len(times) == 2
    assert launch.read_events(tmp_path, offset) == ([], [], offset)


def test_an_event_larger_than_a_batch_is_read_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launch, "_BATCH_BYTES", 64)
    long = Message("x" * 1000)
    lines = [to_json(event, 1.0) + "\n" for event in (Message("before"), long, Message("after"))]
    (tmp_path / "events.jsonl").write_text("".join(lines))
    offset, rows = 0, []
    while True:
        events, _, after = launch.read_events(tmp_path, offset)
        if after == offset:
            break
        offset, rows = after, rows + events
    assert [event.text[:6] for event in rows] == ["before", "xxxxxx", "after"]  # type: ignore[union-attr]


def test_an_attempt_that_never_started_has_no_events_and_counts_as_crashed(tmp_path: Path) -> None:
    assert launch.read_events(tmp_path, 7) == ([], [], 7)
    assert not launch.is_alive(tmp_path)
    assert launch.read_exit(tmp_path).status == "crashed"


def test_a_late_pause_is_marked_once(tmp_path: Path) -> None:
    launch.request_pause(tmp_path)
    assert not launch.mark_late_pause(tmp_path)
    os.utime(tmp_path / "pause", (1.0, 1.0))
    launch.request_pause(tmp_path)  # the first request counts
    assert launch.mark_late_pause(tmp_path)
    assert not launch.mark_late_pause(tmp_path)


def test_a_runner_that_starts_removes_the_temporary_files_of_dead_attempts(home: Path) -> None:
    folder = home / "jobs" / "7-1" / "tmp"
    folder.mkdir(parents=True)
    (folder / "library.so").write_text("unpacked")
    loop.serve(drain=True)
    assert not folder.exists()
