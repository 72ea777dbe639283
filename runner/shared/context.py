"""What a job gets beside its spec: its dataset, directory and share of the machine, and whether it shall stop."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from core import events
from core.datasets import Dataset


@dataclass(frozen=True, slots=True)
class Context:
    """What a job gets beside its spec.

    `directory` belongs to the attempt (absolute): files for the user go into artifacts/, temporary ones into tmp/,
    which is always removed when the job ends. `cancelled()` is cheap, and true once the user wants the job to stop: the
    job then saves its results and returns. `paused()` is the same for jobs that can resume: the job writes a checkpoint
    into its directory and returns, and its next attempt reads it. A job counts as paused when it returns after
    `paused()` was true; one that returns before it calls `paused()` again has succeeded. `order` is what the `order`
    function of its kind (core/kinds.py) prepared when the job was started.
    """

    job_id: int
    attempt: int
    dataset: Dataset
    directory: Path
    cpus: int
    gpus: int
    cancelled: Callable[[], bool]
    paused: Callable[[], bool] = bool
    order: Mapping[str, Any] = field(default_factory=dict)

    @property
    def artifacts(self) -> Path:
        """The directory for files that the user may download."""
        return self.directory / "artifacts"

    def started_at(self) -> float:
        """Return when the attempt was started, on the monotonic clock: a budget counts the start of the process."""
        order = self.directory / "job.json"
        return time.monotonic() - (max(0.0, time.time() - order.stat().st_mtime) if order.exists() else 0.0)

    def previous_file(self, name: str, job_id: int | None = None) -> Path | None:
        """Return the file of this name from the last attempt of another job, or from an earlier one of this job."""
        paths = self.directory.parent.glob(f"{job_id or self.job_id}-*/{name}")
        numbered = {int(path.parent.name.split("-")[1]): path for path in paths}
        before = self.attempt if job_id in (None, self.job_id) else math.inf
        return max(((n, path) for n, path in numbered.items() if n < before), default=(0, None))[1]


Engine = Callable[[Any, Context], Iterator[events.Event]]  # the `run` of an engine's job.py
