# Every target does its own set-up. Nothing here is needed to use Pulumi by hand: eval "$(make -s env)" is enough.

STACK ?= local
# With any value: stacks of AWS are for the look-alike on this machine, with a Pulumi state of their own.
export REHEARSAL
# Arguments for pytest, for example: make test TESTS="tests/unit -k settings"
TESTS ?= tests

# The virtual environment's Python if there is one, else the first that is new enough.
ifeq ($(origin PYTHON),undefined)
PYTHON := $(shell for python in .venv/bin/python python3 python3.14 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && exit; done; echo python3)
endif
AIRGAP = $(PYTHON) -m airgap

# What follows runs with the project's tools, exactly as in a shell after eval "$(make -s env)".
WITH_TOOLS = tools="$$($(AIRGAP) env $(ENV_OPTIONS))" && eval "$$tools" &&
# Pulumi notes an encryption salt in the stack's file; it is taken out again whatever the outcome.
THEN_TIDY = ; outcome=$$?; $(AIRGAP) tidy && exit $$outcome

# Most tests wait for servers most of the time: two files at once take half as long. tests/conftest.py orders them.
SIDE_BY_SIDE = -n 2 --dist loadfile --no-loadscope-reorder

CHECKS = .venv/bin/ruff format --check . && .venv/bin/ruff check . && .venv/bin/mypy .

up preview refresh destroy status: ENV_OPTIONS = --stack $(STACK)
run-tests: ENV_OPTIONS = --development --without-pulumi

.PHONY: help up preview refresh destroy status rehearse end-rehearsal env check lint-workflows scan test test-long clean
.DEFAULT_GOAL := help

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo
	@echo '  STACK=NAME chooses the stack (default: local, see stacks/).'
	@echo '  eval "$$(make -s env)" makes this shell ready for pulumi up, preview, refresh and destroy by hand.'

up: ## deploy the stack, prove that it works, print how to connect
	@$(WITH_TOOLS) pulumi up --yes --stack $(STACK) && python -m ops verify --stack $(STACK) $(THEN_TIDY)

preview: ## show what up would change
	@$(WITH_TOOLS) pulumi preview --stack $(STACK) $(THEN_TIDY)

refresh: ## compare the state with what really exists
	@$(WITH_TOOLS) pulumi refresh --yes --stack $(STACK) $(THEN_TIDY)

destroy: ## remove everything the stack created, then the stack and its history
	@left=$$($(AIRGAP) stack-left $(STACK)) || exit; \
	if [ $$left = nothing ]; then echo "There is no stack $(STACK): nothing to destroy."; exit; fi; \
	$(WITH_TOOLS) { [ $$left = stack ] || pulumi destroy --yes --stack $(STACK); } && \
	$(AIRGAP) remove-stack $(STACK) $(THEN_TIDY)

status: ## print the live topology and whether it is healthy
	@$(WITH_TOOLS) python -m ops status --stack $(STACK)

rehearse: ## up on a look-alike of AWS on this machine: make rehearse STACK=aws-dev (others: make ... REHEARSAL=yes)
	@$(MAKE) --no-print-directory up STACK=$(STACK) REHEARSAL=yes

end-rehearsal: ## stop the look-alike of AWS and remove all that was rehearsed
	@$(PYTHON) -m airgap.aws_cloud stop && rm -rf .pulumi-state-rehearsal

env: ## print what a shell must export: eval "$(make -s env)"
	@$(AIRGAP) env --stack $(STACK) --select

check: ## format, lint, types, unit tests
	@$(AIRGAP) venv --development
	@$(CHECKS)
	@.venv/bin/python -m pytest tests/unit

lint-workflows: ## lint .github/workflows (needs Go)
	@go run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12

scan: ## look for weaknesses of the AWS stacks by a public scanner's rules (docs/aws.md)
	@$(AIRGAP) venv --development
	@.venv/bin/python -m pytest tests/aws_scan

test: ## every test but the long ones, set-up included
	@$(BESIDE_SET_UP) run-tests SELECTED='-m "not long"'

test-long: ## every test
	@$(BESIDE_SET_UP) run-tests

# Where there is no Pulumi CLI, building one keeps the processor busy for minutes: checks, and tests that mostly wait for
# servers, run beside it. Tests that need the CLI wait for it (tests/conftest.py).
BESIDE_SET_UP = $(MAKE) --no-print-directory -j 2 pulumi-cli

SELECTED =

.PHONY: pulumi-cli run-tests
pulumi-cli:
	@nice -n 19 $(AIRGAP) pulumi-cli

run-tests:
	@$(WITH_TOOLS) { $(CHECKS); } && python -m pytest $(SIDE_BY_SIDE) $(TESTS) $(SELECTED)

clean: ## remove the virtual environment and caches (stacks stay: make destroy)
	@rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis build dist *.egg-info components/*.egg-info
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
