"""The files that are downloaded with an H2O model beside its MOJO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from core import datasets
from core.datasets import Dataset
from core.events import Artifact
from runner.automl.rest import Rest
from runner.shared.deploy import Readme, table_schema, write_predictor
from runner.shared.rows import plain_columns

_EXAMPLE_ROWS = 5
_NOTES = "Text columns are not used. The class that is predicted is the one with the highest probability."


def write_shared_files(rest: Rest, dataset: Dataset, levels: tuple[str, ...], directory: Path) -> Iterator[Artifact]:
    """Write the scoring jar, an example, and predict.py with its files, once for all models of a job.

    `levels` are the classes in H2O's order.
    """
    jar = rest.download("/3/h2o-genmodel.jar", directory / "h2o-genmodel.jar")
    yield Artifact(jar.name, str(jar), "scoring_jar")
    example = directory / "example.csv"
    names = {column.key: column.name for column in dataset.features}
    rows = datasets.load(dataset, "test").head(_EXAMPLE_ROWS)[list(names)].rename(columns=names)
    rows.to_csv(example, index=False)
    yield Artifact(example.name, str(example), "example")
    files = {
        "model.zip": "the model, an H2O MOJO",
        jar.name: "what runs it, without H2O (Apache License 2.0)",
        example.name: f"{len(rows)} rows of the test set",
    }
    title = f"{dataset.name}: predict {dataset.target!r}"
    readme = Readme(title, files, " and Java 8+, and nothing else", _NOTES, example.name)
    schema = table_schema(dataset, "h2o", plain_columns(dataset)) | {"labels": list(levels)}
    yield from write_predictor(directory, schema, readme)
