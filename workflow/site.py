"""Make the site of one edition: stage the executed pages, run Jupyter Book, rename the result into place.

Usage: site.py EDITION
"""

import json
import os
import re
import shutil
import subprocess
import sys
import traceback
from pathlib import Path

import nbformat

from lifeline import end_with_the_build, take_lock
from plan import ROOT, Plan, PlanError

VERDICT = "application/vnd.regularization-on-trial.verdict+json"


def merge(source, executed):
    """Put the outputs of an executed notebook into its present source, cell by cell (matched by id)."""
    results = {cell.id: cell for cell in executed.cells if cell.cell_type == "code"}
    merged = []
    for cell in source.cells:
        if cell.cell_type != "code":
            merged.append(cell)
            continue
        result = results[cell.id]
        cell.execution_count = result.execution_count
        cell.outputs = result.outputs
        merged += split_figures(cell)
        if "parameters" in cell.metadata.get("tags", []):
            merged += [c for c in results.values() if "injected-parameters" in c.metadata.get("tags", [])]
    source.cells = merged
    source.metadata["language_info"] = executed.metadata["language_info"]
    return source


def split_figures(cell):
    """Give each figure a cell of its own, with caption and alt text where MyST-NB looks for them.

    MyST-NB makes a figure of everything that a cell displays, so what else is displayed stays behind.
    """
    figures = [output for output in cell.outputs if "rt" in output.get("metadata", {})]
    cell.outputs = [output for output in cell.outputs if output not in figures]
    parts = [cell]
    for number, output in enumerate(figures):
        if any("data" in other for other in parts[-1].outputs):
            part = nbformat.v4.new_code_cell("...", id=f"{cell.id}-{number}", metadata={"tags": ["remove-input"]})
            parts.append(part)  # its source is not empty, for MyST-NB drops empty cells
        rt = output.metadata.rt
        parts[-1].metadata["mystnb"] = {"figure": {"name": rt.name, "caption": rt.caption}, "image": {"alt": rt.alt}}
        parts[-1].outputs.append(bare_slider(output))
    return parts


def bare_slider(output):
    """Turn a slider's own <figure> into a <div> without caption: Sphinx makes the numbered figure around it."""
    page = output.data.get("text/html", "")
    if "rt-slider" in page:
        page = re.sub(r"(?s)<figcaption.*?</figcaption>", "", page)
        page = re.sub(r'<figure class="rt-slider"[^>]*>', '<div class="rt-slider">', page)
        output.data["text/html"] = page.replace("</figure>", "</div>")
    return output


def harvest(page, notebook):
    """Take the verdicts out of a notebook's outputs; return `{claim id: verdict}`, the last one for a claim."""
    found = {}
    for cell in notebook.cells:
        for output in cell.get("outputs", []):
            if VERDICT in output.get("data", {}):
                verdict = output.data.pop(VERDICT)
                found[verdict["id"]] = {**verdict, "page": page}
    return found


def check_success(page, notebook):
    """Raise PlanError if an executed notebook holds the trace of a failure."""
    errors = [cell.id for cell in notebook.cells for output in cell.get("outputs", [])
              if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", [])]
    if errors or notebook.metadata.get("papermill", {}).get("exception"):
        raise PlanError(f"{page} did not run to its end: see cell {', '.join(errors) or 'unknown'}.")


def stage(plan, folder):
    """Fill `folder` with a mirror of the repository in which the notebooks carry their outputs."""
    shutil.rmtree(folder, ignore_errors=True)
    for file in plan.sources():
        (folder / file.relative_to(ROOT)).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, folder / file.relative_to(ROOT))
    found = {}
    for page, path in plan.notebooks.items():
        executed = nbformat.read(plan.executed(page), 4)
        check_success(page, executed)
        found |= harvest(page, executed)
        nbformat.write(merge(nbformat.read(path, 4), executed), folder / "notebooks" / path.name)
    (folder / "verdicts.json").write_text(json.dumps(found, indent=1, sort_keys=True), "utf-8")


def make(plan, lock):
    """Build the site and move it to where the plan expects it; return the exit code.

    `lock` guards the working folders; Jupyter Book inherits it, so that it is held while either lives.
    """
    staged, part, site = plan.build / "stage", plan.build / "sites" / ".part", plan.site()
    stage(plan, staged)
    shutil.rmtree(part, ignore_errors=True)
    log = plan.build / "site.log"
    with open(log, "w") as stream:
        code = subprocess.run(
            [str(Path(sys.executable).with_name("jupyter-book")), "build", str(staged), "--path-output", str(part),
             "--builder", "html", "-W", "-n", "--keep-going", "-q"],
            stdout=stream, stderr=subprocess.STDOUT, pass_fds=[lock.fileno()],
            env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "NO_COLOR": "1"}).returncode
    if code:
        text = re.sub(r"\x1b\[[0-9;]*m", "", log.read_text("utf-8")).replace(f"{staged}/", "")
        lines = [line for line in text.splitlines() if re.search("WARNING|ERROR|rror:", line)]
        report = "\n".join(lines or text.splitlines()[-30:])
        (plan.build / "failed" / "site.txt").write_text(
            f"{report}\n\nJupyter Book refused the site; the whole log is {log.relative_to(ROOT)}.\n", "utf-8")
        return code
    shutil.rmtree(site, ignore_errors=True)
    os.rename(part / "_build" / "html", site)
    return 0


if __name__ == "__main__":
    end_with_the_build()
    this = Plan(sys.argv[1])
    try:
        with take_lock(this.build / "site.lock") as lock:
            code = make(this, lock)
    except Exception as error:
        text = str(error) if isinstance(error, PlanError) else traceback.format_exc()
        (this.build / "failed" / "site.txt").write_text(f"{text}\n", "utf-8")
        code = 1
    sys.exit(code)
