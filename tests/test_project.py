"""The project's own order: one list of dependencies, sources without traces of a machine, documented names."""

import ast
import importlib.metadata
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from helpers import provenance
from plan import Plan

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PYTHON = [*(ROOT / "src").rglob("*.py"), *(ROOT / "workflow").glob("*.py"), *(ROOT / "book/_ext").glob("*.py"),
          *(ROOT / "benchmarks").glob("*.py")]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")


def locked():
    """The requirements of the lock file."""
    return [Requirement(line.rstrip(" \\")) for line in LOCK.splitlines() if re.match(r"[a-z0-9]", line)]


def tracked():
    """The files of the checkout that git tracks and that are text."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    return [ROOT / name for name in names if name and not name.endswith((".png", ".npz")) and (ROOT / name).exists()]


def faults_in_lock(text):
    """Lines of a lock file that are not a pinned requirement, its markers or its hashes."""
    line = re.compile(r"[a-z0-9.-]+==[^ ;/]+( ; [^/]*)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?")
    return [text for text in text.splitlines() if not line.fullmatch(text)]


def traces(text):
    """Addresses of package indices and paths of a machine that a text holds."""
    hosts = r"(?i)\b(?:[a-z0-9-]+\.)*(?:pypi\.org|pythonhosted\.org|artifactory|nexus)[^\s\"']*|--(?:extra-)?index-url|--find-links"
    return re.findall(rf"{hosts}|(?<![\w.])/(?:home|root|work|Users|opt|tmp|mnt)/\w[^\s\"'`]*", text)


def faults_in_notebook(notebook):
    """What is wrong with the source of a notebook, as a list of sentences."""
    faults, code = [], [cell for cell in notebook.cells if cell.cell_type == "code"]
    if len(notebook.cells) > 45:  # the aim is about 40
        faults.append(f"{len(notebook.cells)} cells are more than 45")
    if [cell.metadata.get("tags", []) for cell in code[:1]] != [["parameters"]]:
        faults.append("the first code cell is not the parameters cell")
    for cell in notebook.cells:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", cell.id) or re.fullmatch(r"[0-9a-f]{8}", cell.id):
            faults.append(f"cell id {cell.id!r} is not a name")
    for cell in code:
        checked = "nbval-check-output" in cell.metadata.get("tags", [])
        if checked and cell.execution_count is None:
            faults.append(f"cell {cell.id} lacks its checked words: run 'make words'")
        if not checked and (cell.outputs or cell.execution_count is not None):
            faults.append(f"cell {cell.id} has outputs")
        if any(output.output_type != "stream" for output in cell.outputs):
            faults.append(f"cell {cell.id} checks more than printed words")
    return faults


def undocumented(path):
    """Public modules, classes, functions and methods of a file that have no docstring."""
    tree = ast.parse(path.read_text("utf-8"))
    places = [(path.stem, tree)]
    for node in tree.body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_"):
            places.append((node.name, node))
            bases = [getattr(base, "id", "") for base in getattr(node, "bases", [])]
            if isinstance(node, ast.ClassDef) and not any(base.startswith("Sphinx") for base in bases):
                places += [(f"{node.name}.{item.name}", item) for item in node.body
                           if isinstance(item, ast.FunctionDef) and not item.name.startswith("_")]
    return [name for name, node in places if not ast.get_docstring(node)]


@pytest.mark.parametrize("path", PYTHON, ids=lambda path: str(path.relative_to(ROOT)))
def test_public_names_have_docstrings(path):
    assert undocumented(path) == []


@pytest.mark.parametrize("what", ["src workflow tests book benchmarks", "notebooks --select F,E703"])
def test_code_is_clean(root, what):
    """Everywhere; in notebooks nothing unused or unknown, and no semicolon without use."""
    ruff = Path(sys.executable).with_name("ruff")
    done = subprocess.run([ruff, "check", *what.split()], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_the_lock_file_holds_names_versions_markers_and_hashes_only():
    assert faults_in_lock(LOCK) == []
    assert faults_in_lock("numpy==2.0 @ https://example.org/x.whl\n--index-url https://example.org\nscipy>=1 \\") != []


def test_the_lock_file_satisfies_pyproject():
    versions = {}
    for pin in locked():
        versions.setdefault(canonicalize_name(pin.name), []).append(next(iter(pin.specifier)).version)
    for text in PROJECT["dependencies"] + PROJECT["optional-dependencies"]["test"]:
        wanted = Requirement(text)
        assert any(wanted.specifier.contains(v) for v in versions.get(canonicalize_name(wanted.name), [])), text


def test_what_is_installed_is_what_is_locked():
    for pin in locked():
        if pin.marker is None or pin.marker.evaluate():
            assert pin.specifier.contains(importlib.metadata.version(pin.name)), pin


def test_the_environment_takes_everything_from_the_lock_file():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))
    python, pip, packages = environment["dependencies"]
    assert Requirement(python.replace("=", "==")).specifier.contains("3.11")
    assert f"{python.split('=')[1]}.0" in Requirement(f"python{PROJECT['requires-python']}").specifier
    assert packages == {"pip": ["--requirement requirements.lock"]}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_are_sources(path):
    assert faults_in_notebook(nbformat.read(path, 4)) == []
    assert provenance.defaults(path)


def test_the_notebook_check_finds_faults():
    cells = [nbformat.v4.new_code_cell("1", id="0a1b2c3d"), nbformat.v4.new_code_cell("2", id="two", execution_count=1),
             nbformat.v4.new_code_cell("3", id="three", metadata={"tags": ["nbval-check-output"]})]
    notebook = nbformat.v4.new_notebook(cells=cells)
    notebook.cells *= 20
    found = "\n".join(faults_in_notebook(notebook))
    for fault in ("60 cells", "not the parameters cell", "'0a1b2c3d' is not a name", "cell two has outputs", "cell three lacks"):
        assert fault in found


def test_every_notebook_is_in_the_table_of_contents():
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text("utf-8"))
    listed = {chapter["file"] for part in toc["parts"] for chapter in part["chapters"]}
    assert {f"notebooks/{path.stem}" for path in NOTEBOOKS} == {name for name in listed if name.startswith("notebooks/")}


def test_no_file_tells_of_the_machine_it_was_written_on():
    found = {str(path.relative_to(ROOT)): traces(path.read_text("utf-8")) for path in tracked() if path != Path(__file__).resolve()}
    assert {name: hits for name, hits in found.items() if hits} == {}


@pytest.mark.parametrize("text", ["/home/ann/book", "see /work/x", "pypi.org/simple", "--index-url x", "a.pythonhosted.org/b"])
def test_the_search_for_traces_finds_them(text):
    assert traces(text)


@pytest.mark.parametrize("edition", [path.stem for path in sorted((ROOT / "book/editions").glob("*.yml"))])
def test_every_edition_names_pages_and_parameters_that_exist(edition):
    plan = Plan(edition)
    assert set(plan.parameters) == {path.stem for path in NOTEBOOKS}
