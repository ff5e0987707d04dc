# CI runs the same commands as people do: .ci/run calls `make style`, `make test`, `make tidy`, `make ray-test` and
# `make demo`.
#
# You need python3 (3.11 or newer, with venv and headers), g++ and make. The build installs everything else,
# including cmake and ninja, into .venv in this folder.

PYTHON ?= python3
CXX ?= g++
# An extra index for torch, for example https://download.pytorch.org/whl/cpu on a machine without an NVIDIA GPU.
TORCH_INDEX ?=
# How many seconds `make fuzz` looks for bugs.
SECONDS ?= 600
# What builds images: docker, podman or buildah, the first that is here and works. Arguments for it, such as
# IMAGE_ARGS="--build-arg BASE=python:3.11-slim".
ENGINE ?= $(firstword $(foreach engine,docker podman buildah,$(shell $(engine) info >/dev/null 2>&1 && echo $(engine))))
IMAGE_ARGS ?=
IMAGE ?= trtserve:0.1.0-cpu
# Where `make install` makes a virtual environment for a service.
PREFIX ?= /opt/trtserve
# How many processes `make test` runs the tests in, if it runs all of them.
WORKERS ?= $(shell nproc)
# Extra arguments for the command behind a target such as `run` or `test`: make test ARGS="-k codec -x"
ARGS ?=

VENV := .venv
REQUIREMENTS := $(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")'
TORCH_FROM := $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CPP := $(shell find runtime_ext tests -name '*.cpp' -o -name '*.h')
TIDY := $(patsubst %.cpp,build/tidy/%,$(filter runtime_ext/%.cpp,$(CPP)))
# service/ under its import name, for tools that do not understand an editable install.
IMPORT := build/import/trtserve
# Each file's tests in one process, because they share servers; in order, because the files that take longest come first.
SIDE_BY_SIDE := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PROTO := $(wildcard service/*/*.proto)
BENCH_CPP := $(wildcard bench/*.cpp bench/gpu/*.cpp bench/gpu/*.h)
CMAKE := $(shell find runtime_ext tests -name CMakeLists.txt -o -name '*.cmake')
# The tensorrt backend needs these headers, so build again when their package is installed.
CUDA_CRT := $(wildcard $(VENV)/lib/python3*/site-packages/nvidia/cu*/include/crt/host_defines.h)

export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help check build install demo run test image image-test ray-test test-gpu verify-gpu generated console screenshots dashboard test-prometheus test-asan test-tsan onnx-suite hostile fuzz soak chaos power bench bench-steps bench-gpu lint style tidy format clean

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1\t\2/p' $(MAKEFILE_LIST) | expand -t 14

build: $(VENV)/.built ## create .venv, install dependencies, compile; later runs rebuild only what changed

install: check ## install into PREFIX=/opt/trtserve, an environment of its own for a service; needs no `make build`
	@echo "== install: $(PREFIX) (a download of about 300 MB, and minutes to compile)"
	@$(PYTHON) -m venv $(PREFIX)
	@$(REQUIREMENTS) > $(PREFIX)/build-requirements.txt
	@$(PREFIX)/bin/pip --disable-pip-version-check install -qq $(TORCH_FROM) -r $(PREFIX)/build-requirements.txt 'cmake>=3.25' ninja
	@PATH=$(abspath $(PREFIX))/bin:$$PATH $(PREFIX)/bin/pip --disable-pip-version-check install -qq --no-build-isolation \
	  --config-settings=build-dir=build/install '.[tracing]'
	@$(PREFIX)/bin/trtserve --version

demo: build ## start a service, upload a LeNet and pipelines around engines, compare HTTP with PyTorch, stop the service
	@$(BIN)/python examples/demo.py

run: build ## start the service on http://127.0.0.1:8000 (ARGS="--port 9000")
	@$(BIN)/trtserve serve $(ARGS)

test: build build/tools/.fetched ## run the tests on all cores, or some in one process (ARGS="-k codec")
	@echo "== tests"
	@$(BIN)/python -m pytest $(or $(ARGS),$(SIDE_BY_SIDE))

image: ## build the CPU image with docker, podman or buildah (IMAGE=name:tag IMAGE_ARGS="--build-arg …")
	@test -n "$(ENGINE)" || { echo "error: neither docker, podman nor buildah works here; on Debian: apt-get install buildah" >&2; exit 1; }
	@echo "== image: $(IMAGE), built by $(ENGINE)"
	@$(ENGINE) build $(if $(filter-out docker,$(ENGINE)),--format docker) --target cpu --tag $(IMAGE) $(IMAGE_ARGS) .

image-test: build image ## build the CPU image, and test it in containers with a read-only root (ARGS="-k sigterm")
	@ENGINE=$(ENGINE) IMAGE=$(IMAGE) $(BIN)/python -m pytest tests/image $(ARGS)

ray-test: build ## run the tests of the Ray Serve application on a real Ray, which it installs (75 MB, 290 MB unpacked)
	@echo "== tests on Ray"
	@$(PIP) install -qq $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["ray"])')
	@$(BIN)/python -m pytest tests/ray $(ARGS)

test-gpu: build ## run the tests that need an NVIDIA GPU; fails without one
	@REQUIRE_GPU=1 $(BIN)/python -m pytest tests/gpu $(ARGS)

verify-gpu: build ## run tests/gpu, some under compute-sanitizer, and bench-gpu; writes build/gpu/report (ARGS="tests bench")
	@tests/gpu/verify.sh $(if $(ARGS),$(ARGS),build tests memcheck racecheck bench)

soak: build ## run 200 clients for a minute while an engine is added and removed (ARGS="--seconds 600")
	@$(BIN)/python -m tests.e2e.soak $(ARGS)

