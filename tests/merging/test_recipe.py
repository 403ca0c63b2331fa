"""The recipe for job arrays, as the page prints it, with a queue that starts the jobs at once."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "clusters.md").read_text(encoding="utf-8")
# What stands in for SLURM: an array's jobs run side by side, a job that depends on others after them.
SBATCH = """#!/bin/bash
set -eu
for word; do
    case $word in
    --wrap=*) eval "${word#--wrap=}"; exit ;;
    --array=*) array=${word#--array=} ;;
    --*) ;;
    *) script=$word ;;
    esac
done
array=${array:-$(sed -n 's/^#SBATCH --array=//p' "$script")}
for part in ${array//,/ }; do
    for number in $(seq "${part%-*}" "${part#*-}"); do
        SLURM_ARRAY_TASK_ID=$number bash "$script" >>log 2>&1 &
    done
done
wait
echo 4711
"""
PIPELOOM = f'''#!/bin/sh
exec "{sys.executable}" -m pipeloom "$@"
'''
pytestmark = pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not installed")


@pytest.fixture
def cluster(tmp_path):
    """A directory with the recipe's files and some inputs; runs a command there."""
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0]
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    place = tmp_path / "a place"
    (place / "bin").mkdir(parents=True)
    (place / "load.py").write_text(program)
    (place / "shards.sh").write_text(script)
    for name, program in (("sbatch", SBATCH), ("pipeloom", PIPELOOM)):
        (place / "bin" / name).write_text(program)
        (place / "bin" / name).chmod(0o755)
    (place / "data").mkdir()
    for number in range(40):
        (place / "data" / f"{number}.txt").write_text(f"one of {number}\ntwo of {number}\n")
    path = os.pathsep.join([str(place / "bin"), os.environ["PATH"]])

    def run(command):
        done = subprocess.run(
            ["bash", "-euc", command], cwd=place, env=os.environ | {"PATH": path}, capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        return done.stdout

    return run


def test_the_recipe_for_slurm_does_the_work(cluster, tmp_path, read):
    """Its jobs, then the merge; the program continues with the merged file."""
    (lines,) = [block for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) if "sbatch" in block]
    submit, merge = [line.removeprefix("$ ") for line in lines.splitlines()]
    said = cluster(f"{submit}\n{merge}")

    assert "out.db: 4 files merged in " in said
    assert "40 done, 80 rows" in said
    assert "not there" not in said
    out = tmp_path / "a place" / "out.db"
    texts = [f"{word} of {number}" for number in range(40) for word in ("one", "two")]
    assert sorted(text for (text,) in read(out, "SELECT text FROM lines")) == sorted(texts)
    again = re.findall(r"`(pipeloom run load.py --arg db=out.db)`", PAGE)
    assert "0 done, 40 skipped" in cluster(again[0])


def test_the_recipe_without_slurm_runs_the_same_jobs(cluster, tmp_path, read):
    """A loop; the shards that are submitted again skip what they have done."""
    (loop,) = re.findall(r"`(for i in .*?; wait)`", PAGE)
    cluster(loop)
    (again,) = re.findall(r"`(sbatch --array=.*? shards.sh)`", PAGE)
    cluster(again)
    parts = sorted((tmp_path / "a place" / "parts").iterdir())

    assert [path.name for path in parts] == [f"{number}.db" for number in range(1, 5)]
    assert sum(tasks for path in parts for (tasks,) in read(path, "SELECT COUNT(*) FROM task_runs")) == 40
    assert read(parts[0], "SELECT shard, skipped FROM pipeloom_runs") == [("1/4", 0)]
    assert read(parts[2], "SELECT shard, skipped > 0 FROM pipeloom_runs") == [("3/4", 0), ("3/4", 1)]
