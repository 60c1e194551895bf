# make demo   a new performance in out/: MIDI, sound and picture. Needs Python >= 3.11 and pip.
# make test   the test suite, in its own environment with torch
# make test-processes   training by several processes, a worker of Ray killed; the long runs
# make test-kernels     the kernels of attention, interpreted, and compiled for a GPU
# make lint   ruff and mypy
# make bench  how fast; DATA=/folder/of/midi measures codecs on more than the samples
#
# PYTHON=/path/to/python3 chooses the interpreter.

PYTHON ?= python3
export PYTHON

DEMO := .venv
LIGHT := .venv-light
FULL := .venv-full
TRITON := .venv-triton
DATA ?= tests/samples

.PHONY: demo test test-light test-processes test-kernels lint bench wheel clean

demo:
	@tools/environment $(DEMO)
	@mkdir -p out
	@$(DEMO)/bin/espressivo generate --seconds 60 -o out/performance.mid \
		--audio out/performance.wav --plot out/performance.png --force

test:
	@tools/environment $(FULL) train,cluster dev
	$(FULL)/bin/python -m pytest --nothing-missing $(ARGS)

# The same suite where torch is not installed, as for everyone who only plays.
test-light:
	@tools/environment $(LIGHT) "" test
	$(LIGHT)/bin/python -m pytest $(ARGS)

# A minute or two: each process imports torch anew.
test-processes:
	@tools/environment $(FULL) train,cluster dev
	$(FULL)/bin/python -m pytest --nothing-missing -m slow tests/training tests/tools $(ARGS)

# The fused kernels of attention, interpreted on the processor, then compiled for a GPU. This
# Triton stays apart, and out of constraints.txt: CUDA builds of torch bring the one they need.
test-kernels:
	@tools/environment $(FULL) train,cluster dev
	@test -d $(TRITON)/triton || $(FULL)/bin/python -m pip install --quiet --no-deps \
		--target $(TRITON) triton==3.9.0
	PYTHONPATH=$(TRITON) TRITON_INTERPRET=1 $(FULL)/bin/python -m pytest tests/models/test_fused.py
	PYTHONPATH=$(TRITON) $(FULL)/bin/python benchmarks/registers.py --gate

lint:
	@tools/environment $(FULL) train,cluster dev
	$(FULL)/bin/ruff check .
	$(FULL)/bin/ruff format --check .
	$(FULL)/bin/mypy

bench:
	@tools/environment $(FULL) train,cluster dev
	$(FULL)/bin/python benchmarks/codecs.py $(DATA)
	$(FULL)/bin/python benchmarks/audio.py
	$(FULL)/bin/python benchmarks/decode.py

wheel:
	@tools/environment $(FULL) train,cluster dev
	@rm -rf dist
	$(FULL)/bin/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(FULL)/bin/python tools/check_wheel.py dist/*.whl

clean:
	rm -rf $(DEMO) $(LIGHT) $(FULL) $(TRITON) build dist out
