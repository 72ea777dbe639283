"""The home page: how to start a runner, and the first steps."""

from __future__ import annotations

from pathlib import Path

from core.queue import runners
from tests.pages.apptest import fine, opened
from tests.pages.filled import Filled


def test_home_tells_how_to_start_a_runner_until_one_is_alive(filled: Filled) -> None:
    at = fine(opened("home"))
    assert "python -m runner" in at.code[0].value
    runners.heartbeat("a runner", {"cpu_frac": 0.25, "memory_used_bytes": 2**30, "memory_bytes": 2**32, "gpus": []})
    at = fine(opened("home"))
    assert not at.warning
    assert at.metric[0].value == "1"
    assert any("25%" in (bar.text or "") for bar in at.progress)


def test_the_sample_of_the_first_steps_leads_to_its_advice(home: Path) -> None:
    at = opened("home")
    at.button[0].click().run()
    fine(at)
    assert at.title[0].value == "Advice"
    assert at.selectbox(key="dataset").value == "breast_cancer"
