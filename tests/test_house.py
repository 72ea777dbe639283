"""The house: names, sizes and owners that a newcomer may rely on, held by tests.

Who may import whom is in test_layering.py.
"""

from __future__ import annotations

import ast
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import kinds

ROOT = Path(__file__).parents[1]
PRODUCT = ("core", "runner", "pages", "tools")
ONE_PER_FOLDER = {"job.py", "deploy.py", "__init__.py", "__main__.py"}
# The module that writes each table; all others call it.
OWNERS = {
    "jobs": "core/queue/jobs.py",
    "job_history": "core/queue/jobs.py",
    "messages": "core/queue/log.py",
    "runners": "core/queue/runners.py",
    "trials": "core/results/record.py",
    "scores": "core/results/record.py",
    "artifacts": "core/results/record.py",
    "metrics": "core/results/record.py",
    "architectures": "core/results/record.py",
    "policy_points": "core/results/record.py",
    "initialisations": "core/results/initialisations.py",
    "evaluations": "core/results/initialisations.py",
    "adaptations": "core/results/initialisations.py",
}
_WRITES = re.compile(r"\b(?:INSERT INTO|UPDATE|DELETE FROM) ([a-z_]+)\b")


def _files(*folders: str) -> list[Path]:
    files = [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]
    assert files
    return files


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def test_no_two_modules_have_the_same_name() -> None:
    counts = Counter(path.name for path in _files(*PRODUCT) if path.name not in ONE_PER_FOLDER)
    assert {name: count for name, count in counts.items() if count > 1} == {}
    tests = Counter(path.name for path in _files("tests") if path.name.startswith("test_"))
    assert {name: count for name, count in tests.items() if count > 1} == {}


def test_files_and_folders_stay_small() -> None:
    files = [ROOT / "app.py", *_files(*PRODUCT, "tests")]
    lengths = {_name(path): path.read_text("utf-8").count("\n") for path in files}
    assert {name: lines for name, lines in lengths.items() if lines > 400} == {}
    folders = Counter(_name(path.parent) for path in files)
    assert {name: count for name, count in folders.items() if count > 22} == {}


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def test_functions_stay_short() -> None:
    lengths = sorted(
        (function.end_lineno or function.lineno) - function.lineno + 1
        for path in [ROOT / "app.py", *_files(*PRODUCT)]
        for function in _functions(path)
    )
    assert statistics.median(lengths) <= 8
    assert lengths[int(0.95 * len(lengths))] <= 25


@pytest.mark.parametrize("folder", ["core", "runner", "pages"])
def test_no_kind_of_job_is_compared_with_a_string(folder: str) -> None:
    """Whoever needs to know what a kind can do asks its row in core/kinds.py."""
    names = {kind.name for kind in kinds.KINDS}
    assert len(names) >= 5
    wrong = []
    for path in _files(folder):
        if _name(path) == "core/kinds.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            compared = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
            keys = node.keys if isinstance(node, ast.Dict) else []  # a table by kind is a comparison, too
            cases = [node.value] if isinstance(node, ast.MatchValue) else []
            for part in (*compared, *keys, *cases):
                texts = {inner.value for inner in ast.walk(part) if isinstance(inner, ast.Constant)} if part else set()
                if found := names & {text for text in texts if isinstance(text, str)}:
                    wrong.append(f"{_name(path)}:{node.lineno} {', '.join(sorted(found))}")
    assert wrong == []


def test_each_table_is_written_by_one_module() -> None:
    writers: dict[str, set[str]] = defaultdict(set)
    for path in _files("core", "runner", "pages", "tools"):
        if path.name == "migrations.py":
            continue
        tree = ast.parse(path.read_text("utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for table in _WRITES.findall(node.value):
                    writers[table].add(_name(path))
    assert {table: names for table, names in writers.items() if len(names) > 1} == {}
    for table, owner in OWNERS.items():
        assert writers.get(table, {owner}) == {owner}
    assert {"jobs", "job_history", "messages", "runners", "scores", "artifacts"} <= set(writers)
