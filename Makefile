# Everything runs from a fresh machine: the environment is made on first use and reused after that.
VENV  := .venv
PY    := $(VENV)/bin/python
PIP   := $(PY) -m pip install --quiet --disable-pip-version-check -c constraints.txt
BASE  := $(VENV)/.installed-base
STAMP := $(VENV)/.installed

.PHONY: demo test check format clean

demo: $(BASE)    ## train a translator on the built-in streets and write its report
	$(PY) -m gesso demo

test: $(STAMP)   ## the whole test suite
	$(PY) -m pytest -n 2 --dist worksteal

check: $(STAMP)  ## format, lint, types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

format: $(STAMP)
	$(VENV)/bin/ruff format .
	$(VENV)/bin/ruff check --fix .

# What runs, for the demo; and on top of it what tests and formats. They say so, since pip is silent for minutes.
$(BASE): pyproject.toml constraints.txt
	@echo "installing gesso into $(VENV), some minutes the first time"
	test -x $(PY) || python3 -m venv $(VENV)
	$(PIP) -e .
	touch $@

$(STAMP): $(BASE)
	@echo "installing what tests and formats into $(VENV)"
	$(PIP) -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache
