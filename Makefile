# Everything a newcomer types. `make demo` and `make test` create the environment by themselves.
.PHONY: demo test quick test-contended check protos docs-api publish-protos bench gpu clean
.DELETE_ON_ERROR:

# the first one that runs and is new enough
PYTHON ?= $(shell for name in python3 python3.11 python3.12 python3.13; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
JOBS ?= 4
LOOPS ?= 4
DEVICE ?= cuda:0
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# KEEP=1 plays on afterwards, for a look at the dashboard
demo: $(READY)
	$(BIN)/streamer demo --config configs/demo.yaml --out demo-output $(if $(KEEP),--keep)

# most tests wait for processes and sockets: four at a time take half as long, also on two cores
test: $(READY)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal

# all but the tests that are marked slow
quick: $(READY)
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal -m 'not slow'

# all of them beside LOOPS processes that keep the cores busy; TESTS names some of them
test-contended: $(READY)
	@trap 'kill $$loops' EXIT; trap 'exit 130' INT TERM; for loop in $$(seq $(LOOPS)); do \
		timeout 3600 $(BIN)/python -c 'while True: pass' & loops="$$loops $$!"; done; \
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist worksteal $(TESTS)

check: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest --quiet tests/test_imports.py -k "direction or shared or says"
	$(BIN)/python protos/check.py $(if $(REQUIRE_BUF),--required)
	$(BIN)/python protos/reference.py --check
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker-compose.yml
	if command -v promtool >/dev/null; then promtool check rules deploy/alerts.yml && \
		promtool test rules deploy/alerts_test.yml; else echo "the alerts are not checked: promtool is missing"; fi
	for file in configs/demo.yaml configs/live.yaml configs/recorded.yaml; do \
		CAMERA_USER=user CAMERA_PASSWORD=password $(BIN)/streamer config check $$file || exit 1; done

bench: $(READY)
	$(BIN)/python -m tests.benchmarks

# at most eight minutes; DEVICE=cpu tries it without a GPU, ONLY=parity,detector names sections, OUT a JSON to write
gpu: $(READY)
	$(BIN)/python -m tests.gpu --device $(DEVICE) $(if $(ONLY),--only $(ONLY)) $(if $(OUT),--out $(OUT))

protos: $(READY)
	$(BIN)/python protos/build.py
	$(BIN)/python protos/reference.py

# the reference in docs/api.md, from the comments of the .proto files and the table of scopes
docs-api: $(READY)
	$(BIN)/python protos/reference.py

# for a release, or a change of the API that breaks programs on purpose: the check compares with what this writes
publish-protos: $(READY)
	$(BIN)/python protos/check.py --publish

clean:
	rm -rf $(VENV) .axe .buf build dist demo-output bench-output *.egg-info
	find faceanalytics \( -name '*_pb2*.py' -o -name '*_pb2*.pyi' \) -delete

# uv installs everything in about half a minute; constraints.txt holds the versions that were tested together
$(READY): pyproject.toml constraints.txt protos/build.py $(wildcard protos/faceanalytics/v1/*.proto protos/faceanalytics/internal/v1/*.proto)
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; name one: make PYTHON=/path/to/python3 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	VIRTUAL_ENV=$(VENV) $(BIN)/uv pip install --quiet --constraint constraints.txt --build-constraint constraints.txt --editable '.[dev]'
	touch $@
