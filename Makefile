# make demo, make test: all that a fresh machine needs. See CONTRIBUTING.md.
.PHONY: help demo test style types pytest bench docs clean setup

help:
	@echo "make demo    pulses and interference through the whole service"
	@echo "make test    style, types and tests"
	@echo "make bench   benchmarks"
	@echo "make docs    the documentation, into site/"
	@echo "make clean   remove what make made, .venv too"

demo: setup
	.venv/bin/mlppa demo

test: style types pytest

style: setup
	.venv/bin/ruff check
	.venv/bin/ruff format --check

types: setup
	.venv/bin/mypy

pytest: setup
	.venv/bin/python -m pytest

bench: setup
	.venv/bin/python -m pytest benchmarks

docs: setup
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

clean:
	rm -rf .venv site dist build demo-out .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks

setup:
	@sh deploy/setup.sh
