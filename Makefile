# The two commands of a newcomer: `make demo` and `make test`. Everything else is `biaoshi --help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
DEMO_OPTIONS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-once test install clean

help: ## show these lines
	@awk -F ': .*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter (3.11 or newer),"
	@echo "  DEMO_OPTIONS='--base-port 20000' is passed on to \`biaoshi demo\`."

demo: $(VENV)/.installed ## start four nodes, register 1,000 products, resolve some, stay until Ctrl-C
	@$(BIN)/biaoshi demo $(DEMO_OPTIONS)

demo-once: $(VENV)/.installed ## the same, check every answer, exit
	@$(BIN)/biaoshi demo --once $(DEMO_OPTIONS)

test: $(VENV)/.installed-test ## ruff, mypy --strict and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q

install: $(VENV)/.installed ## make the virtual environment with the command biaoshi in it

clean: ## remove the virtual environment and the demo's data
	rm -rf $(VENV) .demo

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "error: $(PYTHON) is not installed"; \
	  echo "  try: sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "error: `$(PYTHON) --version` is too old, 3.11 or newer is needed"; \
	  echo "  try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "error: $(PYTHON) cannot make a virtual environment: python3-venv is missing"; \
	  echo "  try: sudo apt-get install python3-venv"; exit 1; }
	@echo "making the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(VENV)/bin/python
	@echo "installing biaoshi into $(VENV) (a minute the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml | $(VENV)/.installed
	@echo "installing what the tests need"
	@$(PIP) --editable '.[test]'
	@touch $@
