"""Who may import whom: the architecture, held by a test."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FORBIDDEN = {
    "core": {"streamlit", "torch", "h2o", "runner", "pages"},
    "runner": {"streamlit", "pages"},
    "pages": {"runner", "torch", "h2o", "duckdb"},
    "app.py": {"runner", "torch", "h2o", "duckdb"},
}


def _imports(path: Path) -> set[str]:
    """Every package that a file imports, at its top or inside its functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("part", FORBIDDEN)
def test_no_part_imports_what_it_must_not(part: str) -> None:
    path = ROOT / part
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): bad for file in files if (bad := _imports(file) & FORBIDDEN[part])}
    assert wrong == {}


def test_only_the_store_and_the_readers_of_tables_import_duckdb() -> None:
    users = {path.name for path in (ROOT / "core").glob("*.py") if "duckdb" in _imports(path)}
    opened = {path.name for path in (ROOT / "core").glob("*.py") if "duckdb.connect" in path.read_text()}
    assert "db.py" in opened
    assert all("ATTACH" not in (ROOT / "core" / name).read_text() for name in users - {"db.py"})
    assert "duckdb" not in {name for path in (ROOT / "runner").rglob("*.py") for name in _imports(path)}


@pytest.mark.parametrize(
    ("module", "heavy"),
    [
        ("runner.supervisor", {"duckdb", "pydantic", "numpy", "pandas", "h2o", "torch"}),
        ("runner.__main__", {"h2o", "torch", "sklearn", "streamlit"}),
        ("core.__main__", {"h2o", "torch", "sklearn", "streamlit"}),
    ],
)
def test_a_process_loads_no_more_than_it_needs(module: str, heavy: set[str]) -> None:
    code = f"import sys, {module}; print(*sorted({heavy!r} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.split() == []
