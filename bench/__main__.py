"""Run the workloads, interleaved, each variant in a new process, and print the results.

python bench                    all workloads, 5 rounds
python bench --only B3 --rounds 9
python bench --tiny             check that every script runs and verifies (its figures mean nothing)
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import sqlite3
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

from common import Target, Workload, scratch  # noqa: E402

SCRIPTS = sorted(path.stem for path in HERE.glob("b[0-9]*.py"))

Figures = dict[str, list[dict[str, float]]]


def run(script: str, variants: Sequence[str], size: int) -> Figures:
    """Run some variants once, one after the other in a single process."""
    command = [sys.executable, str(HERE / f"{script}.py"), "--size", str(size)]
    command += [word for variant in variants for word in ("--variant", variant)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode != 0:
        raise SystemExit(f"{script}, {variants[len(lines)]}: {(done.stderr or done.stdout).strip()}")
    return {variant: [json.loads(line)] for variant, line in zip(variants, lines, strict=True)}


def measure(script: str, workload: Workload, size: int, rounds: int) -> Figures:
    """Run all variants in turn, each in its own process, so that a drift of the machine affects all of them."""
    figures: Figures = {variant: [] for variant in workload.present()}
    for number in range(rounds):
        for variant in figures:
            print(f"\r{workload.name} round {number + 1}/{rounds}: {variant:50.50}", end="", file=sys.stderr)
            figures[variant] += run(script, [variant], size)[variant]
    print("\r" + " " * 80 + "\r", end="", file=sys.stderr)
    return figures


def table(workload: Workload, figures: Figures) -> list[str]:
    """Return the figures as lines of a Markdown table."""
    lines = ["", f"### {workload.name}: {workload.what}", ""]
    lines += ["| variant | median/s | min/s | max/s | median s | also |", "|---|---:|---:|---:|---:|---|"]
    for variant, runs in figures.items():
        rates = [run["rate"] for run in runs]
        also = ", ".join(
            f"{name} {median(run[name] for run in runs):,.1f}"
            for name in runs[0]
            if name not in ("items", "seconds", "rate")
        )
        seconds = median(run["seconds"] for run in runs)
        lines.append(
            f"| {variant} | {median(rates):,.0f} | {min(rates):,.0f} | {max(rates):,.0f} "
            f"| {seconds:,.3f} | {also} |"
        )
    return lines


def can_be_judged(target: Target, figures: Figures) -> bool:
    """Return whether everything it compares was run: peers may be missing."""
    return target.variant in figures and (target.against is None or target.against in figures)


def judged(target: Target, figures: Figures) -> dict[str, Any]:
    """Return how a target was met: the median of the ratios of all rounds."""
    runs = [run[target.figure] for run in figures[target.variant]]
    if target.against is not None:
        others = [run[target.figure] for run in figures[target.against]]
        pairs = zip(runs, others, strict=True)
        runs = [a - b for a, b in pairs] if target.difference else [a / b for a, b in pairs]
    value = median(runs)
    return {
        "variant": target.variant,
        "against": target.against,
        "figure": target.figure,
        "value": value,
        "bound": target.bound,
        "at_least": target.at_least,
        "met": value >= target.bound if target.at_least else value <= target.bound,
    }


def sentence(verdict: dict[str, Any]) -> str:
    """Return a verdict as one line."""
    against = f" against {verdict['against']}" if verdict["against"] else ""
    word = "at least" if verdict["at_least"] else "at most"
    return (
        f"- {'met' if verdict['met'] else 'NOT MET'}: {verdict['variant']}{against}, {verdict['figure']}: "
        f"{verdict['value']:,.3f}, wanted {word} {verdict['bound']:,.3f}"
    )


def chosen(only: str | None) -> dict[str, Workload]:
    """Return the workloads to run, by their scripts; ``only`` lists names, such as ``B1,B3``."""
    wanted = {name.strip().upper() for name in only.split(",")} if only else None
    workloads: dict[str, Workload] = {script: importlib.import_module(script).WORKLOAD for script in SCRIPTS}
    return {script: workload for script, workload in workloads.items() if not wanted or workload.name in wanted}


def report(workload: Workload, figures: Figures, verdicts: list[dict[str, Any]]) -> str:
    """Return the results as Markdown: the table, the verdicts, and what could not be run."""
    absent = [name for name in workload.variants if name not in figures]
    left_out = [f"- left out, not installed: {', '.join(absent)}"] if absent else []
    return "\n".join([*table(workload, figures), "", *map(sentence, verdicts), *left_out])


def main() -> None:
    parser = argparse.ArgumentParser(description="Run the benchmark workloads.")
    parser.add_argument("--only", help="workloads by name, such as B3 or B1,B3")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tiny", action="store_true", help="run everything once at a tiny size")
    parser.add_argument("--json", type=Path, default=scratch() / "results.json", help="where to write the figures")
    options = parser.parse_args()

    machine = {
        "date": datetime.now(UTC).date().isoformat(),
        "python": platform.python_version(),
        "sqlite": sqlite3.sqlite_version,
        "system": f"{platform.system()} {platform.machine()}",
    }
    print(", ".join(f"{name} {value}" for name, value in machine.items()))
    results: dict[str, Any] = {"machine": machine, "workloads": {}}
    for script, workload in chosen(options.only).items():
        if options.tiny:  # one process, since starting and importing take most of the time
            figures = run(script, list(workload.present()), workload.tiny)
        else:
            figures = measure(script, workload, workload.size, options.rounds)
        verdicts = [judged(target, figures) for target in workload.targets if can_be_judged(target, figures)]
        ran = f"{workload.name}: {len(figures)} variants ran and verified"
        print(ran if options.tiny else report(workload, figures, verdicts), flush=True)
        results["workloads"][workload.name] = {"what": workload.what, "figures": figures, "targets": verdicts}
    options.json.write_text(json.dumps(results, indent=1))
    print(f"\nfigures: {options.json}")


if __name__ == "__main__":
    main()
