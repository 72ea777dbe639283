"""The jobs that advice leads to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from core import advice, datasets
from core.advice import fits
from core.datasets import Dataset
from core.errors import InputError
from core.queue import jobs
from core.specs import AUTOML_ALGORITHMS, AutoMLSpec, NASSpec, PortfolioSpec
from tests.core.advice.sample_knowledge import record_job


def test_the_plan_becomes_one_job_an_engine_and_is_remembered(fit: fits.Fit, numbers: Dataset) -> None:
    given = advice.advise(numbers.id)
    portfolio, automl = advice.specs_of(given)
    assert isinstance(portfolio, PortfolioSpec)
    assert set(given.plan) <= set(portfolio.candidates)
    assert isinstance(automl, AutoMLSpec)  # there is no result of H2O, so no plan could name it
    ids = advice.run(given, [portfolio, automl], user="ada@example.org")
    assert advice.jobs_of(numbers.id) == ids
    assert [jobs.get(job_id).kind for job_id in ids] == ["portfolio", "automl"]
    assert jobs.get(ids[0]).owner == "ada@example.org"
    with pytest.raises(InputError, match="plan: No job is selected"):
        advice.run(given, [])


def test_an_engine_with_results_trains_what_the_ranking_puts_first(shipped: Path, numbers: Dataset) -> None:
    frame = pd.read_parquet(shipped)
    best = frame[frame["candidate"] == "Linear"].assign(candidate="H2O GLM")
    networks = frame[frame["candidate"] == "SVM"].assign(candidate="NAS CNN")
    foreign = frame[frame["candidate"] == "SVM"].assign(candidate="our own model")
    pd.concat([frame, best, networks, foreign]).to_parquet(shipped)
    fits.refit("classification")
    given = advice.advise(numbers.id)
    names = [item.candidate for item in given.ranking]
    assert numbers.modality == "table"
    assert "NAS CNN" not in names  # it needs images
    assert given.ranking[names.index("our own model")].engine is None
    assert "our own model" not in given.plan
    automl = next(spec for spec in advice.specs_of(given) if isinstance(spec, AutoMLSpec))
    assert automl.algorithms == AUTOML_ALGORITHMS
    assert advice.ranked_algorithms(given) == ("GLM", "StackedEnsemble")


def test_a_search_can_start_from_those_of_similar_own_datasets(fit: fits.Fit, numbers: Dataset, tmp_path: Path) -> None:
    rows = "".join(f"{n % 7},{'yes' if n % 7 > 3 else 'no'}\n" for n in range(90))
    (tmp_path / "other.csv").write_text(f"size,answer\n{rows}")
    other = datasets.register(tmp_path / "other.csv", name="other", target="answer")
    record_job(other, NASSpec(dataset_id=other.id), MLP=0.1)
    record_job(other, Linear=0.1)
    given = advice.advise(numbers.id)
    similar = (advice.SimilarDataset("other", "own", "other.csv", 0.1, "Linear", 0.1),)
    assert advice.warm_starts(replace(given, near=similar)) == [1]
    assert advice.warm_starts(replace(given, near=())) == []
