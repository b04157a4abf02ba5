# One command for each thing a person does. `make` alone lists them.
SHELL := bash

TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)

.PHONY: help
help:
	@echo "make demo       the main job before your eyes: [DATABASE=sqlite|postgres] [ONCE=1]"
	@echo "make test       everything that continuous integration runs"
	@echo "make build      $(TARGET_DIR)/release/mainstay, with the dashboard inside"
	@echo "make dashboard  the dashboard alone, into dashboard/dist"
	@echo "make crash      kill -9, power cuts, database stops: [ROUNDS=200] [DATABASE=sqlite|postgres|both]"
	@echo "make bench      every bar, measured on both databases: [DATABASE=…] [EVENTS=…] [MINUTES=…]"
	@echo "make bench-peers  no-op jobs through Mainstay and through other job queues: [JOBS=200000] [ROUNDS=1] [ONLY=…]"
	@echo "make sim        the engine against a model with everything going wrong, from seeds: [SEEDS=100000]"
	@echo "make fuzz       every fuzz target, led by coverage: [EXECUTIONS=10000000] [SECONDS=900] [TARGET=…] [INPUT=…]"
	@echo "make paint      how soon the dashboard's pages show something, on the demo's data: [DATABASE=sqlite|postgres]"
	@echo "make coverage   which lines the tests run"

.PHONY: test
test:
	@tools/test

.PHONY: dashboard
dashboard:
	@tools/setup node
	@tools/dashboard

.PHONY: build
build: dashboard
	@tools/setup rust
	cargo build --locked --release -p mainstay-server

# The binary with the dashboard inside, and the proofs beside it.
.PHONY: proofs
proofs: dashboard
	@tools/setup rust
	cargo build --locked --release -p mainstay-server -p mainstay-proof

# Built to be ready soon, not to be fast: nothing is measured here.
.PHONY: demo
demo: dashboard
	@tools/setup rust
	cargo build --locked --profile demo -p mainstay-server -p mainstay-proof
	@if [ "$(DATABASE)" = postgres ]; then tools/setup postgres; fi
	@$(TARGET_DIR)/demo/demo

.PHONY: crash
crash: proofs
	@if [ "$(DATABASE)" != sqlite ]; then tools/setup postgres; fi
	@$(TARGET_DIR)/release/crash

.PHONY: bench
bench: build
	@tools/setup postgres
	@tools/bench

.PHONY: bench-peers
bench-peers: build
	@tools/setup postgres redis python
	@tools/bench-peers

.PHONY: sim
sim:
	@tools/setup rust
	MAINSTAY_SIM_SEEDS=$(or $(SEEDS),100000) cargo test --locked --release -p mainstay --lib whatever_goes_wrong

.PHONY: fuzz
fuzz:
	@SECS='$(or $(SECONDS),$(SECS))' tools/fuzz

.PHONY: paint
paint: proofs
	@tools/setup chromium
	@if [ "$(DATABASE)" = postgres ]; then tools/setup postgres; fi
	@THEN="cd dashboard && npm run --silent paint" $(TARGET_DIR)/release/demo

.PHONY: coverage
coverage:
	@tools/coverage
