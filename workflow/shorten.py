"""Write copies of the pages in build/short that train a tenth as long: nbval then runs every cell in little time.

Words that nbval compares do not depend on how long a network trained (see CONTRIBUTING.md).
"""

import shutil

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from plan import ROOT, Plan

SHORT = ROOT / "build" / "short"


def shorten(path):
    """Return the notebook at `path` with ``epoch_scale = 0.1`` injected where it has this parameter."""
    from helpers.provenance import defaults

    notebook = load_notebook_node(str(path))
    return parameterize_notebook(notebook, {"epoch_scale": 0.1}) if "epoch_scale" in defaults(path) else notebook


if __name__ == "__main__":
    shutil.rmtree(SHORT, ignore_errors=True)
    SHORT.mkdir(parents=True)
    for path in Plan("quick").notebooks.values():
        nbformat.write(shorten(path), SHORT / path.name)
