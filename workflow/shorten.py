"""Write copies of the pages in build/short that train a tenth as long, or fewer networks: nbval then takes little time.

Words that nbval compares do not depend on how long a network trained (see CONTRIBUTING.md).
"""

import shutil

import nbformat
from papermill.iorw import load_notebook_node
from papermill.parameterize import parameterize_notebook

from plan import ROOT, Plan

SHORT = ROOT / "build" / "short"
LESS = {"epoch_scale": 0.1, "models": 2}


def shorten(path):
    """Return the notebook at `path` with those parameters of `LESS` injected that it has."""
    from helpers.provenance import defaults

    notebook, accepted = load_notebook_node(str(path)), defaults(path)
    given = {name: value for name, value in LESS.items() if name in accepted}
    return parameterize_notebook(notebook, given) if given else notebook


if __name__ == "__main__":
    shutil.rmtree(SHORT, ignore_errors=True)
    SHORT.mkdir(parents=True)
    for path in Plan("quick").notebooks.values():
        nbformat.write(shorten(path), SHORT / path.name)
