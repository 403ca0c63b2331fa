"""The parts of ``pipeloom watch``.

``watcher`` reads the file into a ``Scene``; ``navigation`` holds what the user chose to see; ``drawing`` turns both
into lines of a given size; ``terminal`` draws lines and reads keys; ``live`` connects them, with one thread reading
and one drawing. ``plain`` needs no terminal: it prints lines for people or JSON for programs.
"""
