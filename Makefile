# The two commands of a newcomer: `make demo` and `make test`. Everything else is `biaoshi --help`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The build back end warns that an editable installation is one: wanted, and nothing to read about.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input
DEMO_OPTIONS ?=
BENCH_OPTIONS ?=
# Where we are not root ourselves: AS_ROOT=sudo lets `make test` install what its tests need.
AS_ROOT ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo demo-once test test-tools api-check docs-page handle-pages bench bench-100m bench-ranges bench-counting bench-paging bench-writes bench-tools fuzz soak install clean

help: ## show these lines
	@awk -F ': .*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PYTHON=python3.12 chooses the interpreter (3.11 or newer),"
	@echo "  DEMO_OPTIONS='--base-port 20000' is passed on to \`biaoshi demo\`,"
	@echo "  BENCH_OPTIONS='--runs 1 --seconds 1' to the benchmarks."

demo: $(VENV)/.installed ## start four nodes, register 1,000 products, resolve some, stay until Ctrl-C
	@$(BIN)/biaoshi demo $(DEMO_OPTIONS)

demo-once: $(VENV)/.installed ## the same, check every answer, exit
	@$(BIN)/biaoshi demo --once $(DEMO_OPTIONS)

test: test-tools $(VENV)/.installed-test ## ruff, mypy --strict and pytest
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest -q

bench: $(VENV)/.installed bench-tools ## measure speed beside a C echo, Knot DNS and NSD (8 minutes)
	@$(BIN)/biaoshi loadtest bench --results loadtest/results $(BENCH_OPTIONS)

bench-100m: $(VENV)/.installed bench-tools ## 100 M rows in lots beside 1 M: 5 GB in .bench (12 minutes)
	@$(BIN)/biaoshi loadtest large --results loadtest/results $(BENCH_OPTIONS)

bench-ranges: $(VENV)/.installed bench-tools ## look-ups in 1 M ranges of 10,000 beside rows: 1 GB in .bench (7 minutes)
	@$(BIN)/biaoshi loadtest ranges --results loadtest/results $(BENCH_OPTIONS)

bench-writes: $(VENV)/.installed bench-tools ## single registrations, streams, look-ups beside them (5 minutes)
	@$(BIN)/biaoshi loadtest writes --results loadtest/results $(BENCH_OPTIONS)

bench-counting: $(VENV)/.installed-test ## what counters, histograms and statistics cost an answer (2 minutes)
	@$(BIN)/python -m tests.loadtest.counting --results loadtest/results

bench-paging: $(VENV)/.installed-test bench-tools ## pages of lists at 1 M and 100 M handles, one that nobody reads (1 minute)
	@$(BIN)/python -m tests.loadtest.paging --results loadtest/results

# Some tests watch system calls, speak with curl, or need the native batch and thus a compiler. What
# is missing is installed where that is possible, else those tests are skipped and say why. A new
# compiler has the package installed again, now with its native part.
test-tools: | $(VENV)/bin/python
	@missing=""; \
	command -v strace >/dev/null || missing="$$missing strace"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v cc >/dev/null || missing="$$missing gcc libc6-dev"; \
	$(BIN)/python -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' \
	  2>/dev/null || missing="$$missing python3-dev"; \
	test -z "$$missing" && exit 0; \
	if command -v apt-get >/dev/null && { test "$$(id -u)" = 0 || test -n "$(AS_ROOT)"; }; then \
	  echo "installing$$missing"; \
	  export DEBIAN_FRONTEND=noninteractive; \
	  $(AS_ROOT) apt-get update --quiet=2 && \
	  $(AS_ROOT) apt-get install --yes --quiet=2 --no-install-recommends $$missing >/dev/null && \
	  rm -f $(VENV)/.installed || echo "could not install$$missing: testing without"; \
	else echo "testing without$$missing; to have them: sudo apt-get install$$missing"; fi

# What is missing is installed where that is possible, else left out and named in the report.
# RUNLEVEL=1 keeps Debian from starting the name servers as services.
bench-tools:
	@command -v cc >/dev/null || { \
	  echo "error: the generator needs a C compiler"; \
	  echo "  try: sudo apt-get install gcc"; exit 1; }
	@missing=""; PATH="$$PATH:/usr/sbin"; \
	command -v wrk >/dev/null || missing="$$missing wrk"; \
	command -v knotd >/dev/null || missing="$$missing knot"; \
	command -v nsd >/dev/null || missing="$$missing nsd"; \
	test -z "$$missing" && exit 0; \
	if command -v apt-get >/dev/null && test "$$(id -u)" = 0; then \
	  echo "installing$$missing"; \
	  RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 $$missing >/dev/null || \
	    echo "could not install$$missing: measuring without"; \
	else echo "measuring without$$missing; to have them: sudo RUNLEVEL=1 apt-get install$$missing"; fi

fuzz: $(VENV)/.installed-test ## damaged messages, stores and rows, over a million, under AddressSanitizer
	@$(PIP) 'Cython>=3.1' 'setuptools>=77'
	CFLAGS='-O1 -g -fsanitize=address -fno-omit-frame-pointer' LDFLAGS=-fsanitize=address \
	  $(BIN)/python setup.py --quiet build_ext --force --build-lib build/asan --build-temp build/asan
	@for each in fuzz_fastpath:_batch fuzz_pages:_batch fuzz_rows:_rows; do \
	  LD_PRELOAD=$$($(CC) -print-file-name=libasan.so) PYTHONMALLOC=malloc \
	  ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 \
	  $(BIN)/python -m tests.fuzz.$${each%:*} --extension build/asan/resolver/$${each#*:}.*.so || exit 1; done

soak: $(VENV)/.installed-test ## kill a node 200 times in the middle of a stream of registrations
	@$(BIN)/python -m tests.streams.kills --kills 200

handle-pages: $(VENV)/.installed-test ## look at handles in Chromium, in Chinese and English, wide and narrow
	@$(BIN)/python -m tests.browser.handle_pages

api-check: $(VENV)/.installed-test ## schemathesis against a node, all phases (5 minutes)
	@BIAOSHI_API_EXAMPLES=20 BIAOSHI_API_PHASES=examples,coverage,fuzzing,stateful \
	  $(BIN)/pytest -q --timeout 1800 tests/interop/test_openapi.py

docs-page: $(VENV)/.installed-test ## look at /api/docs in chromium; leaves docs-page.png
	@BIAOSHI_PICTURES=$(CURDIR) $(BIN)/pytest -q tests/browser/test_docs_page.py

install: $(VENV)/.installed ## make the virtual environment with the command biaoshi in it

clean: ## remove the virtual environment and the demo's data
	rm -rf $(VENV) .demo .bench

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

$(VENV)/.installed: pyproject.toml setup.py $(wildcard resolver/*.pyx resolver/*.pxi) | $(VENV)/bin/python
	@echo "installing biaoshi into $(VENV) (a minute the first time)"
	@$(PIP) --editable .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed | test-tools
	@echo "installing what the tests need"
	@$(PIP) --editable '.[test]'
	@touch $@
