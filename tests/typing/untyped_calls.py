"""Functions without annotations can be passed as well. Only type-checked, never run."""
# mypy: allow-untyped-defs
# pyright: basic

from __future__ import annotations

import pipeloom


def plain(path):
    return path.name


def with_ctx(path, ctx):
    ctx.write("files", {"name": path.name})


def by_keyword(path, limit=3, *, ctx):
    ctx.write("files", {"name": path.name, "limit": limit})


def anything(*args, **options):
    return len(args) + len(options)


def worker(task, messages):
    messages.put(task)


class Loader:
    def method(self, path, ctx):
        ctx.write("files", {"name": path.name})

    def __call__(self, path, ctx):
        ctx.write("files", {"name": path.name})


pipeloom.map(plain, ["a"], db="out.db", key=plain)
pipeloom.map(with_ctx, ["a"], db="out.db", key=lambda name: name)
pipeloom.map(by_keyword, ["a"], db="out.db")
pipeloom.map(anything, ["a"], db="out.db", key=anything)
pipeloom.map(Loader(), ["a"], db="out.db")
pipeloom.map(Loader().method, ["a"], db="out.db")
pipeloom.run_pipeline([1], worker_fn=worker, key=plain)
pipeloom.run_pipeline([1], worker_fn=anything)
