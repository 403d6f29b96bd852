# Two commands do everything on a fresh machine: `make run` and `make test`.
.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# How many of the slowest tests `make test` names.
SLOWEST ?= 60

.PHONY: help setup run test test-fast test-exhaustive test-system prove-deployment cloud-demo simulate simulate-day bench images test-images locks check format oracle
.PHONY: docs clean scvi cellarium scimilarity cas-client

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## .venv with everything in it
	@tools/setup

run: setup ## real cells through the whole pipeline, and how their labels compare
	@$(BIN)/celldrop demo

oracle: setup ## an environment of its own for the CellTypist package, which the tests compare with
	@tools/peer-env oracle

scvi: setup ## an environment of its own for scvi-tools, which exhaustive tests compare with
	@tools/peer-env scvi

cellarium: setup ## an environment of its own for cellarium-ml, which exhaustive tests compare with
	@tools/peer-env cellarium

scimilarity: setup ## an environment of its own for SCimilarity, which exhaustive tests compare with
	@tools/peer-env scimilarity

cas-client: setup ## an environment of its own for the client of Cellarium CAS, which reads our results in tests/cas
	@tools/peer-env cas

test: setup oracle ## the whole suite
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not exhaustive" --durations $(SLOWEST) --durations-min 5

test-fast: setup ## without the slow ones
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m "not slow and not exhaustive"

test-exhaustive: setup scvi cellarium scimilarity cas-client ## every crash point, and every pair of them: an hour
	CELLDROP_REQUIRE_CAS_CLIENT=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m exhaustive

test-system: setup ## the pipeline that is deployed in a real project (docs/how-to/test-a-deployment.md)
	$(BIN)/python -m pytest -m system

prove-deployment: setup ## a throw-away deployment, tested and removed, with a report (PROJECT=…; without, on this machine)
	@$(BIN)/python -m tests.prove $(if $(PROJECT),--project $(PROJECT),--local) $(PROVE)

cloud-demo: setup ## the deployed pipeline on this machine: emulators, functions, a real file dropped in a bucket (FILE=…)
	@$(BIN)/python -m tests.cloud.local_cloud_demo $(FILE)

simulate: setup ## one simulated history, printed (SEED=4), or many, counted (HISTORIES=100000)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--histories $(or $(HISTORIES),1000) --workers $(WORKERS))

simulate-day: setup ## a simulated day of submissions: waits, cost, what was short (DAY="--seed 7 --vcpus 80 --gpus 3 …")
	@$(BIN)/python -m tests.simulation.day $(DAY)

bench: setup oracle ## against CellTypist, scanpy and h5py, whole processes in turns: half an hour, quiet machine (BENCH="--turns 1")
	@$(BIN)/python -m benchmarks.annotation $(BENCH)
	@$(BIN)/python -m benchmarks.reading celldrop-out/bench

images: ## the container images, tagged with the commit (TYPES=standard|cuda|both TAG=… REPOSITORY=… to push)
	@docker/build $(or $(TYPES),standard) $(or $(TAG),$(shell git rev-parse --short HEAD)) $(REPOSITORY)

test-images: setup ## the images that were built of this tree, and the workflow engine on them
	CELLDROP_REQUIRE_IMAGES=1 $(BIN)/python -m pytest tests/images tests/cromwell

locks: ## what the images install, resolved anew with its hashes
	@tools/lock-images

check: setup ## format, lint, types, dependency rules; workflows, scripts, images, flavors
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@VENV=$(VENV) tools/lint

format: setup ## fix what can be fixed automatically
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: setup ## write the generated pages of docs/reference anew
	$(BIN)/python tools/reference_docs.py
	$(BIN)/python tools/firestore_indexes.py

clean: ## remove build files, keep results
	rm -rf $(VENV) .venv-oracle .venv-scvi .venv-cellarium .venv-scimilarity .venv-cas .mypy_cache .ruff_cache .pytest_cache .hypothesis
