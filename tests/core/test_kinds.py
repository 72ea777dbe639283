"""The rows of the kinds of job."""

from __future__ import annotations

import ast
import importlib.util
import inspect
from pathlib import Path

import pytest

from core import kinds
from core.errors import InputError
from core.kinds import Kind


def _defines(reference: str) -> bool:
    """Return whether a "module:function" exists, without an import of the engine or page."""
    module, _, name = reference.partition(":")
    file = importlib.util.find_spec(module)
    if file is None or file.origin is None:
        return False
    body = ast.parse(Path(file.origin).read_text()).body
    names = {node.name for node in body if isinstance(node, ast.FunctionDef)}
    names |= {alias.asname or alias.name for node in body if isinstance(node, ast.ImportFrom) for alias in node.names}
    return name in names


def test_candidates_are_named_by_their_engine() -> None:
    assert kinds.of_candidate("H2O GBM") == (kinds.of("automl"), "GBM")
    assert kinds.of_candidate("NAS ResidualMLP") == (kinds.of("nas"), "ResidualMLP")
    assert kinds.of_candidate("RandomForest") == (kinds.of("portfolio"), "RandomForest")
    assert kinds.of_candidate("weka.J48") is None


def test_an_unknown_kind_is_an_error_that_names_it_and_the_kinds_of_this_version() -> None:
    with pytest.raises(InputError) as caught:
        kinds.of("magic")
    assert (caught.value.field, caught.value.value) == ("kind", "magic")
    sentence = str(caught.value)
    assert "There is no kind of job 'magic' in this version." in sentence
    assert all(kind.name in sentence for kind in kinds.KINDS)
    assert kinds.label("magic") == "magic"


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_everything_that_a_row_names_exists(kind: Kind) -> None:
    assert _defines(kind.entry)
    assert _defines(f"{kind.results}:tabs")
    assert kind.form is None or _defines(f"{kind.form}:show")
    if kind.check:
        assert list(inspect.signature(kinds.load(kind.check)).parameters) == ["spec", "dataset"]
    for reference in filter(None, (kind.order, kind.warm)):
        assert not inspect.signature(kinds.load(reference)).parameters


@pytest.mark.parametrize("kind", kinds.KINDS, ids=lambda kind: kind.name)
def test_a_row_fits_its_spec(kind: Kind) -> None:
    assert kinds.for_spec(kind.spec) is kind
    assert kind.spec.model_fields["kind"].default == kind.name
    assert set(kind.candidates) <= set(kind.modalities) <= set(kinds.MODALITIES)
    assert kind.label
    assert kind.about.endswith(".")


def test_a_candidate_runs_on_the_modalities_of_its_kind_only() -> None:
    assert kinds.runnable("H2O GBM", "table")
    assert not kinds.runnable("H2O GBM", "image")
    assert kinds.runnable("RandomForest", "image")
    assert not kinds.runnable("weka.J48", "table")
