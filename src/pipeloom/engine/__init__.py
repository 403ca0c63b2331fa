"""The life of a run: the calls users make, how inputs reach the workers, and how results return."""

from pipeloom.engine.api import map, run_pipeline  # noqa: A004 - the field's own word

__all__ = ["map", "run_pipeline"]
