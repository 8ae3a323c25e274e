# Thin: every target is one or two commands of the tools themselves. `make demo` and `make test` set up all they need.
PYTHON ?= python3
VENV ?= .venv
TORCH ?= torch torchvision
BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/pip install --disable-pip-version-check $(QUIET)
QUIET = --quiet
EDITABLE = --no-build-isolation -Cbuild-dir=build/cmake -e .[train]
TORCH_PYTHON = $(if $(filter command,$(origin PYTHON)),$(PYTHON),$(or $(wildcard $(BIN)/python),$(PYTHON)))
SOURCES = CMakeLists.txt pyproject.toml $(wildcard cmake/* csrc/*/* csrc/*.cpp)

.PHONY: demo test dev bench lint docs notebooks cuda-check gpu-check sdist install-check clean

demo: $(VENV)/built
	$(BIN)/amgan-fast train

test: $(VENV)/tests
	$(BIN)/pytest -n 2 --dist loadfile

# Editable, and rebuilt on import: touching one kernel costs seconds.
dev: $(VENV)/torch
	$(PIP_INSTALL) --group test --group lint
	$(PIP_INSTALL) $(EDITABLE) -Ceditable.rebuild=true
	touch $(VENV)/built $(VENV)/tests

bench: $(VENV)/built
	$(PIP_INSTALL) --group bench
	$(BIN)/python -m benchmarks.bench_ops
	$(BIN)/python -m benchmarks.bench_peers
	$(BIN)/python -m benchmarks.bench_evaluate
	$(BIN)/python -m benchmarks.ratio_changes build/bench_ops.previous.json build/bench_ops.json

lint: $(VENV)/tests
	$(PIP_INSTALL) --group lint
	$(BIN)/ruff check . && $(BIN)/ruff format --check .
	$(BIN)/clang-format --dry-run --Werror $$(git ls-files '*.h' '*.cpp' '*.cu' '*.cuh')
	$(BIN)/mypy
	PYTHONPATH=. $(BIN)/mypy --strict python_tests/user_code/typed_use.py

# build/site/index.html. What mkdocs warns of fails, but not with --quiet, under which it counts no warnings. The variable
# leaves out a notice of other tools.
docs: $(VENV)/torch
	$(PIP_INSTALL) --group docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# Both executed afresh, with what they print and draw but nothing of the machine. INPLACE= only sees whether they pass.
INPLACE = --inplace
notebooks: $(VENV)/built
	$(PIP_INSTALL) --group notebooks
	$(BIN)/jupyter execute $(INPLACE) examples/notebooks/*.ipynb
	$(BIN)/nbstripout --keep-output --extra-keys metadata.language_info.version examples/notebooks/*.ipynb

# Every kernel for every architecture, warnings as errors: registers, spills, occupancy and what a call executes.
# CUDA_CHECK="--architectures 90" for one.
cuda-check: $(VENV)/torch
	$(PIP_INSTALL) --group cuda-check
	$(BIN)/python -m tools.cuda_check $(CUDA_CHECK)

# All that takes a GPU, in one report, build/gpu_check/report.md. Works without a network, in a python that has torch:
# that of VENV, or PYTHON. WHEELS= is a folder of wheels that it lacks; GPU_CHECK="--only tests --out DIR" are options.
gpu-check:
	$(if $(WHEELS),$(TORCH_PYTHON) -m pip install --no-index --no-deps $(wildcard $(WHEELS)/*.whl))
	$(TORCH_PYTHON) -m pip install --no-index --no-deps $(EDITABLE)
	$(TORCH_PYTHON) -m tools.gpu_check $(GPU_CHECK)

# The source distribution, and a wheel of it to show that it builds.
sdist: $(VENV)/built
	rm -rf dist
	$(BIN)/python -m build --sdist --no-isolation --outdir dist
	AMGAN_CUDA=0 $(BIN)/pip wheel --quiet --no-build-isolation --no-deps --wheel-dir dist dist/amgan_fast-*.tar.gz

# That wheel in an environment of its own, with what scoring takes alone.
install-check: sdist build/installed/torch
	build/installed/bin/pip uninstall --quiet --yes amgan-fast
	build/installed/bin/pip install --disable-pip-version-check --quiet dist/amgan_fast-*.whl
	cd build && installed/bin/python ../tools/install_check.py

build/installed/torch:
	$(PYTHON) -m venv build/installed
	build/installed/bin/pip install --disable-pip-version-check --quiet $(TORCH)
	touch $@

clean:
	rm -rf build dist $(VENV)

$(VENV)/torch $(VENV)/built $(VENV)/tests: QUIET = # downloads and the build take minutes, and say so

$(VENV)/torch:
	$(PYTHON) -m venv $(VENV)
	$(PIP_INSTALL) --upgrade pip
	$(PIP_INSTALL) $(TORCH)
	$(PIP_INSTALL) --group build
	touch $@

$(VENV)/built: $(VENV)/torch $(SOURCES)
	$(PIP_INSTALL) $(EDITABLE)
	touch $@

$(VENV)/tests: $(VENV)/built
	$(PIP_INSTALL) --group test
	touch $@
