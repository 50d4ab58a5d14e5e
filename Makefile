# The commands of this repository; `make` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
CARGO ?= cargo
KEEP ?=
TIME ?= 15
ARGS ?=
RABBITMQ ?=
URL ?= http://127.0.0.1:9464/
PACKAGE ?=
ADVISORIES ?=
SUITE ?= sid
# Tests wait more than they work: for brokers, deadlines and processes that end.
RUST_TEST_THREADS ?= $(shell expr 4 '*' $$(nproc))
export RUST_TEST_THREADS

.PHONY: help demo test test-rabbitmq4 torture sabotage fuzz bench limits lint doc deny alerts ci pictures profile deb deb-test sbom image

help: ## this list
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /\1\t/' | expand -t 16

demo: ## the whole system on this machine; KEEP=1 leaves it running
	@.ci/compiler
	$(CARGO) build --locked --bin callvault --example demo
	@KEEP=$(KEEP) $${CARGO_TARGET_DIR:-target}/debug/examples/demo

test: ## the whole suite; ARGS=name runs what is named so
	@.ci/compiler
	@echo "A RabbitMQ node, an S3 server and Chromium are fetched where absent (as root, on Debian)."
	$(CARGO) test --workspace --locked $(or $(ARGS),--lib --bins --tests)

# What is about CC-FS, the store, the log, the commands or the worker's own rules, to which the broker only
# brings the message.
ELSEWHERE := answers archive breakers canary ccfs circles complete dashboards deadline deploy duplicates helm http identifiers \
	least_privilege memory messages metrics package page readme reload resources rules sabotage schemas source store supply tenants \
	traces unpack vendor check::ccfs check::store \
	$(addprefix cli::,audit backfill config ends index init lists log pages reconcile refused sign status terminal usage)

test-rabbitmq4: ## the tests that have to do with RabbitMQ, on its version 4; ARGS=name as above
	@.ci/compiler
	@root=$$(.ci/debian-root sid); set -x; \
	CALLVAULT_TEST_RABBITMQ=$$root $(CARGO) test --locked --test it -- \
		$(or $(ARGS),$(ELSEWHERE:%=--skip %::))

fuzz: ## looks for bytes that break a promise; TIME=300 seconds a target, ARGS=wav one of them
	@.ci/compiler c++
	@TIME=$(TIME) KEEP=$(KEEP) fuzz/run $(ARGS)

torture: ## every trouble, counted: nothing lost; ARGS="--seed 7 --only NAME", --list
	@.ci/compiler
	$(CARGO) build --locked --bin callvault --example torture
	@$${CARGO_TARGET_DIR:-target}/debug/examples/torture $(ARGS)

sabotage: ## break one promise at a time: the tests must notice; ARGS=name for one
	@.ci/compiler
	@tests/sabotage/run $(ARGS)

bench: ## the worker beside a bare loop; ARGS='2MiB --rounds 5', RABBITMQ=4 on that version
	@.ci/compiler
	@$(if $(filter 4,$(RABBITMQ)),root=$$(.ci/debian-root sid); export CALLVAULT_TEST_RABBITMQ=$$root;) set -x; \
	$(CARGO) bench --locked --bench throughput -- $(ARGS)

limits: ## memory, leaks, isolation, scale against their bounds; ARGS='many dumps' names parts
	$(CARGO) bench --locked --bench limits -- $(ARGS)

lint: ## formatting and clippy, as CI does
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

doc: ## rustdoc; a warning is an error
	RUSTDOCFLAGS="-D warnings -A rustdoc::private-intra-doc-links" $(CARGO) doc --workspace --no-deps --document-private-items --locked

deny: ## licences, bans and sources of the dependencies, and advisories where they can be had
	@ADVISORIES=$(ADVISORIES) .ci/deny

alerts: ## the Prometheus rules and their tests
	@promtool=$$(.ci/tool promtool); cd deploy/prometheus; \
	"$$promtool" check config --syntax-only prometheus.yml; \
	"$$promtool" check rules recording.yml alerts.yml; \
	"$$promtool" test rules alerts_test.yml alerts_absent_test.yml

ci: ## everything CI checks
	@.ci/run

pictures: ## the README's, of the page of a worker that runs; URL=http://127.0.0.1:9464/
	@.ci/compiler
	$(CARGO) run --locked --example pictures -- $(URL) docs/images

profile: ## what runs in the program and how often, callvault.profdata: `make deb` and `make image` build by it
	@.ci/profile

deb: ## the Debian package, target/debian/callvault_….deb
	@.ci/compiler
	@.ci/program
	@deploy/debian/build $${CARGO_TARGET_DIR:-target}/release/callvault

deb-test: ## a package in a clean Debian: installed, run, purged; PACKAGE=file, SUITE=bookworm
	@.ci/compiler
	@package="$(PACKAGE)"; \
	if [ -z "$$package" ]; then \
		set -x; \
		rm -rf target/debian/debug; \
		$(CARGO) build --locked --bin callvault; \
		deploy/debian/build $${CARGO_TARGET_DIR:-target}/debug/callvault target/debian/debug --fast; \
		package=$$(ls target/debian/debug/callvault_*.deb); \
	fi; \
	deploy/debian/try "$$package" $(SUITE)

sbom: ## what the program is built from, with licences: target/sbom/callvault.cdx.json
	@.ci/sbom

image: ## the container image callvault:dev
	docker build --build-arg CALLVAULT_REVISION=$$(git rev-parse --short=12 HEAD) --tag callvault:dev .
