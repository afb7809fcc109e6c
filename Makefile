# Everything runs in .venv; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# requirements.txt decides when .venv is made anew.
READY := $(VENV)/.ready

.PHONY: demo test lint bench-eval clean

$(READY): requirements.txt
	$(PYTHON) -c "import sys; sys.exit('SPOT needs Python 3.11 or newer: make PYTHON=python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

demo: $(READY)  ## synthetic data, three trainings, the table (under 5 minutes on 2 cores)
	$(BIN)/python tools/demo.py

test: $(READY)
	$(BIN)/python -m pytest

bench-eval: $(READY)  ## speed of the evaluation at ActivityNet size
	$(BIN)/python tools/bench_eval.py

lint: $(READY)
	$(BIN)/ruff check .

clean:
	rm -rf $(VENV) runs data/demo
