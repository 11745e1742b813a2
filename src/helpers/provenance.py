"""What made this page: the key that decides whether it must run again, and the box that prints it.

The key of a page covers all that can change its numbers: its code cells, its parameters, the helper
modules it imports (directly or not), the claims it is judged by, and the locked versions. Data are
covered too, since the hashes that `helpers.data` pins stand in a file beside it.
"""

import ast
import hashlib
import html
import json
import os
import platform
import re
import subprocess
import sys
import time
from functools import cache
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec
from pathlib import Path

PACKAGE = Path(__file__).parent
ROOT = PACKAGE.parent.parent
OPTIONAL = ("torch",)  # used where installed, and not in the lock
LIBRARIES = ("tensorflow", "keras", "numpy", "scipy", "sklearn", "statsmodels", "pandas", "matplotlib")


def read_cells(notebook):
    """Return the code cells of a notebook file as a list of `(id, source, tags)`."""
    try:
        cells = json.loads(Path(notebook).read_text("utf-8"))["cells"]
        return [(c["id"], "".join(c["source"]), c["metadata"].get("tags", []))
                for c in cells if c["cell_type"] == "code"]
    except ValueError as error:
        raise ValueError(f"{Path(notebook).name} is no notebook: {error}.") from None
    except (KeyError, TypeError) as error:  # Colab saves cells without ids
        raise ValueError(f"{Path(notebook).name} is no notebook of format 4.5, whose cells have ids: {error!r}.") from None


def parse_code(source):
    """Parse the source of a cell or module without its IPython magics; SyntaxError if it is not Python."""
    return ast.parse(re.sub(r"(?m)^\s*[%!].*$", "", source))


def defaults(notebook):
    """Return the parameters a notebook accepts and their defaults, as a dict.

    Raises ValueError unless the notebook has a cell tagged `parameters` that holds nothing but
    annotated assignments of literals.
    """
    cell = next((source for _, source, tags in read_cells(notebook) if "parameters" in tags), None)
    if cell is None:
        raise ValueError(f"{Path(notebook).name} has no cell tagged 'parameters'.")
    try:
        return {line.target.id: ast.literal_eval(line.value) for line in parse_code(cell).body}
    except (AttributeError, SyntaxError, TypeError, ValueError):
        raise ValueError(f"The parameters cell of {Path(notebook).name} may hold only lines like "
                         "'seeds: int = 8  # what it is'.") from None


@cache  # every page imports much the same modules
def _imports(source, depth=1):
    """The set of modules of `helpers` that a source imports; `depth` is that of its file's folder."""
    try:
        tree = parse_code(source)
    except SyntaxError:  # it will fail when it runs, and is named then
        return frozenset()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[1] for alias in node.names if alias.name.startswith("helpers.")}
        elif isinstance(node, ast.ImportFrom) and node.level == depth:
            found |= {node.module.split(".")[0]} if node.module else {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module.split(".")[0] == "helpers":
            found |= set(node.module.split(".")[1:2]) or {alias.name for alias in node.names}
    return frozenset(found)


def _files(name, package):
    """The files of one module of `package`: `name.py`, or all of the folder `name`."""
    return [file for file in [package / f"{name}.py", *(package / name).glob("*.py")] if file.exists()]


def closure(notebook, package=PACKAGE):
    """Return the sorted files of `package` that a notebook imports, directly or through each other."""
    todo = {name for _, source, _ in read_cells(notebook) for name in _imports(source)}
    done = {"__init__"}
    while todo - done:
        name = (todo - done).pop()
        done.add(name)
        for file in _files(name, package):
            todo |= _imports(file.read_text("utf-8"), len(file.relative_to(package).parts))
    return sorted(file for name in done for file in _files(name, package))


def key(notebook, parameters, package=PACKAGE, lock=ROOT / "requirements.lock"):
    """Return the key of a page, 64 hexadecimal digits, for a dict of parameters that differ from the defaults.

    Prose, outputs and cosmetic tags do not count. A YAML file of the package, or the record of the
    benchmark, counts where a module names it; so does an optional library that is installed, where a cell
    imports it. A page that judges claims depends on the register of its whole chapter, whose pages share
    one error rate.
    """
    files = closure(notebook, package)
    texts = [file.read_text("utf-8") for file in files]
    other = [*sorted(package.glob("*.yml")), *sorted(package.parent.parent.glob("benchmarks/results/*.json"))]
    files += [file for file in other if any(file.name in text for text in texts)]
    if package / "registry.py" in files:
        files += sorted((package / "register").glob(f"{Path(notebook).name[:2]}*.yml"))
    cells = [(name, source, sorted({"parameters", "raises-exception"} & set(tags)))
             for name, source, tags in read_cells(notebook)]
    versions = [line.rstrip(" \\") for line in lock.read_text("utf-8").splitlines() if "==" in line]
    versions += [f"{name}=={version(name)}" for name in OPTIONAL
                 if any(f"import {name}" in source for _, source, _ in cells) and find_spec(name)]
    record = [cells, defaults(notebook) | parameters, sys.version_info[:2], versions,
              [(os.path.relpath(file, package), file.read_text("utf-8")) for file in files]]
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def commit():
    """Return the commit of the checkout, with `-dirty` if files differ from it, or 'unknown' outside of git."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12", "--exclude", "*"]
    try:
        return subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


class Box:
    """The closing box of a page; shows itself as HTML in a browser and as lines of text elsewhere."""

    def __init__(self, rows):
        self.rows = rows

    def __repr__(self):
        return "\n".join(f"{name}: {value}" for name, value in self.rows)

    def _repr_html_(self):
        rows = "".join(f"<tr><th scope='row'>{html.escape(name)}</th><td>{html.escape(value)}</td></tr>"
                       for name, value in self.rows)
        return ("<details class='rt-provenance'><summary>How this page was made</summary>"
                f"<table>{rows}</table></details>")


def box(datasets=()):
    """Return the box "How this page was made" for the running notebook.

    `datasets` are those the page used, as returned by `data.load`. Edition and key come from the
    workflow; a notebook run by hand says so.
    """
    import psutil
    from IPython import get_ipython

    shell = get_ipython()
    names = shell.user_ns if shell else {}
    values = {name: names[name] for name in names.get("__annotations__", {}) if name in names}
    distributions = packages_distributions()
    rows = [("data", f"{d.name}: {d.source} (SHA-256 {d.sha256[:16]}…)") for d in datasets]
    rows += [
        ("edition", os.environ.get("RT_EDITION", "none: run by hand")),
        ("parameters", ", ".join(f"{name} = {value!r}" for name, value in values.items()) or "defaults"),
        ("versions", ", ".join([f"Python {platform.python_version()}"] + [
            f"{distributions[name][0]} {version(distributions[name][0])}"
            for name in LIBRARIES if name in sys.modules and name in distributions])),
        ("commit", commit()),
        ("key", os.environ.get("RT_KEY", "none: run by hand")),
        ("run time", f"{time.time() - psutil.Process().create_time():.0f} s"),
    ]
    return Box(rows)
