"""The registry: names, order, and that a dataset comes back as it was registered."""

from __future__ import annotations

import pytest

from core import datasets
from core.errors import InputError
from tests.core.datasets.small_tables import table


def test_a_dataset_survives_json_and_the_store(home):
    dataset = datasets.add_sample("iris")
    assert datasets.from_json(datasets.to_json(dataset)) == dataset
    assert datasets.get(dataset.id) == datasets.get("iris") == datasets.get(str(dataset.id)) == dataset
    assert dataset.table == home / "datasets" / dataset.fingerprint / "table.parquet"
    assert [path.name for path in dataset.table.parent.iterdir()] == ["table.parquet"]
    assert {path.name for path in (home / "tmp").iterdir()} <= {"staged", "duckdb"}


def test_the_newest_dataset_comes_first_and_the_error_for_an_unknown_one_lists_all(home):
    with pytest.raises(InputError, match=r"no dataset 'nothing'\. Add one first"):
        datasets.get("nothing")
    datasets.add_sample("iris")
    datasets.add_sample("wine")
    assert [dataset.name for dataset in datasets.all_datasets()] == ["wine", "iris"]
    with pytest.raises(InputError, match=r"no dataset 7\. The datasets are: wine \(2\), iris \(1\)"):
        datasets.get(7)


def test_registering_twice_returns_the_same_dataset_and_other_choices_need_another_name(save_csv):
    path = save_csv(table())
    first = datasets.register(path, name="n", target="y")
    assert datasets.register(path, name="n", target="y", task="binary") == first
    with pytest.raises(InputError, match=r"'n' is taken by a dataset of other content or options .*target 'y'"):
        datasets.register(path, name="n", target="y", seed=2)
    with pytest.raises(InputError, match="'n' is taken"):
        datasets.register(save_csv(table(120), "other.csv"), name="n", target="y")
    same = datasets.register(path, name="m", target="y")
    assert (same.fingerprint, same.table) == (first.fingerprint, first.table)
    assert len(datasets.all_datasets()) == 2
