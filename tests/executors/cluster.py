"""A Dask cluster of two worker processes, in a program of its own; it ends when its standard input does.

python -m executors.cluster [port]
"""

from __future__ import annotations

import logging
import sys

from distributed import LocalCluster

if __name__ == "__main__":
    with LocalCluster(
        n_workers=2, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL,
        scheduler_port=int(sys.argv[1]) if len(sys.argv) > 1 else 0, scheduler_kwargs={"allowed_failures": 0},
    ) as cluster:  # fmt: skip
        print(cluster.scheduler_address, flush=True)
        sys.stdin.read()
