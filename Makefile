# Each target sets up all that it needs: Python 3.11 or later and make are enough.
PYTHON ?= python3
BIN := .venv/bin
PORT ?= 5000
WORKSPACE ?= mlruns

PROCESSES ?= 2
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist loadfile
# They start clusters, which give up where they wait long for a processor.
CLUSTERS := tests/executors tests/sweeps/test_cluster_jobs.py

EXTRAS := lora openvino postgresql ray s3 slurm tabpfn transformers tsne xgboost

.PHONY: help run test test-all test-rest test-server check ui benchmark requirements $(EXTRAS)

help: ## these targets
	@sed -nE 's/^([a-z-]+|\$$\(EXTRAS\)):.*## (.*)/\1\t\2/p' Makefile | sed 's/^$$(EXTRAS)/$(EXTRAS)/' | expand -t 14

run: .venv/ready ## the demo sweep: three trained encoders x two crop sizes on drawn images
	$(BIN)/python -m src.run -m experiment=demo

test: .venv/ready ## the tests that take seconds each: less than ten minutes on two cores
	$(PYTEST) -m "not slow"

test-all: .venv/ready ## all tests, the slow ones too; those of extras where these are installed
	$(PYTEST)

test-rest: .venv/extras ## the tests that `make test` leaves out: slow ones, and those of extras, which this installs
	$(PYTEST) -m "slow or extra" -n 0 $(CLUSTERS)
	$(PYTEST) -m "slow or extra" $(CLUSTERS:%=--ignore=%)

test-server: .venv/server ## the team's server on a PostgreSQL of this machine (apt-get install postgresql), its files, its pages
	$(BIN)/python -m pytest tests/server

check: .venv/ready ## lint, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: .venv/ready ## MLflow's pages on mlruns/, or on another WORKSPACE=, at http://127.0.0.1:5000, or another PORT=
	@MLFLOW_DISABLE_TELEMETRY=true $(BIN)/python -m src.tracking.ui "$(WORKSPACE)" $(PORT)

benchmark: .venv/extras ## speed, as ratios to something run beside it
	$(BIN)/python -m tests.benchmarks

requirements: .venv/ready ## pin what pyproject.toml asks for
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev pyproject.toml -o requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev $(EXTRAS:%=--extra %) --group server-tests --group benchmarks -c requirements.txt pyproject.toml -o requirements-extras.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group server-tests -c requirements-extras.txt -o docker/requirements.txt

$(EXTRAS): .venv/ready ## what an option needs besides: LoRA, a faster encoder on CPUs, a database of studies, a Ray cluster, a store on S3, Slurm, TabPFN, transformers, t-SNE, XGBoost
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r pyproject.toml --extra $@ -c requirements-extras.txt

.venv/ready: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Tenfold needs Python 3.11 or later; give one with make PYTHON=...") if sys.version_info < (3, 11) else 0'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -r requirements.txt
	touch $@

.venv/server: .venv/ready docker/requirements.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r docker/requirements.txt
	touch $@

.venv/extras: .venv/ready requirements-extras.txt
	$(BIN)/uv pip install --quiet --python $(BIN)/python -r requirements-extras.txt
	touch $@
