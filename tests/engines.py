"""Small engines for tests of the queue and the runner. A job's process imports this module, so it imports little."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace

from core import kinds
from core.errors import InputError
from core.events import Architecture, Artifact, Event, Message, Metric, Progress, Score, TrialDone
from core.queue import jobs
from core.queue.jobs import Job
from core.specs import AutoMLSpec, NASSpec, Spec
from runner.shared.context import Context, Engine

ROWS = kinds.KINDS


def use(**functions: Engine) -> None:
    """Use these functions as the engines of the named kinds; the fixture `real_kinds` restores the real ones."""
    kinds.KINDS = tuple(
        replace(row, entry=f"{functions[row.name].__module__}:{functions[row.name].__qualname__}")
        if row.name in functions
        else row
        for row in ROWS
    )


def run_once(**functions: Engine) -> int | None:
    """Run the next job in new processes, with these functions as engines."""
    from runner import loop

    use(**functions)
    return loop.run_once("w")


def drain(**functions: Engine) -> None:
    """Run all queued jobs in new processes, with these functions as engines."""
    from runner import loop

    use(**functions)
    loop.serve(drain=True)


def claimed(spec: Spec) -> Job:
    """Submit a job and claim it, as a runner does that is killed before it starts the job."""
    jobs.submit(spec)
    job = jobs.claim("w")
    assert job is not None
    return job


def submit_many(spec: Spec, number: int) -> None:
    """Queue so many copies of a job, which is much faster than to submit each."""
    from core.store import database

    jobs.submit(spec)
    with database.transaction(write=True) as connection:
        connection.execute("INSERT INTO jobs BY NAME SELECT jobs.* EXCLUDE (id) FROM jobs, range(?)", [number - 1])


def work_here(job: Job, **functions: Engine) -> int:
    """Run a claimed job up to its result in this process; return the exit code that its own process would have.

    It leaves the run directory as an attempt does that is still supervised, without a supervisor.
    """
    from runner import child, launch

    use(**functions)
    return child.work(launch.prepare(job))


def run_here(job: Job, **functions: Engine) -> None:
    """Run a claimed job in this process: it leaves its run directory as an attempt does that has ended."""
    from runner import supervisor

    code = work_here(job, **functions)
    result = asdict(supervisor.read_result(job.directory, code))
    (job.directory / "exit.json").write_text(json.dumps(result))


@contextmanager
def serving(engine: Engine) -> Iterator[None]:
    """Run the runner's loop in a thread, with this engine for automl and nas. It fits no selectors."""
    import pytest

    from runner import loop

    stop = threading.Event()
    use(automl=engine, nas=engine)
    thread = threading.Thread(target=loop.serve, kwargs={"stopped": stop.is_set})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("core.advice.fits.is_due", bool)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextmanager
def runner_process() -> Iterator[subprocess.Popen[bytes]]:
    """Start `python -m runner` with engines that run until they are cancelled; stop it at the end if it is alive."""
    code = (
        "import runner.__main__\nfrom tests import engines\n"
        "engines.use(automl=engines.wait_for_cancel, nas=engines.search)\n"
        "raise SystemExit(runner.__main__.main([]))"
    )
    process = subprocess.Popen([sys.executable, "-c", code])
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == 0


def has_reported(job_id: int) -> bool:
    """Return whether a job has reported a point of its curve."""
    from core import results

    return len(results.curve(job_id, "best_valid")) > 0


def trial(candidate: str = "first", *, error: float = 0.2, algorithm: str = "GBM", **more: object) -> TrialDone:
    """A trial of a binary dataset whose AUC is 1 - error on every split."""
    scores = tuple(
        Score(metric, 1 - error, 1 - error, 0.9 - error, 1.0, error, error)
        for metric in ("auc", "accuracy", "balanced_accuracy")
    )
    loss = Score("log_loss", error, error, 0.0, 1.0, error, error)
    return TrialDone(candidate, algorithm, "auc", (*scores, loss), fit_s=1.5, predict_row_s=1e-5, **more)


