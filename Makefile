# The verbs of the house. Each one is a script in scripts/; what they share is in scripts/lib.sh.
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test build static cluster stop psql install installcheck bench torture fuzz controls fmt lint clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## play one batch through the whole line (BATCH_CSV=file, REPLAY=milliseconds a row)
	@scripts/demo

test: ## everything that CI runs
	@scripts/test

build: ## build the programs and package the extension for PG_CONFIG
	@scripts/ensure-tools
	@scripts/build

static: ## build bcverify as one file without libraries, to hand to an auditor
	@scripts/static

cluster: build ## start the private PostgreSQL and write .run/env
	@scripts/cluster
	@cat .run/env

stop: ## stop what demo and cluster started
	@scripts/stop

psql: ## open psql on the private cluster as its superuser
	@scripts/psql

install: ## copy the built extension into the PostgreSQL of PG_CONFIG (as root)
	@scripts/install

installcheck: ## run pg_regress against the running server (PGHOST and PGPORT, else the private cluster)
	@scripts/installcheck $(TESTS)

bench: build ## measure: every figure a ratio of one run
	@scripts/bench

torture: build ## kill and restart each part of the line many times over (ROUNDS=100)
	@scripts/torture

fuzz: ## run the fuzz targets of the ledger (FUZZ_SECONDS=60 each)
	@scripts/fuzz

controls: ## write docs/controls.md from the tests' comments and their last results
	@scripts/controls

fmt: ## format the Rust code
	@cargo fmt --all

lint: ## rustfmt, clippy, shellcheck and cargo deny, as the tests run them
	@scripts/ensure-tools --lint
	@scripts/lint

clean: ## stop, and remove what was built, the private cluster and its data
	@scripts/clean
