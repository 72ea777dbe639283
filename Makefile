# The two commands a new user needs: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
.DEFAULT_GOAL := run
.PHONY: run test check browser bench bench-gpu clean

$(VENV)/runs: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PYTHON=")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/tests: $(VENV)/runs tests/requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r tests/requirements.txt
	@touch $@

# The dashboard and the runner together. Ctrl-C ends both, the runner ends its jobs, each job ends its Java.
run: $(VENV)/runs
	@trap 'kill $$runner $$web 2>/dev/null' INT TERM HUP EXIT; \
	$(BIN)/python -m runner & runner=$$!; \
	$(BIN)/python -m streamlit run app.py & web=$$!; \
	wait; wait

# Everything: lint, types, all tests with real H2O runs, kill drills and the pages in Chromium.
test: $(VENV)/tests browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 3 -m "not slow"
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not h2o and not browser"
	$(BIN)/python -m pytest -m "slow and (h2o or browser)"

# Lint, types and the quick tests: three at a time on two cores, since many of them wait.
check: $(VENV)/tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 3 -m "not slow"

browser:
	@command -v chromium chromium-browser google-chrome >/dev/null || { \
	  echo "Installing Chromium for the browser tests"; \
	  root=$$( [ $$(id -u) -eq 0 ] || echo sudo ); \
	  $$root apt-get update -qq && $$root apt-get install -y -qq chromium; }

# All figures of docs/benchmarks.md, or some: make bench PARTS="store pages".
bench: $(VENV)/tests
	$(BIN)/python -m tests.benchmarks $(PARTS)

# The engines' figures on a GPU, for docs/benchmarks.md.
bench-gpu: $(VENV)/tests
	$(BIN)/python -m tests.benchmarks.nas_steps --device cuda
	$(BIN)/python -m tests.benchmarks.fewshot_steps --device cuda

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
