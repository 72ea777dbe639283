"""The leaderboard: its filters in the link, and how many trials it shows."""

from __future__ import annotations

import pytest

from pages.parts import trial_table
from tests.pages.apptest import fine, opened, table
from tests.pages.filled import Filled


def test_the_leaderboard_restores_a_link_and_keeps_to_it(filled: Filled) -> None:
    job = str(filled.succeeded)
    at = fine(opened("leaderboard", dataset=str(filled.binary), metric="log_loss", algorithm="GBM", job=job))
    assert at.selectbox(key="metric").value == "Log loss"
    frame = table(at)
    assert set(frame["algorithm"]) == {"GBM"}
    assert set(frame["job_id"]) == {filled.succeeded}
    assert list(frame["valid"]) == sorted(frame["valid"])
    at = fine(opened("leaderboard", dataset="breast_cancer", yardsticks="false"))
    frame = table(at)
    assert not frame["yardstick"].any()
    assert list(frame["valid"]) == sorted(frame["valid"], reverse=True)


def test_the_leaderboard_says_when_it_shows_only_the_best(filled: Filled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial_table, "BEST_N", 5)
    at = fine(opened("leaderboard", dataset="breast_cancer"))
    assert len(table(at)) == 5
    assert any("The best 5 of 39" in caption.value for caption in at.caption)
