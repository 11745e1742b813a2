# make book            execute what changed and build the site   (EDITION=quick or mnist, PROFILE=local or slurm)
# make test            everything that must hold                 (make test-mnist: on MNIST as well)
# make serve           look at the site on http://localhost:8000
EDITION ?= quick
PROFILE ?= local
PYTHON  ?= python3
READY   := .venv/ready

.PHONY: book words test test-mnist serve clean

book: $(READY)
	@.venv/bin/python workflow/build.py $(EDITION) $(PROFILE)

words: book
	.venv/bin/python workflow/checked_words.py $(EDITION)

test: $(READY)
	.venv/bin/python -m pytest

test-mnist: $(READY)
	.venv/bin/python workflow/build.py mnist $(PROFILE)

serve:
	.venv/bin/python -m http.server --bind 127.0.0.1 --directory build/$(EDITION)/site 8000

clean:
	rm -rf build .snakemake .pytest_cache

# The stamp is written last, so an installation that was cut short starts again.
$(READY): requirements.lock pyproject.toml
	@rm -f $@
	@$(PYTHON) -m venv .venv --clear --upgrade-deps || $(PYTHON) -m venv .venv --clear
	@.venv/bin/python -m pip install --quiet uv
	@.venv/bin/uv pip sync --quiet --require-hashes requirements.lock
	@touch $@
