"""One event loop, in its own thread or the caller's, that runs as many tasks concurrently as there are workers."""
