# Shortcuts for working on the toolkit; CONTRIBUTING.md explains them. Run them inside a virtual environment.

.PHONY: help install test lint types quickstart ci

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

ci: ## run what continuous integration runs, in fresh environments
	.ci/run
