# Tidegate: the commands of the project. `make help` lists them.

# Build output: where the environment says; in CI a place that survives fresh clones.
ifdef CI
export CARGO_TARGET_DIR ?= $(HOME)/.cache/tidegate/target
endif
TARGET := $(or $(CARGO_TARGET_DIR),target)
BINARY := $(TARGET)/release/tidegate

# Length and seed of the simulated market of `make run`.
SECONDS ?= 120
SEED ?= 1
# How many times faster than the market `make run` replays it: at a pace, so that latencies mean something.
SPEED ?= 20
# The same where somebody watches.
WATCH ?= 2
# Captures to replay instead: make run INPUT="spot.gz usdm.gz"
INPUT ?=
# How long `make live` lasts, seconds.
LIVE_SECONDS ?= 25
# Where `make dist` puts its archives, the binary that goes into them, and the log of a test run for their report:
# make test 2>&1 | tee test.log && make dist LOG=test.log
DIST ?= dist
PACKED ?= $(BINARY)
LOG ?=
# Time of each fuzz target, seconds.
FUZZ_SECONDS ?= 60

.DEFAULT_GOAL := help
.PHONY: help run live build runtime test lint doc deny bench bench-quick loom miri fuzz dist clean

help: ## List the commands
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

build: ## Build the engine (release)
	cargo build --release --locked -p tidegate

runtime: ## Fetch ONNX Runtime's library out of its PyPI wheel (pinned, hash-checked); models need it
	@python3 tools/setup/onnxruntime.py "$(TARGET)/onnxruntime" || { [ -z "$$CI" ] && true; }

run: build runtime ## Run the whole pipeline on a simulated market, or on INPUT="FILES"; with a terminal until Ctrl-C
	@SECONDS_SIMULATED=$(SECONDS) SEED=$(SEED) SPEED=$(SPEED) WATCH=$(WATCH) \
	    bash tools/tidegate/examples/run.sh $(BINARY) $(INPUT)

live: build ## The engine on the simulated exchange over TLS, with faults, for LIVE_SECONDS
	cargo build --release --locked -p tidegate-simex --features server --bin simex
	bash tools/simex/examples/live.sh $(TARGET)/release/simex $(BINARY) $(LIVE_SECONDS)

test: runtime ## Everything CI runs: format, lints, tests, docs, loom, a bounded fuzz run
	bash tests/run.sh

lint: ## Format and lints
	cargo fmt --all --check
	cargo clippy --locked --workspace --features tidegate/anchor --all-targets -- -D warnings

doc: ## API documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --features tidegate/anchor --no-deps --document-private-items

# Advisories are not checked: their database is no package of the registry, and nothing here is fetched from elsewhere.
deny: ## Licences, bans and sources of dependencies (installs cargo-deny)
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny
	cargo deny check licenses bans sources

bench: ## Every speed bar as a ratio against peers in the same run
	cargo build --release --locked -p tidegate
	cargo build --release --locked -p tidegate-simex --features server --bin simex
	cargo run --release --locked -p tidegate-bench --bin rigs

bench-quick: ## The same at tiny size: do the rigs work?
	cargo run --quiet --locked -p tidegate-bench --bin rigs -- --quick

loom: ## Model-check rings and cells (about half a minute)
	cd engine/wire && RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR="$(abspath $(TARGET))/loom" cargo test --release --locked --lib loom

miri: ## Undefined behaviour in rings, cells and decimals; needs a nightly toolchain with miri
	bash tests/miri.sh || [ $$? -eq 77 ]

fuzz: ## Coverage-guided fuzzing of decoders and readers, FUZZ_SECONDS each; needs a C++ compiler
	bash tests/fuzz/run.sh $(FUZZ_SECONDS) || [ $$? -eq 77 ]

# PACKED=target/debug/tidegate packs what is there already, and builds nothing.
dist: $(if $(filter-out $(BINARY),$(PACKED)),,build) ## Archives of the engine in dist/, for hosts that have nothing of it
	@python3 tools/setup/onnxruntime.py "$(TARGET)/onnxruntime"
	@python3 tools/dist/report.py --binary "$(PACKED)" --out "$(DIST)" $(if $(LOG),--log "$(LOG)")
	@python3 tools/dist/dist.py --binary "$(PACKED)" --onnxruntime "$(TARGET)/onnxruntime" --documents "$(DIST)" \
	    --out "$(DIST)"

clean: ## Remove build output and what `make run` wrote
	cargo clean
	rm -rf run
