"""Texts, numbers and tables as pages show and export them."""

from __future__ import annotations

import csv
import io
import math
import re

import pandas as pd
import pytest

from pages import words
from pages.parts import csv_export
from tests.pages.apptest import shown
from tests.pages.filled import ODD


@pytest.mark.parametrize(
    "text", [ODD, "a_b*c", ":material/home: :red[x]", "<b>", "$1 and $2", "`x` ~~y~~ # z", "a -> b"]
)
def test_escaped_text_has_no_markup_left(text: str) -> None:
    escaped = words.plain(text)
    assert shown(escaped) == text
    assert not re.search(r"(?<!\\)[*_`$<>\[\]~#|]", escaped)
    assert not re.search(r":[a-z/_]+:", escaped)
    assert "->" not in escaped


def test_a_csv_export_starts_no_formula() -> None:
    frame = pd.DataFrame({"=name": ["=1+1", "+1", "-1", "@x", "\tx", "plain", None], "value": [-1.5, 0, 1, 2, 3, 4, 5]})
    lines = list(csv.reader(io.StringIO(csv_export.csv_safe(frame))))
    assert lines[0] == ["'=name", "value"]
    assert [line[0] for line in lines[1:]] == ["'=1+1", "'+1", "'-1", "'@x", "'\tx", "plain", ""]
    assert [float(line[1]) for line in lines[1:]] == [-1.5, 0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(2e-6, "2 µs"), (0.0123, "12.3 ms"), (1.25, "1.2 s"), (59.4, "59 s"), (59.6, "1 min 0 s"),
     (3_700, "1 h 2 min"),
     (None, words.NONE), (math.nan, words.NONE)],
)  # fmt: skip
def test_durations_have_the_units_that_matter(seconds: float | None, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.84321, "0.8432"), (51_234.4, "51,234"), (3.14159, "3.142"), (0, "0"), (-0.5, "-0.5000"),
     (1.2e-7, "1.2e-07"), (2.5e9, "2.5e+09"), (math.inf, words.NONE)],
)  # fmt: skip
def test_numbers_have_the_digits_that_matter(value: float, text: str) -> None:
    assert words.number(value) == text
