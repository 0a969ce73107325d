# Shortcuts for working on the toolkit; CONTRIBUTING.md explains them. Run them inside a virtual environment.

.PHONY: help install test lint types quickstart stress ci

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## install the toolkit from this checkout, with everything to develop it
	pip install -e '.[dev]'

test: ## run the tests
	pytest

lint: ## check style and format
	ruff check .
	ruff format --check .

types: ## check types
	mypy

quickstart: ## train two tasks on the embedded data set, in full
	mtp train --tasks det,caption

stress: ## kill, stop, damage and starve training runs, at length (Linux, an hour or two)
	python -m tests.stress.kills --kills 60 --workers 0 2 --processes 1 2
	python -m tests.stress.signals --signals 20 --workers 0 2 --processes 1 2
	python -m tests.stress.corruptions --corruptions 50
	python -m tests.stress.full_disk --times 20
	python -m tests.stress.bad_batches --bad 20
	python -m tests.stress.elastic --kills 3

ci: ## run what continuous integration runs, in fresh environments
	.ci/run
