"""What a job hands out beside its models, so that each scores a CSV file on a machine without Metascout."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from pprint import pformat

from core import datasets
from core.datasets import Column, Dataset
from core.datasets.files import scratch, tables
from core.events import Artifact
from runner.automl.frames import usable
from runner.automl.predict_template import convert
from runner.automl.rest import Rest

_TEMPLATE = Path(__file__).with_name("predict_template.py")
_EXAMPLE_ROWS = 5
_README = """\
{name}: predict {target!r}

model.zip          the model, an H2O MOJO
h2o-genmodel.jar   what runs it, without H2O (Apache License 2.0)
score.py           predicts a CSV file; needs Python 3.11+ and Java 8+, and nothing else
example.csv        {rows} rows that the model has not seen

    python score.py example.csv predictions.csv

The input is a CSV file, separated by commas, semicolons, tabs or bars. It has the columns of the training table under
their own names, in any order, and its values are read as those of the training table were: blanks around a value do
not count, times are taken as they are written, without their time zone, and a value is missing if it is empty or
one of {missing}
Text columns are not used. The class that is predicted is the one with the highest probability.
"""


def handout(rest: Rest, dataset: Dataset, levels: tuple[str, ...], directory: Path) -> Iterator[Artifact]:
    """Writes the scoring jar, the script, an example and the read-me, once for all models of a job."""
    jar = rest.download("/3/h2o-genmodel.jar", directory / "h2o-genmodel.jar")
    yield Artifact("h2o-genmodel.jar", str(jar), "scoring_jar")
    yield _written(directory / "score.py", _script(dataset, levels), "scoring_script")
    example = directory / "example.csv"
    names = {column.key: column.name for column in dataset.features}
    rows = datasets.load(dataset, "test").head(_EXAMPLE_ROWS)[list(names)].rename(columns=names)
    rows.to_csv(example, index=False)
    yield Artifact(example.name, str(example), "example")
    missing = " ".join(filter(None, tables.MISSING))
    text = _README.format(name=dataset.name, target=dataset.target, rows=len(rows), missing=missing)
    yield _written(directory / "README.txt", text, "readme")


def _script(dataset: Dataset, levels: tuple[str, ...]) -> str:
    schema = {
        "target": dataset.target,
        "levels": list(levels),
        "columns": [{"name": c.name, "key": c.key, "type": reads(dataset, c)} for c in usable(dataset)],
        "missing": list(tables.MISSING),
    }
    text = _TEMPLATE.read_text("utf-8")
    line = next(line for line in text.splitlines() if line.startswith("SCHEMA: "))
    return text.replace(line, f"SCHEMA: dict[str, Any] = {pformat(schema, width=110, sort_dicts=False)}")


def reads(dataset: Dataset, column: Column) -> str:
    """How the script reads a column. Categories that are all numbers were stored as 3, whether the file has 3 or 3.0;
    with a code such as 007 among them, or a word, they were stored as they are."""
    if column.type != "categorical":
        return column.type
    query = f"SELECT DISTINCT {column.key} AS value FROM read_parquet(?) WHERE {column.key} IS NOT NULL"
    values = scratch.query(query, [str(dataset.table)])["value"]
    return "number as text" if all(convert(value, "number as text") == value for value in values) else "text"


def _written(path: Path, text: str, kind: str) -> Artifact:
    path.write_text(text, "utf-8")
    return Artifact(path.name, str(path), kind)
