"""`python -m core advise | refit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from core import advice
from core.__main__ import main
from core.datasets import Dataset
from tests.core.advice.sample_knowledge import N_TASKS, numbers, numbers_home, sample_file, shipped

__all__ = ["numbers", "numbers_home", "sample_file", "shipped"]  # fixtures


def test_advice_and_its_plan_from_the_command_line(
    shipped: Path, numbers: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["refit"]) == 0
    assert f"classification: {N_TASKS} datasets x 4 candidates" in capsys.readouterr().out
    assert main(["advise", "numbers"]) == 0
    out = capsys.readouterr().out
    assert "Linear" in out
    assert "Tested on 40 past datasets" in out
    assert main(["advise", "numbers", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["plan"]
    assert main(["advise", "numbers", "--run"]) == 0
    ids = [int(text) for text in capsys.readouterr().out.split()]
    assert ids == advice.jobs_of(numbers.id)
