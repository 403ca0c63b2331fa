"""The program in the pictures: a year of flights and weather, file by file, as slowly as from a network.

Seven of the files contain a fault, see ``make.py``.
"""

import csv
import logging
import time
from pathlib import Path

import pipeloom

log = logging.getLogger("load")
INTEGERS = ("year", "month", "day", "hour", "distance", "flight")


def load(path, ctx):
    rows = list(csv.DictReader(path.read_text().splitlines()))
    log.info("%s: %s rows", path.name, f"{len(rows):,}")
    for start in ctx.track(range(0, len(rows), 100)):
        time.sleep(0.03)
        piece = rows[start : start + 100]
        for row in piece:
            for column in INTEGERS:
                if column in row:
                    row[column] = int(row[column])
            if path.parent.name == "flights":
                row["late"] = row["dep_delay"] != "NA" and int(row["dep_delay"]) > 15
        ctx.write(path.parent.name, piece, null=("", "NA"))
    return {"rows": len(rows)}


if __name__ == "__main__":
    log.setLevel(logging.INFO)
    report = pipeloom.map(
        load,
        sorted(Path(".").glob("*/2013-*.csv")),
        db="flights.db",
        workers=8,
        retries=1,
        tables={"flights": {"dep_delay": int}, "weather": {"temp": float}},
        on_error="collect",
    )
    print(report)
