"""Execute one page with papermill; the result appears under its final name only when it is complete.

Usage: execute.py EDITION PAGE OUTPUT
"""

import os
import re
import sys
import time
from pathlib import Path

import nbformat

from lifeline import end_with_the_build
from plan import ROOT, Plan

# One thread per page: two pages run side by side, and sums do not depend on the number of cores.
SETTINGS = {
    "TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1",
    "TF_CPP_MIN_LOG_LEVEL": "3", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1", "PYTHONHASHSEED": "0",
    "XLA_FLAGS": "--xla_cpu_parallel_codegen_split_count=1",  # one thread compiles a program faster in one piece
}


class Progress:
    """Prints which page runs and how far it is, at most every five seconds."""

    def __init__(self, page):
        self.page, self.start, self.last, self.cell = page, time.time(), time.time(), None

    def say(self, text):
        """Print one line with the page and the seconds since its start."""
        # With the line end in the same write, pages that run side by side cannot garble each other's lines.
        print(f"{self.page:<28} {time.time() - self.start:5.0f} s  {text}\n", end="", flush=True)
        self.last = time.time()

    def cell_starts(self, number, total, name):
        """Remember the running cell, and print it now and then."""
        self.cell = f"cell {number} of {total} (id {name})"
        if time.time() - self.last >= 5:
            self.say(self.cell)


def reporting_engine(progress):
    """Return papermill's own engine, made to tell `progress` when a cell starts."""
    from papermill.engines import NBClientEngine

    class Engine(NBClientEngine):
        @classmethod
        def execute_managed_notebook(cls, nb_man, *args, **kwargs):
            announce = nb_man.cell_start

            def cell_start(cell, cell_index=None, **more):
                progress.cell_starts(cell_index + 1, len(nb_man.nb.cells), cell.id)
                return announce(cell, cell_index, **more)

            nb_man.cell_start = cell_start
            return super().execute_managed_notebook(nb_man, *args, **kwargs)

    return Engine


def explain(error, progress, cells):
    """Return what a reader needs to find the fault; the last line names page, cell and error."""
    name, value = getattr(error, "ename", type(error).__name__), getattr(error, "evalue", str(error))
    trace = "\n".join(getattr(error, "traceback", None) or [])
    if not trace:  # as for a misspelt magic, whose complaint is only printed
        trace = "".join(output.text for cell in cells if cell.metadata.get("papermill", {}).get("exception")
                        for output in cell.outputs if output.output_type == "stream")
    text = f"{trace.rstrip()}\n\n{progress.page} failed in {progress.cell or 'preparation'}: {name}: {value.strip()}\n"
    return re.sub(r"\x1b\[[0-9;]*m", "", text).lstrip()


def execute(edition, page, output):
    """Run a page to a temporary file, then rename it to `output`; return the exit code."""
    import papermill
    from papermill.engines import papermill_engines

    plan, progress = Plan(edition), Progress(page)
    os.environ.update(SETTINGS, RT_EDITION=edition, RT_KEY=plan.key(page), PYTHONPATH=str(ROOT / "src"),
                      IPYTHONDIR=str(ROOT / "build" / "ipython"))
    papermill_engines.register("reporting", reporting_engine(progress))
    failed = plan.build / "failed" / page
    part = output.with_name(f".{page}-{os.getpid()}.ipynb")
    progress.say("starts")
    try:
        papermill.execute_notebook(str(plan.notebooks[page]), str(part), parameters=plan.parameters[page],
                                   engine_name="reporting", kernel_name="python3", language="python",
                                   progress_bar=False, autosave_cell_every=0, request_save_on_cell_execute=False,
                                   shutdown_kernel="immediate")
        if not plan.executed(page) == Plan(edition).executed(page) == output:
            raise RuntimeError("the page, or a helper it imports, was edited during the build; build again")
    except Exception as error:
        failed.parent.mkdir(parents=True, exist_ok=True)
        cells = nbformat.read(part, 4).cells if part.exists() else []
        failed.with_suffix(".txt").write_text(explain(error, progress, cells), "utf-8")
        if part.exists():
            os.replace(part, failed.with_suffix(".ipynb"))
        progress.say(f"FAILED in {progress.cell or 'preparation'}")
        return 1
    os.replace(part, output)
    progress.say("done")
    return 0


if __name__ == "__main__":
    end_with_the_build()
    sys.exit(execute(sys.argv[1], sys.argv[2], Path(sys.argv[3])))
