"""The life of a run: what people call, how inputs reach the workers, and what comes back."""

from pipeloom.engine.api import map, run_pipeline  # noqa: A004 - the field's own word

__all__ = ["map", "run_pipeline"]