def succeed(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield Progress(0.5, "half way", 1.0)
    yield Message("hello from the job")
    yield Metric("best_valid", 0.8, 1)
    model = context.directory / "artifacts" / "model.txt"
    model.write_text(f"model of job {context.job_id}")
    yield Artifact("model.txt", str(model), "mojo", "first")
    yield trial(params={"depth": 3})


def report_a_missing_file(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield Artifact("gone.zip", str(context.directory / "artifacts" / "gone.zip"), "mojo", "first")
    yield trial()


def refuse(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield Message("looking at the data")
    raise InputError("column 'x' has the value 7; remove it")


def break_down(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield trial()
    raise ZeroDivisionError("a bug")


def fill_the_disk(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield trial()
    raise OSError(errno.ENOSPC, "No space left on device")


def wait_for_cancel(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    step = 0
    while not context.cancelled():
        yield Metric("best_valid", step / 1000, step)
        step += 1
        time.sleep(0.02)
    yield Message("winding down")


def ignore_cancel(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        yield Progress(0.1, "deaf")
        time.sleep(0.05)


def search(spec: NASSpec, context: Context) -> Iterator[Event]:
    """A search that counts its candidates, pauses, and resumes from its own count or continues another job's."""
    own = _count(context.job_id, context)
    begin = own or (_count(spec.continues, context) if spec.continues else 0)
    goal = spec.max_candidates + (begin if spec.continues and not own else 0)
    while begin < goal and not context.cancelled() and not context.paused():
        begin += 1
        yield Metric("best_valid", begin / 1000, begin)
        yield Metric("valid_error", 1 - begin / 1000, 1, f"cnn({begin})")
        yield Architecture(f"cnn({begin})", [{"name": "Head", "detail": f"linear {begin}", "out": "10"}])
        yield Progress(begin / goal, f"Candidate {begin}")
        (context.directory / "count.new").write_text(str(begin))
        (context.directory / "count.new").replace(context.directory / "count.txt")
        time.sleep(0.02)
    if begin == goal:
        yield trial(f"cnn({begin})")


def _count(job_id: int, context: Context) -> int:
    """Return the count in the latest checkpoint of a job; 0 without one."""
    paths = context.directory.parent.glob(f"{job_id}-*/count.txt")
    return max((int(path.read_text()) for path in paths), default=0)


def ignore_pause(spec: NASSpec, context: Context) -> Iterator[Event]:
    """Works for a while and never checks for a pause."""
    for step in range(200):
        yield Metric("best_valid", step / 1000, step)
        time.sleep(0.02)


def fall_silent(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield Progress(0.1, "stuck")
    time.sleep(600)


def die_once(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    yield trial(f"attempt {context.attempt}")
    if context.attempt == 1:
        os.kill(os.getpid(), signal.SIGKILL)


def leave_children(spec: AutoMLSpec, context: Context) -> Iterator[Event]:
    """Starts a process in a new session, as H2O's launcher does, writes its pid, and is killed."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (context.directory / "child.pid").write_text(str(child.pid))
    (context.directory / "tmp" / "library.so").write_text("unpacked")
    yield Progress(0.1, "child started")
    os.kill(os.getpid(), signal.SIGKILL)


def look_around(spec: object, context: Context) -> Iterator[Event]:
    """Prints the properties of its process."""
    print("cwd", os.getcwd())
    print("nice", os.nice(0), "input", os.readlink("/proc/self/fd/0"))
    subprocess.run(["sh", "-c", "echo error >&2"], check=True)
    for name in sorted(os.environ):
        if name not in ("PWD", "OLDPWD", "LC_CTYPE"):
            print(name, os.environ[name])
    yield Message("done")


def start_a_child(spec: object, context: Context) -> Iterator[Event]:
    """Starts a process in a new session, writes its pid, and continues."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
    (context.directory / "child.new").write_text(str(child.pid))
    (context.directory / "child.new").replace(context.directory / "child.pid")
    while True:
        yield Progress(0.1, "working")
        time.sleep(0.1)
