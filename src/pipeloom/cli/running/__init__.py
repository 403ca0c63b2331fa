"""The parts of ``pipeloom run``: which function is meant, and what it is called with."""
