from __future__ import annotations

from pathlib import Path

import pytest

from core.datasets import Dataset
from tests.drills import contention


@pytest.mark.slow
def test_no_acknowledged_job_is_lost_and_none_is_claimed_twice_while_processes_are_killed(
    dataset: Dataset, tmp_path: Path
) -> None:
    assert dataset.id == 1
    outcome = contention.run(tmp_path, submitters=4, submits=25, claimers=2, kill_every_s=0.8)
    assert outcome.acknowledged >= 100
    assert outcome.kills > 0
    assert outcome.claimed > 0
    assert (outcome.lost, outcome.twice) == (0, 0)
