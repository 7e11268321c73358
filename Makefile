# Everything that is done with this tree. `make` alone tells what there is.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory --no-builtin-rules

GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS  := -s -w -X github.com/plumb-gitops/plumb/pkg/service.version=$(VERSION)
SERVICES := $(notdir $(patsubst %/,%,$(dir $(wildcard services/*/main.go))))
FUZZTIME ?= 20s
# Generators at the versions of proto/tools/go.mod; run in proto/.
BUF      := $(GO) tool -modfile=tools/go.mod buf
say       = @printf '\033[1m==> %s\033[0m\n'

# The race detector needs a C compiler. Without one the tests run all the same.
RACE := $(if $(shell command -v $${CC:-cc} 2>/dev/null),-race)

##@ Use

.PHONY: help
help: ## Tell what there is to make
	@awk 'BEGIN { FS = ":.*## "; print "usage: make TARGET [NAME=VALUE]" } \
		/^##@/ { printf "\n\033[1m%s\033[0m\n", substr($$0, 5) } \
		/^[a-z\/-]+:.*## / { printf "  %-15s %s\n", $$1, $$2 }' Makefile

.PHONY: demo
demo: build ## Play Plumb on a real control plane and stay up; ONCE=1 ends after the scenarios
	$(say) 'demo: control plane, Git server, registry and Plumb on this machine'
	$(GO) build -o bin/demo ./integration/demo
	exec bin/demo $(if $(filter-out 0,$(ONCE)),--once)

.PHONY: test
test: check bin/plumb-kube ## Test everything: checks, units, races, integration on the real parts
	$(say) 'test: every package, with real NATS, Git and Kubernetes$(if $(RACE),, (no C compiler found: without the race detector))'
	$(GO) test $(RACE) -timeout 40m ./...
	$(say) 'test: the control plane that the tests use'
	PLUMB_KUBE=$(CURDIR)/bin/plumb-kube $(GO) -C integration/kube test -timeout 15m ./...

.PHONY: test-compose
test-compose: images bin/plumb-kube ## Try the images and docker-compose.yaml; needs a container engine, so not in test
	$(GO) test -tags compose -count=1 -timeout 10m -run Compose -v ./integration/deploy

.PHONY: bench
bench: build ## Measure the floors and Plumb in one run, as ratios, also as JSON; fails when a goal is missed
	$(say) 'bench: floors and Plumb interleaved; CASES=expression measures some'
	$(GO) build -o bin/bench ./integration/bench
	CGO_ENABLED=0 $(GO) build -o bin/nats-server github.com/nats-io/nats-server/v2
	exec bin/bench --version '$(VERSION)' --cases '$(CASES)' --markdown bin/bench.md

.PHONY: simulate
simulate: ## Simulate 100 clusters of 500 Applications on a real JetStream; fails when the cost model is off
	$(say) 'simulate: minutes on two processors; SCALE=flags for another fleet, as SCALE="--clusters 10"'
	$(GO) build -o bin/scale ./integration/scale
	exec bin/scale $(SCALE)

.PHONY: bench-compare
bench-compare: build ## Measure nine rounds against docs/performance.json; fails when something became worse by a fifth
	$(say) 'bench-compare: nine rounds; CASES=expression compares other cases'
	$(GO) build -o bin/bench ./integration/bench
	exec bin/bench --version '$(VERSION)' --rounds 9 --json bin/bench-compare.json --against docs/performance.json --cases '$(or $(CASES),^(fleet-200|quiet|hot-paths)$$)'

##@ Build

.PHONY: build
build: binaries bin/plumb-kube ## Build bin/plumb, one binary per service and bin/plumb-kube

.PHONY: binaries
binaries: ## Build bin/plumb and one binary per service, static
	$(say) 'build: $(SERVICES), version $(VERSION)'
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ $(SERVICES:%=./services/%)

.PHONY: bin/plumb-kube
bin/plumb-kube: ## Build the real control plane; the first time takes about ten minutes
	$(say) 'build: plumb-kube (Kubernetes from source, kept in the build cache; about 11 minutes the first time)'
	integration/kube/build.sh bin/plumb-kube

.PHONY: images
images: binaries ## Build container images plumb/<service> and plumb/nats; needs Docker
	$(say) 'images: plumb/*:$(VERSION), from scratch, nothing is pulled'
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '-s -w' -o bin/nats-server github.com/nats-io/nats-server/v2
	for service in $(filter-out plumb,$(SERVICES)) nats-server; do
		image=plumb/$${service%-server}
		docker build -q -f deploy/Dockerfile --build-arg SERVICE=$$service -t $$image:$(VERSION) -t $$image:latest .
	done

.PHONY: clean
clean: ## Remove what was built here; Go's own caches stay
	rm -rf bin

##@ Work on it

.PHONY: quick
quick: ## Test the packages only, without races and integration
	$(GO) test ./pkg/...

.PHONY: check
check: vet fmt-check generated ## Look at the code without running it

.PHONY: vet
vet:
	$(say) 'check: go vet'
	$(GO) vet ./...
	$(GO) vet -tags failpoints ./...

.PHONY: fmt
fmt: ## Format Go and proto files
	gofmt -l -w pkg services integration deploy
	(cd proto && $(BUF) format -w)

.PHONY: fmt-check
fmt-check:
	$(say) 'check: gofmt'
	wrong=$$(gofmt -l pkg services integration deploy)
	[ -z "$$wrong" ] || { echo "not formatted, run make fmt:"; echo "$$wrong"; exit 1; }

.PHONY: generate
generate: ## Generate the code of proto/ and the Application CRD again
	$(say) 'generate: messages and API from proto/'
	(cd proto && $(BUF) lint && $(BUF) generate)
	$(say) 'generate: deep copies and CRD from pkg/app/v1alpha1'
	$(GO) generate ./pkg/app/v1alpha1

.PHONY: generated
generated:
	$(say) 'check: generated code is that of proto/ (builds buf the first time, about a minute)'
	fresh=$$(mktemp -d)
	trap 'rm -rf "$$fresh"' EXIT
	(cd proto && $(BUF) lint && $(BUF) generate -o "$$fresh")
	diff -r --exclude='*.proto' --exclude='buf*.yaml' --exclude=tools proto "$$fresh" || { echo 'run make generate'; exit 1; }

.PHONY: fuzz
fuzz: ## Run every fuzz target for FUZZTIME each
	@grep -rlE '^func Fuzz' --include='*_test.go' pkg | while read -r file; do
		for name in $$(sed -nE 's/^func (Fuzz[A-Za-z0-9]+).*/\1/p' "$$file"); do
			printf '\033[1m==> fuzz: %s in %s\033[0m\n' "$$name" "$${file%/*}"
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 20x "./$${file%/*}"
		done
	done
