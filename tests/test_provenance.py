"""The key of a page changes when its numbers could, and only then."""

import nbformat
import pytest

from helpers import provenance


@pytest.fixture
def project(tmp_path):
    """A package of helpers, a lock file and a notebook that imports one of them."""
    package = tmp_path / "helpers"
    (package / "deep").mkdir(parents=True)
    (package / "register").mkdir()
    files = {
        "__init__.py": "", "direct.py": "from . import below", "below.py": "from .deep import x", "other.py": "",
        "deep/__init__.py": "from ..side import y", "deep/inner.py": "", "side.py": "FILE = 'table.yml'",
        "table.yml": "a: 1", "spare.yml": "b: 1", "registry.py": "", "register/01a.yml": "", "register/01b.yml": "",
        "register/02a.yml": "",
    }
    for name, text in files.items():
        (package / name).write_text(text)
    (tmp_path / "lock").write_text("a==1 \\\n    --hash=sha256:00\n")
    write(tmp_path, "%matplotlib inline\nimport helpers.direct")
    return tmp_path


def write(folder, code, prose="Prose.", tags=("parameters",), parameters="seeds: int = 8  # how many"):
    """Write the notebook 01a_page.ipynb."""
    nbformat.write(nbformat.v4.new_notebook(cells=[
        nbformat.v4.new_markdown_cell(prose, id="prose"),
        nbformat.v4.new_code_cell(parameters, id="parameters", metadata={"tags": list(tags)}),
        nbformat.v4.new_code_cell(code, id="code"),
    ]), folder / "01a_page.ipynb")


def key(folder, **parameters):
    """The key of the project's only page."""
    return provenance.key(folder / "01a_page.ipynb", parameters, folder / "helpers", folder / "lock")


def names(folder):
    """The helper files the page depends on."""
    return {str(file.relative_to(folder / "helpers"))
            for file in provenance.closure(folder / "01a_page.ipynb", folder / "helpers")}


def test_imports_are_followed(project):
    assert names(project) == {"__init__.py", "direct.py", "below.py", "deep/__init__.py", "deep/inner.py", "side.py"}


@pytest.mark.parametrize("code", [
    "from helpers import other", "import helpers.other", "from helpers.other import *", "def f():\n    from helpers import other",
    "%%time\nfrom helpers import other", "!ls\nimport helpers.other as o",
])
def test_every_form_of_import_counts(project, code):
    write(project, code)
    assert names(project) == {"__init__.py", "other.py"}


@pytest.mark.parametrize("name", ["__init__.py", "direct.py", "below.py", "deep/inner.py", "side.py", "table.yml"])
def test_what_a_page_uses_changes_its_key(project, name):
    before = key(project)
    (project / "helpers" / name).write_text((project / "helpers" / name).read_text() + "\n#\n")
    assert key(project) != before


def test_the_record_of_the_benchmark_counts_where_it_is_named(project):
    record = project.parent / "benchmarks/results/record-of-this-test.json"  # beside src, in which the package lies
    record.parent.mkdir(parents=True, exist_ok=True)
    before = key(project)
    record.write_text("{}")
    assert key(project) == before
    (project / "helpers/below.py").write_text("FILE = 'record-of-this-test.json'")
    before = key(project)
    record.write_text("{ }")
    assert key(project) != before


@pytest.mark.parametrize("name", ["other.py", "spare.yml", "register/01a.yml"])
def test_what_a_page_does_not_use_leaves_its_key(project, name):
    before = key(project)
    (project / "helpers" / name).write_text("#\n")
    assert key(project) == before


@pytest.mark.parametrize("name, counts", [("01a", True), ("01b", True), ("02a", False)])
def test_a_page_that_judges_depends_on_the_register_of_its_chapter(project, name, counts):
    write(project, "from helpers import registry")
    before = key(project)
    (project / f"helpers/register/{name}.yml").write_text("#\n")
    assert (key(project) != before) == counts


def test_prose_hashes_and_cosmetic_tags_do_not_count(project):
    before = key(project)
    write(project, "%matplotlib inline\nimport helpers.direct", prose="Better prose.", tags=("parameters", "hide-input"))
    (project / "lock").write_text("a==1 \\\n    --hash=sha256:11\n")
    assert key(project) == before


def test_code_versions_and_parameters_count(project):
    keys = {key(project), key(project, seeds=9)}
    (project / "lock").write_text("a==2\n")
    keys.add(key(project))
    write(project, "import helpers.direct")
    keys.add(key(project))
    assert len(keys) == 4


def test_an_optional_library_counts_where_a_page_imports_it_and_it_is_installed(project, monkeypatch):
    without = key(project)
    write(project, "import torch\nimport helpers.direct")
    keys = {without}
    for found in (None, "2.12", "2.13"):
        monkeypatch.setattr(provenance, "find_spec", lambda name: found)
        monkeypatch.setattr(provenance, "version", lambda name: found)
        keys.add(key(project))
    assert len(keys) == 4


def test_a_parameter_set_to_its_default_is_the_default(project):
    assert key(project, seeds=8) == key(project)


def test_a_cell_with_a_syntax_error_is_left_to_fail_when_it_runs(project):
    write(project, "from helpers import other\nprint(")
    assert names(project) == {"__init__.py"}
    assert key(project)


def test_a_file_that_is_no_notebook_is_named(project):
    (project / "01a_page.ipynb").write_text("{")
    with pytest.raises(ValueError, match="01a_page.ipynb is no notebook"):
        key(project)
    (project / "01a_page.ipynb").write_text('{"cells": [{"cell_type": "code", "source": "", "metadata": {}}]}')
    with pytest.raises(ValueError, match="01a_page.ipynb is no notebook of format 4.5, whose cells have ids"):
        key(project)


@pytest.mark.parametrize("parameters", ["seeds = 8", "seeds: int =", "seeds: int = 4 + len('a')", "import os", "seeds: int"])
def test_a_parameters_cell_holds_only_annotated_literals(project, parameters):
    write(project, "", parameters=parameters)
    with pytest.raises(ValueError, match="parameters cell of 01a_page.ipynb may hold only"):
        key(project)


def test_a_page_needs_a_parameters_cell(project):
    write(project, "", tags=())
    with pytest.raises(ValueError, match="01a_page.ipynb has no cell tagged 'parameters'"):
        key(project)


def test_the_box_says_what_made_the_page(monkeypatch):
    class Digits:
        name, source, sha256 = "digits", "scikit-learn <1>", "ab" * 32

    monkeypatch.setenv("RT_EDITION", "quick")
    monkeypatch.setenv("RT_KEY", "cd" * 32)
    box = provenance.box(datasets=[Digits])
    rows = dict(box.rows)
    assert rows["edition"] == "quick" and rows["key"] == "cd" * 32
    assert rows["data"] == "digits: scikit-learn <1> (SHA-256 abababababababab…)"
    assert "Python 3." in rows["versions"] and rows["commit"] and rows["run time"].endswith(" s")
    assert "edition: quick" in repr(box) and "scikit-learn &lt;1&gt;" in box._repr_html_()


def test_a_page_run_by_hand_says_so(monkeypatch):
    monkeypatch.delenv("RT_KEY", raising=False)
    assert dict(provenance.box().rows)["key"] == "none: run by hand"
