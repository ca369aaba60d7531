# Everything a newcomer needs; `make` alone explains itself. Each target first installs what it misses (tools/setup.sh).
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
BIN := .venv/bin

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install what is missing: system packages with apt, then .venv (a second run installs nothing)
	@tools/setup.sh

.PHONY: demo
demo: setup ## three gateways with real software TPMs enrol, prove themselves over MQTT, are updated and catch attackers
	@$(BIN)/medvouch-sim demo

.PHONY: test
test: setup ## run all tests with branch coverage, and hold the coverage gate
	@mkdir -p build
	$(BIN)/python -m pytest -n 4 --dist loadfile --cov --cov-branch --cov-report= --junitxml=build/junit.xml
	$(BIN)/coverage json --quiet -o build/coverage.json
	$(BIN)/python tools/coverage_gate.py build/coverage.json

.PHONY: coverage
coverage: setup ## show the lines and branches that the last `make test` left out, and the gate
	$(BIN)/coverage report --show-missing
	$(BIN)/coverage json --quiet -o build/coverage.json
	$(BIN)/python tools/coverage_gate.py build/coverage.json

.PHONY: lint
lint: setup ## ruff (format and rules), mypy strict, import-linter
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy tools
	$(BIN)/lint-imports

.PHONY: crashes
crashes: setup ## cut the power at every point of an update, with every write that the disk may lose by then
	@mkdir -p build
	MEDVOUCH_CRASHES=all $(BIN)/python -m pytest -q -s tests/integration/site/test_crashes.py tests/integration/site/test_parts_crashes.py --junitxml=build/crashes.xml

.PHONY: bench
bench: ## measure agent, verifier, updates and a fleet, into build/bench.json
	@tools/setup.sh --bench
	@mkdir -p build
	$(BIN)/python -m medvouch_sim.bench

.PHONY: mutants
mutants: setup ## switch off every guard in turn; its test in tests/guards.toml has to turn red
	$(BIN)/python tools/mutants.py

.PHONY: fuzz
fuzz: setup ## mutated inputs for every parser, a million in all, with atheris (installs it)
	@$(BIN)/python -c "import atheris" 2>/dev/null || $(BIN)/python -m pip install --quiet "atheris>=2.3"
	$(BIN)/python tools/fuzzing.py

.PHONY: catalogue
catalogue: setup ## write the catalogue of attacks into build/catalogue/, for any verifier
	$(BIN)/python tools/catalogue.py

.PHONY: deb
deb: setup ## build the agent's package for Debian 13 into build/deb/
	@$(BIN)/python tools/build_deb.py

.PHONY: image
image: deb ## build the gateway image for QEMU into build/image/ (as root, amd64; a second run finds it)
	@tools/image/bootstrap.sh
	@$(BIN)/python -m medvouch_sim.machine.building

.PHONY: image-smoke
image-smoke: image ## boot it with Secure Boot and a TPM: it proves itself, then it is tampered with
	@$(BIN)/python -m medvouch_sim.machine.smoke

.PHONY: capture
capture: image ## boot it in six ways and keep what it measured in firmware_fixtures/captures/
	@$(BIN)/python -m medvouch_sim.machine.capture

.PHONY: soak
soak: setup ## ten thousand quotes of one TPM, after which nothing is left loaded
	MEDVOUCH_QUOTES=10000 $(BIN)/python -m pytest -q tests/integration/test_swtpm_recovery.py -k leave_nothing

.PHONY: fixtures
fixtures: setup ## rebuild firmware_fixtures/, byte for byte the same
	$(BIN)/python -m medvouch_sim.fixtures

.PHONY: docs
docs: setup ## write docs/reference/ and the list of decisions anew from their sources
	$(BIN)/python tools/refusals_doc.py
	$(BIN)/python tools/attestation_doc.py
	$(BIN)/python tools/suit_doc.py
	$(BIN)/python tools/updates_doc.py
	$(BIN)/python tools/decisions_doc.py

.PHONY: clean
clean: ## remove build/ and all caches; .venv stays
	rm -rf build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage .coverage.*
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +
