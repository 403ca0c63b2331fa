"""One event loop, in a thread of its own or the caller's, and as many tasks on it as there are places."""
