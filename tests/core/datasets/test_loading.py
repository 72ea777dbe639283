"""Loading: what is loaded and exported is what the file held."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd

from core import datasets
from tests.core.datasets.small_tables import table


def test_an_exported_csv_reads_back_as_the_loaded_rows(save_csv, tmp_path):
    texts = ["plain", 'say "hi"', "a,b", "line\nbreak", "ü🚀", " NAN ", None, "x;y", "'", "\\"] * 30
    when = pd.Series(pd.date_range("1969-12-31 23:59:59.25", periods=300, freq="D")).astype(str)
    path = save_csv(table(300, odd=texts, when=when, x=[0.1, 1e-300, None] * 100))
    dataset = datasets.register(path, name="n", target="y")
    for split in datasets.SPLITS:
        out = tmp_path / f"{split}.csv"
        assert datasets.export_csv(dataset, split, out) == dataset.n_rows[split]
        loaded = datasets.load(dataset, split).reset_index(drop=True)
        loaded["c4"] = (loaded["c4"] - pd.Timestamp(0)) / pd.Timedelta(seconds=1)
        with out.open(newline="", encoding="utf-8") as file:
            header, *lines = csv.reader(file)
        assert header == [c.key for c in dataset.columns] == list(loaded)
        for i, key in enumerate(header):
            want = [None if pd.isna(value) else value for value in loaded[key]]
            got = [line[i] or None for line in lines]
            assert [float(g) if g and isinstance(w, float) else g for g, w in zip(got, want, strict=True)] == want


def test_values_of_a_parquet_file_are_loaded_unchanged(home, tmp_path):
    frame = table(200, when=pd.date_range("2020", periods=200, unit="ns"), x=np.random.default_rng(1).normal(size=200))
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = datasets.register(tmp_path / "t.parquet", name="n", target="y")
    loaded = datasets.load(dataset)
    assert list(loaded["c0"]) == list(frame["x"])
    assert list(loaded["c3"]) == list(frame["when"])
