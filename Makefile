# One command installs all and runs the main job (make demo), one installs all and passes the tests (make test).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: install demo test deploy-check lint format clean

install: $(VENV)/.installed

# Everything in one resolve, so that torch and torchvision are chosen together.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python >= 3.11 is needed; name one with make PYTHON=python3.11 ..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --progress-bar off -q -e '.[dev]'
	@touch $@

demo: install
	$(BIN)/recsys demo $(ARGS)

# Whole files are dealt to as many processes as there are cores; make test ARGS="-n 0 ..." stays in one.
test: install
	$(BIN)/python -m pytest -n auto --dist loadfile $(ARGS)

# What deploy/ promises, by what of systemd, nginx and promtool is there; the service's image is built in a folder.
deploy-check: install
	DEPLOY_CHECK=1 $(BIN)/python -m pytest tests/serving/deploy $(ARGS)

lint: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .recsys build dist *.egg-info
