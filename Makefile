# Everything a newcomer needs: `make recommend` and `make test`. Each sets up .venv on its first run.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# one backbone a family, small enough to be measured in about two minutes on two cores
HANDFUL := resnet18 vgg11_bn efficientnet_b0 mobilenetv3_large_100 mobilenetv2_100

# the pages open in Debian's chromium; without it their tests skip and say so
APT_PACKAGES := chromium

.PHONY: recommend test check setup format data examples clean help

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

recommend: setup ## measure a handful of backbones on this machine, then answer for edge and 5,000 images
	@$(BIN)/selector profile $(HANDFUL) --runtime onnxruntime --freeze last-3,head
	@$(BIN)/selector recommend --hardware edge --data-size 5000

test: setup ## run all tests
	@command -v chromium >/dev/null || $(MAKE) --no-print-directory chromium
	$(BIN)/python -m pytest

check: setup ## what CI holds: format, lint, types, import contract, tests
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(MAKE) --no-print-directory test

format: setup ## format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

data: setup ## derive the catalog's facts again from timm and torchvision
	$(BIN)/python -m selector.backbones.derive

setup: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 11) else f"selector needs Python 3.11 or newer, {sys.executable} is {v[0]}.{v[1]}; try: make PYTHON=python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) (torch is large: some minutes on the first run)" >&2
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

# only as root on a Debian machine, as in CI; elsewhere the page's tests skip with the reason
chromium:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq $(APT_PACKAGES) >/dev/null; \
	else echo "no chromium here: the tests that open the page will be skipped" >&2; fi
.PHONY: chromium

clean: ## remove what make has made
	rm -rf $(VENV) dist build .pytest_cache .mypy_cache .ruff_cache
