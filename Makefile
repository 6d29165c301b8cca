# Everything runs in .venv; `make install` makes it and does nothing when it is current.

PYTHON ?= python3
VENV := .venv
INSTALLED := $(VENV)/.installed

.PHONY: help install demo test test-system system-ready torture check bench clean

help:
	@echo "make install  a .venv with everything, from the versions in constraints.txt"
	@echo "make demo     train on a real MRI scan until it has converged, and watch"
	@echo "make test     all tests that need no root"
	@echo "make test-system  what needs root and a real kernel: crashes at system calls, power cuts, full disks"
	@echo "make torture  what takes too long for make test: many rounds of random kills and interruptions"
	@echo "make check    ruff, mypy --strict, import-linter"
	@echo "make bench    the figures of docs/performance.md, as ratios taken in one run"

install: $(INSTALLED)

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "trainerd needs Python 3.11 or newer; name one: make install PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || \
	    { echo "this Python cannot make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev,demo]'
	touch $@

demo: install
	$(VENV)/bin/python -m demo.run

# Most tests wait for processes: two at a time keep two cores busy. What wants the machine for itself comes after them.
test: install
	$(VENV)/bin/python -m pytest -m 'not torture and not alone and not system' --numprocesses=2 --dist=loadfile --durations=15
	$(VENV)/bin/python -m pytest -m 'alone and not torture and not system' --durations=5

# In one process: what it does to disks and to other processes' system calls is not to be felt by another test.
test-system: system-ready install
	$(VENV)/bin/python -m pytest -m 'system and not torture' --durations=10

SYSTEM_PROGRAMS := strace mkfs.ext4 mount umount

# Says in one line all that is missing.
system-ready:
	@missing=; [ "$$(id -u)" = 0 ] || missing=" root"; \
	for program in $(SYSTEM_PROGRAMS); do command -v $$program >/dev/null || missing="$$missing $$program"; done; \
	[ -z "$$missing" ] || { echo "make test-system needs what is missing here:$$missing" \
	    "(on Debian, as root: apt-get install strace e2fsprogs util-linux mount)" >&2; exit 1; }

torture: install
	$(VENV)/bin/python -m pytest -m torture --timeout=3600 --durations=10

check: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: install
	$(VENV)/bin/python -m benchmarks

clean:
	rm -rf $(VENV) .demo configs/data
