"""Build one edition of the book: lock, run Snakemake quietly, publish, and say where the site is.

Usage: build.py EDITION [PROFILE]
"""

import os
import shutil
import sys
from pathlib import Path

from lifeline import start_lifeline, take_lock
from plan import ROOT, Plan, PlanError


def run_snakemake(edition, profile, log):
    """Run the workflow in this process and return its exit code; its chatter (stderr) goes to `log`."""
    from snakemake.cli import main

    start_lifeline()
    folder = ROOT / "workflow"
    terminal = os.dup(2)
    with open(log, "w") as stream:
        os.dup2(stream.fileno(), 2)
    try:
        main(["--snakefile", str(folder / "Snakefile"), "--directory", str(ROOT), "--config", f"edition={edition}",
              "--profile", str(folder / "profiles" / profile)])
    except SystemExit as end:
        return end.code or 0
    finally:
        os.dup2(terminal, 2)
    return 0


def publish(plan):
    """Point `site` to the finished site in one step, then delete what no present source leads to."""
    link, fresh = plan.build / "site", plan.build / "site.new"
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(plan.site().relative_to(plan.build))
    os.replace(fresh, link)
    wanted, dying = {plan.site(), *map(plan.executed, plan.notebooks)}, plan.build / "dying"
    shutil.rmtree(dying, ignore_errors=True)
    for old in [*(plan.build / "sites").iterdir(), *(plan.build / "executed").iterdir()]:
        if old not in wanted:
            if old.is_dir():  # by its name it counts as whole, so it loses that before its first file
                shutil.rmtree(old.rename(dying))
            else:
                old.unlink()
    return link / "index.html"


def build(edition, profile):
    """Build, and return the exit code; what failed is told at the end."""
    if data := os.environ.get("REGULARIZATION_DATA"):
        os.environ["REGULARIZATION_DATA"] = str(Path(data).resolve())
    try:
        folder = Plan(edition).build
        folder.mkdir(parents=True, exist_ok=True)
        with take_lock(folder / "lock", "Another build of this edition is running; waiting for it to end."):
            plan = Plan(edition)
            return make(plan, profile)
    except (PlanError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


def make(plan, profile):
    """Bring the site up to date, publish it, and return the exit code."""
    failures, log = plan.build / "failed", plan.build / "snakemake.log"
    shutil.rmtree(failures, ignore_errors=True)
    failures.mkdir()
    done = (plan.site() / "index.html").exists()  # its name says that it was made from the present sources
    code = 0 if done else run_snakemake(plan.edition, profile, log)
    if code == 0:
        page, edition = publish(plan).relative_to(ROOT), "" if plan.edition == "quick" else f" EDITION={plan.edition}"
        print(f"The book is ready: open {page}, or run 'make serve{edition}' and visit http://localhost:8000")
    else:
        reports = [file.read_text("utf-8") for file in sorted(failures.glob("*.txt"))]
        print(("\n".join(reports) or log.read_text("utf-8")).rstrip(), file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(build(sys.argv[1], (sys.argv[2:] or ["local"])[0]))
