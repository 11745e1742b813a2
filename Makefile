# make book            execute what changed and build the site   (EDITION=quick or mnist, PROFILE=local or slurm)
# make test            everything that must hold                 (make test-mnist: every page runs on MNIST)
# make words           store the freshly judged words that nbval compares
# make serve           look at the site on http://localhost:8000
EDITION ?= quick
PROFILE ?= local
PYTHON  ?= python3
READY   := .venv/ready

# Importing TensorFlow takes twelve seconds where Python may not keep its bytecode, and three where it may.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: book words test test-mnist serve clean

book: $(READY)
	@.venv/bin/python workflow/build.py $(EDITION) $(PROFILE)

words: book
	.venv/bin/python workflow/checked_words.py $(EDITION)

# Three workers on two cores: tests that wait for a browser or another process leave a quarter of the time free.
test: $(READY)
	.venv/bin/python workflow/shorten.py
	.venv/bin/python -m pytest -n 3 --dist loadfile --nbval-lax --nbval-cell-timeout=600 tests build/short

test-mnist: $(READY)
	@.venv/bin/python workflow/build.py mnist $(PROFILE)

serve:
	.venv/bin/python -m http.server --bind 127.0.0.1 --directory build/$(EDITION)/site 8000

clean:
	rm -rf build .snakemake .pytest_cache

# The stamp goes first and comes last: an installation that was cut short starts again from nothing.
$(READY): requirements.lock pyproject.toml
	@echo "Installing into .venv"
	@if [ -f $@ ]; then rm $@; else $(PYTHON) -m venv --clear .venv; fi
	@.venv/bin/python -m pip install -qq --disable-pip-version-check uv
	@.venv/bin/uv pip sync --quiet --require-hashes requirements.lock
	@.venv/bin/uv pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@
