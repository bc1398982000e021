# What people type. Everything here also works by hand with cargo; nothing is hidden.

SHELL := /usr/bin/env bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# scripts/setup.sh puts the AWS command line here when the machine has none.
ELASTICKV_TOOLS ?= $(HOME)/.cache/elastickv/tools
export PATH := $(ELASTICKV_TOOLS)/bin:$(PATH)

CARGO ?= cargo
# Arguments for the demo and the benchmark: make demo ARGS="--nodes 1"
ARGS ?=

.PHONY: help demo test bench fmt lint doc setup hooks clean

help: ## Say what there is to type
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS=$$'\t' read -r name text; do printf '  make %-6s  %s\n' "$$name" "$$text"; done

demo: ## A three-node cluster in one process: Redis 63791-63793, DynamoDB 8000, gRPC 50051
	@scripts/setup.sh build
	@$(CARGO) run --quiet --release --package demo --bin elastickv-demo -- $(ARGS)

test: ## Everything that must hold before a change is pushed
	@$(MAKE) --no-print-directory lint
	@echo "== build"
	@$(CARGO) build --quiet --workspace --bins --tests
	@echo "== tests"
	@if $(CARGO) nextest --version >/dev/null 2>&1; then $(CARGO) nextest run --workspace --no-fail-fast; else $(CARGO) test --workspace --lib --bins --tests --no-fail-fast; fi
	@echo "== examples in the documentation"
	@$(CARGO) test --quiet --workspace --doc
	@$(MAKE) --no-print-directory doc

bench: ## Throughput and latency beside Redis and etcd; ARGS=--write-docs renews docs/performance.md
	@scripts/setup.sh
	@$(CARGO) build --quiet --release --workspace --exclude simulation --bins
	@$(CARGO) run --quiet --release --package tests --bin bench -- $(ARGS)

fmt: ## Format the sources
	@$(CARGO) fmt --all

lint: ## Formatting and clippy, warnings are errors
	@echo "== format"
	@$(CARGO) fmt --all --check
	@echo "== clippy"
	@$(CARGO) clippy --quiet --workspace --all-targets -- -D warnings

doc: ## The API documentation, warnings are errors
	@echo "== documentation"
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --quiet --workspace --no-deps

setup: ## Install what is missing (apt, as root or with sudo)
	@scripts/setup.sh

hooks: ## Switch on the pre-commit hook of this clone
	@git config core.hooksPath .githooks
	@echo "pre-commit hook is on; off again: git config --unset core.hooksPath"

clean: ## Remove what was built; the demo's data stays
	@$(CARGO) clean
