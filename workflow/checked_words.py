"""Copy the outputs that nbval compares from the executed notebooks into their sources.

Usage: checked_words.py EDITION (after a build). Only cells tagged `nbval-check-output` keep an output,
with an execution count, without which nbval calls the cell unrun.
"""

import sys

import nbformat

from plan import ROOT, Plan


def refresh(source, executed):
    """Give each checked cell of `source` its fresh outputs, and take the outputs from all others."""
    fresh = {cell.id: cell for cell in executed.cells}
    for cell in source.cells:
        if cell.cell_type == "code":
            checked = "nbval-check-output" in cell.metadata.get("tags", [])
            cell.outputs = fresh[cell.id].outputs if checked else []
            cell.execution_count = fresh[cell.id].execution_count if checked else None
    return source


if __name__ == "__main__":
    plan = Plan(sys.argv[1])
    for page, path in plan.notebooks.items():
        before = nbformat.read(path, 4)
        after = refresh(nbformat.read(path, 4), nbformat.read(plan.executed(page), 4))
        if after != before:
            nbformat.write(after, path)
            print(f"{path.relative_to(ROOT)}: words refreshed")