chaos: build ## kill servers under checked load in all ways, for two minutes (ARGS="--seconds 3600 --seed 7")
	@$(BIN)/python -m tests.chaos $(ARGS)

power: build ## cut the power of a store 1,000 times, and open what is left (ARGS="--cuts 10000 --seed 7")
	@$(BIN)/python -m tests.power.cuts $(ARGS)

bench: build ## measure throughput, latency and memory, write docs/performance.* (ARGS="frontend --rounds 3"); needs wrk
	@$(BIN)/python -m bench $(ARGS)

bench-steps: build ## measure each step of a request's path, compared with OpenVINO alone
	@$(BIN)/python -m bench.steps $(ARGS)

bench-gpu: build ## measure TensorRT on the GPU, beside the bare enqueueV3 loop, write docs/performance-gpu.* (ARGS="--plan resnet50.plan")
	@$(BIN)/python -m bench.gpu $(ARGS)

generated: build ## write what is generated: the dashboard, the table of metrics, the rules and schemas in deploy/
	@$(BIN)/python -m deploy.generate

console: build ## build the page at / from console/, after a change there
	@$(BIN)/python -m console.build

screenshots: build ## take the pictures of docs/console.md; needs chromium
	@$(BIN)/python -m tests.e2e.console.screenshots

dashboard: build ## draw docs/dashboard.svg: a server under load, as a real Prometheus saw it
	@$(BIN)/python -m tests.e2e.picture $(ARGS)

test-prometheus: build ## run only the tests with a real Prometheus: every panel, alert and metric has data
	@$(BIN)/python -m pytest tests/e2e/test_prometheus.py $(ARGS)

test-asan: build ## run the C++ tests under AddressSanitizer and UndefinedBehaviorSanitizer
	@tests/sanitizers.sh asan

test-tsan: build ## run the scheduler and manager tests under ThreadSanitizer
	@tests/sanitizers.sh tsan

onnx-suite: build ## run ONNX's conformance cases here and in OpenVINO, and print a table (ARGS="--only 'test_reduce*'")
	@$(BIN)/python -m tests.onnx_suite $(ARGS)

hostile: build ## send hostile values to every ONNX operator, print those that end badly (ARGS="--only gather"); takes minutes
	@timeout 600 $(BIN)/python -m tests.hostile --per-operator 1 $(ARGS)

fuzz: build $(IMPORT) ## fuzz the codec for ten minutes, then the readers of heads and of JSON (SECONDS=60); needs a wheel of atheris
	@$(PIP) install -qq $$($(PYTHON) -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["project"]["optional-dependencies"]["fuzz"])')
	@for target in codec heads alike; do \
	  PYTHONPATH=$(dir $(IMPORT)) $(BIN)/python -m tests.fuzz $$target -max_total_time=$(SECONDS) $(ARGS) || exit 1; done

lint: style ## check style, types and C++; changes nothing
	@$(MAKE) --no-print-directory -j "$$(nproc)" tidy

style: build $(IMPORT) ## the part of lint that takes a minute: ruff, mypy, clang-format
	@echo "== ruff"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@echo "== mypy"
	@$(BIN)/mypy
	@echo "== clang-format"
	@$(BIN)/clang-format --dry-run --Werror $(CPP) $(BENCH_CPP)

tidy: $(TIDY) ## the other part, clang-tidy: minutes the first time, then only what changed

format: build ## format Python and C++ in place
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .
	@$(BIN)/clang-format -i $(CPP) $(BENCH_CPP)

clean: ## remove .venv and all build output
	rm -rf $(VENV) build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# helm and kubectl, with which the tests render deploy/.
build/tools/.fetched: tests/tools.txt tests/fetch_tools.py | build
	@$(BIN)/python -m tests.fetch_tools
	@touch $@

$(IMPORT):
	@mkdir -p $(@D) && ln -s ../../service $@

# With low priority: CI runs the tests meanwhile.
build/tidy/%: %.cpp $(filter %.h,$(CPP)) .clang-tidy | build
	@echo "   clang-tidy $<"
	@said=$$(nice -n 19 $(BIN)/clang-tidy --quiet -p build/cp*/ $< 2>&1) || { echo "$$said" >&2; exit 1; }
	@mkdir -p $(@D) && touch $@

check:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: trtserve needs Python 3.11 or newer; $(PYTHON) is " + sys.version.split()[0])'
	@test -f "$$($(PYTHON) -c 'import sysconfig; print(sysconfig.get_path("include"))')/Python.h" \
	  || { echo "error: Python.h of $(PYTHON) is missing; on Debian: apt-get install python3-dev python3-venv" >&2; exit 1; }
	@command -v $(CXX) >/dev/null \
	  || { echo "error: the compiler $(CXX) is missing; on Debian: apt-get install g++" >&2; exit 1; }

# The extension is compiled against the torch and openvino that it will run with, so install these first.
$(VENV)/.environment: pyproject.toml | check
	@echo "== environment: $(VENV), torch and openvino (a download of about 300 MB; far more if torch includes CUDA)"
	@$(PYTHON) -m venv $(VENV)
	@$(REQUIREMENTS) > $(VENV)/build-requirements.txt
	@$(PIP) install -qq $(TORCH_FROM) -r $(VENV)/build-requirements.txt 'cmake>=3.25' ninja
	@touch $@

# An editable install: Python runs from the source tree; C++ is compiled into build/, and later only what changed.
$(VENV)/.built: $(VENV)/.environment $(CPP) $(CMAKE) $(PROTO) $(CUDA_CRT)
	@echo "== build: the C++ extension and the remaining packages (minutes the first time, then seconds)"
	@$(PIP) install -qq --no-build-isolation -e '.[dev]' \
	  --config-settings=cmake.define.TRTSERVE_TEST_BACKENDS=ON
	@touch $@
