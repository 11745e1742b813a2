"""The pipeline on a tiny book: what runs again, what is published, and what happens when things go wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import nbformat
import pytest

CONFIG = """
title: Tiny
only_build_toc_files: true
execute: {execute_notebooks: "off"}
sphinx:
  local_extensions: {rt: book/_ext}
  config: {html_static_path: [book/assets], html_css_files: [book.css]}
"""
TOC = """
format: jb-book
root: index
chapters: [{file: notebooks/x1_first}, {file: notebooks/x2_second}]
"""
FIGURE = """from helpers import figures
fig, ax = figures.subplots()
ax.plot([0, steps])
display("beside the figure")
figures.show(fig, name="fig-line", caption="A line from zero to the number of steps.", alt="A straight line that rises.")"""


class Book:
    """A throwaway project with two pages, and what can be asked of its build."""

    def __init__(self, folder, root):
        self.folder = folder
        for name in ("workflow", "src", "book/_ext", "book/assets"):
            shutil.copytree(root / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "requirements.lock", folder)
        for name in ("one", "two"):
            (folder / f"src/helpers/tiny_{name}.py").write_text(f'"""Tiny."""\nVALUE = "{name}"\n')
        (folder / "book/editions").mkdir()
        (folder / "book/editions/quick.yml").write_text("x1: {steps: 3}\n")
        (folder / "_config.yml").write_text(CONFIG)
        (folder / "_toc.yml").write_text(TOC)
        (folder / "index.md").write_text("# Tiny\n\n{verdict}`C47`\n")
        self.write("x1_first", "one", "value")
        self.write("x2_second", "two", FIGURE)

    def write(self, page, helper, code):
        """Write a page that imports one tiny helper, runs `code`, and takes half a second."""
        cells = [
            nbformat.v4.new_markdown_cell(f"# {page}\n\nSome prose.", id="title"),
            nbformat.v4.new_code_cell("steps: int = 2  # how many", id="parameters", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(f"import time\nfrom helpers.tiny_{helper} import VALUE as value", id="imports"),
            nbformat.v4.new_code_cell("time.sleep(0.5)\nprint(steps, value)", id="steps"),
            nbformat.v4.new_code_cell(code, id="code"),
        ]
        (self.folder / "notebooks").mkdir(exist_ok=True)
        nbformat.write(nbformat.v4.new_notebook(cells=cells), self.folder / f"notebooks/{page}.ipynb")

    def edit(self, name, old, new):
        """Replace a piece of text in a file."""
        path = self.folder / name
        text = path.read_text("utf-8")
        assert old in text
        path.write_text(text.replace(old, new), "utf-8")

    def start(self, edition="quick"):
        """Start a build in a process group of its own."""
        return subprocess.Popen([sys.executable, "workflow/build.py", edition], cwd=self.folder, text=True,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True,
                                env={**os.environ, "PYTHONPATH": str(self.folder / "src")})

    def build(self, edition="quick"):
        """Build; return the exit code, the output, and the pages that were executed."""
        process = self.start(edition)
        output = process.communicate()[0]
        return process.returncode, output, sorted(line.split()[0] for line in output.splitlines() if line.endswith(" starts"))

    def page(self, name):
        """The HTML of a published page."""
        return (self.folder / f"build/quick/site/{name}.html").read_text("utf-8")

    def executed(self):
        """The executed notebooks, as {name: time of change}."""
        return {path.name: path.stat().st_mtime_ns for path in (self.folder / "build/quick/executed").glob("x*.ipynb")}


@pytest.fixture(scope="module")
def fresh(tmp_path_factory, root):
    """A tiny book that has been built once."""
    book = Book(tmp_path_factory.mktemp("tiny"), root)
    code, output, pages = book.build()
    assert code == 0, output
    assert pages == ["x1_first", "x2_second"]
    return book


@pytest.fixture
def book(fresh, tmp_path):
    """A copy of the built tiny book, to be spoiled by one test."""
    copy = object.__new__(Book)
    copy.folder = tmp_path / "copy"
    shutil.copytree(fresh.folder, copy.folder, symlinks=True)
    return copy


def test_a_page_carries_parameters_outputs_captions_and_alt_text(fresh):
    assert "3 one" in fresh.page("notebooks/x1_first")
    second = fresh.page("notebooks/x2_second")
    assert "2 two" in second
    assert 'alt="A straight line that rises."' in second
    assert second.count("<figure") == 1 and second.count("beside the figure") == 2 and "A line from zero to the number of steps." in second
    assert "not tried yet" in fresh.page("index")


def test_a_second_build_does_nothing_quickly(book):
    before, start = book.executed(), time.time()
    assert book.build()[::2] == (0, [])
    assert time.time() - start < 5
    assert book.executed() == before


def test_new_time_stamps_do_nothing(book):
    for path in book.folder.rglob("*"):
        path.touch()
    assert book.build()[::2] == (0, [])


def test_prose_is_published_without_execution(book):
    before = book.executed()
    book.edit("notebooks/x1_first.ipynb", "Some prose.", "A better sentence.")
    assert book.build()[::2] == (0, [])
    assert book.executed() == before
    assert "A better sentence." in book.page("notebooks/x1_first") and "3 one" in book.page("notebooks/x1_first")


def test_a_helper_reaches_its_pages_only(book):
    book.edit("src/helpers/tiny_two.py", '"two"', '"zwei"')
    assert book.build()[::2] == (0, ["x2_second"])
    assert "2 zwei" in book.page("notebooks/x2_second")


def test_a_failing_cell_fails_the_build_and_is_named(book):
    site = (book.folder / "build/quick/site").readlink()
    book.edit("notebooks/x1_first.ipynb", "print(steps, value)", "print(steps / (steps - 3))")
    code, output, _ = book.build()
    assert code != 0
    assert output.splitlines()[-1] == (
        "x1_first failed in cell 5 of 6 (id steps): ZeroDivisionError: division by zero")
    assert "print(steps / (steps - 3))" in output, "the line at fault is shown"
    assert len(book.executed()) == 2, "nothing new"
    assert (book.folder / "build/quick/site").readlink() == site, "the site stays as it was"
    book.edit("notebooks/x1_first.ipynb", "print(steps / (steps - 3))", "print(steps + 1)")
    assert book.build()[::2] == (0, ["x1_first"])


def test_a_warning_of_sphinx_fails_the_build(book):
    book.edit("notebooks/x1_first.ipynb", "Some prose.", "See {numref}`fig-nowhere` and {verdict}`C999`.")
    code, output, pages = book.build()
    assert code != 0 and pages == []
    assert "x1_first.ipynb" in output and "fig-nowhere" in output and "no statement 'C999'" in output
    assert "Some prose." in book.page("notebooks/x1_first")


@pytest.mark.parametrize("edition, text, message", [
    ("quick", "x1: {stpes: 3}", "'stpes', which is no parameter of x1_first; did you mean 'steps'? Allowed: steps."),
    ("quick", "06: {steps: 3}", "Put the name in quotes: YAML read a number."),
    ("quick", "x1: 5", "allowed are pages with their parameters, such as '01a: {seeds: 16}'"),
    ("quick", "x3: {steps: 3}", "parameters of page 'x3'; did you mean 'x2'? Allowed: x1, x2."),
    ("quik", "", "There is no edition 'quik'; did you mean 'quick'? Allowed: quick."),
])
def test_unknown_names_are_refused_before_anything_runs(book, edition, text, message):
    (book.folder / "book/editions/quick.yml").write_text(text)
    code, output, pages = book.build(edition)
    assert code != 0 and pages == []
    assert message in output


def test_two_pages_of_one_name_are_refused(book):
    shutil.copy(book.folder / "notebooks/x1_first.ipynb", book.folder / "notebooks/x1_first-Copy1.ipynb")
    code, output, pages = book.build()
    assert code != 0 and pages == []
    assert "Two pages are called 'x1'" in output


@pytest.mark.parametrize("whom", ["the build", "everything"])
def test_after_a_kill_the_same_command_finishes(book, whom):
    """Kill right after the first page is done, while the second one runs."""
    shutil.rmtree(book.folder / "build")
    book.edit("notebooks/x2_second.ipynb", "time.sleep(0.5)", "time.sleep(4)")
    process = book.start()
    while not book.executed():
        time.sleep(0.05)
    if whom == "everything":
        os.killpg(process.pid, signal.SIGKILL)
    else:
        process.kill()
    process.wait()
    process.stdout.close()
    done = book.executed()
    assert not (book.folder / "build/quick/site").exists()
    code, output, pages = book.build()
    assert code == 0, output
    assert pages == ["x2_second"]
    assert done.items() <= book.executed().items(), "the finished page was not redone"
    assert not list((book.folder / "build/quick/executed").glob(".*")), "no half-written notebook is left"
    for path in (book.folder / "build/quick/executed").glob("*.ipynb"):
        assert not json.loads(path.read_text("utf-8"))["metadata"]["papermill"].get("exception")
