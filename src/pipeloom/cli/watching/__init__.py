"""The rooms of ``pipeloom watch``.

``watcher`` reads a file that is followed (a ``Scene``), ``navigation`` is what the viewer chose to see, ``drawing``
turns both into lines of a given size, ``terminal`` puts lines on a screen and reads keys, ``live`` ties them
together: it reads in one thread, and draws in another. ``plain`` says the same without a terminal: lines for
people, JSON for programs.
"""
