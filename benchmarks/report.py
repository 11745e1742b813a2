"""The tables of a record, and what was to be shown."""

import statistics

from helpers import benchmark


def report(record):
    """Print everything; end with an error if the methods did not do the same work."""
    print("\n" + benchmark.origin(record))
    gflops = statistics.median(session["gflops"] for session in record["sessions"])
    print(f"matrix product: {gflops:.0f} GFLOP/s")
    if not record["runs"]:
        return
    line = "{:4} {:>6} {:26} {:>9} {:>15} {:>8} {:>8} {:>8} {:>9} {:>6} {:>9} {:>6} {:>5}"
    head = ("", "models", "method", "seconds", "from to", "cpu s", "s/model", "× stack", "of limit", "GiB")
    print("\n" + line.format(*head, "accuracy", "block", "runs"))
    for r in benchmark.medians(record).itertuples():
        numbers = (f"{r.seconds:.2f}", f"{r.fastest:.2f} {r.slowest:.2f}", f"{r.cpu_seconds:.1f}")
        numbers += (f"{r.seconds / r.models:.3f}", f"{r.ratio:.2f}", f"{r.share:.0%}", f"{r.peak_gib:.2f}")
        numbers += (f"{r.accuracy:.4f}", int(r.block), r.runs)
        print(line.format(r.workload, r.models, benchmark.TITLES[r.method], *numbers))
    print("\n" + "\n".join(f"{name}: {text}" for name, text in record["workloads"].items()))
    for workload, models in sorted({(row["workload"], row["models"]) for row in record["steps"]}):
        found = benchmark.step(record, workload, models)
        print(f"{workload}, {models} models: a step takes {found.ms:.3f} ms, {found.share:.0%} of the matrix product")
    print("\nTo be shown:")
    for r in benchmark.goals(record).itertuples():
        print(f"  {r.goal:75} bound {r.bound:5.2f}  found {r.found:7.2f}  {r.reached}")
    wrong = benchmark.disagreements(record)
    if wrong:
        raise SystemExit("The methods did not do the same work, so their times say nothing. " + " ".join(wrong))
