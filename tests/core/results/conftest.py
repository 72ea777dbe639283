"""A running job."""

from __future__ import annotations

import pytest

from core.queue import jobs
from core.queue.jobs import Job
from core.specs import AutoMLSpec


@pytest.fixture
def job(spec: AutoMLSpec) -> Job:
    jobs.submit(spec, user="ada")
    claimed = jobs.claim("w")
    assert claimed is not None
    return claimed
