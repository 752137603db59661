# underlay: what a person types. Each target sets itself up (tools/setup).
.PHONY: help demo test check bench screenshots clean

help:
	@echo "make demo    the main job on this machine (as root)"
	@echo "make test    all tests that this host can run"
	@echo "make check   format, lint, types, layers and unit tests"
	@echo "make bench   ours beside the rivals that are installed"
	@echo "make screenshots   the pictures of the site's guide (as root)"

demo:
	@tools/setup demo
	@tools/demo

test:
	@tools/setup test
	@tools/test

check:
	@tools/setup check
	.venv/bin/ruff format --check src tests tools bench
	.venv/bin/ruff check src tests tools bench
	.venv/bin/mypy
	PYTHONPATH=src .venv/bin/lint-imports
	.venv/bin/python -m pytest -q tests/unit tests/shape

bench:
	@tools/setup bench
	.venv/bin/python -m bench

screenshots:
	@tools/setup screenshots
	.venv/bin/python tools/screenshots.py

clean:
	rm -rf .venv* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache bench/results
