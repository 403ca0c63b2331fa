"""The rooms of ``pipeloom watch``.

``source`` follows the file and says what there is (a ``Snapshot``), ``view`` is what the viewer chose to see,
``drawing`` turns both into lines of a given size, ``terminal`` puts lines on a screen and reads keys, ``live``
ties them together. ``plain`` and ``machine`` say the same without a terminal: lines for people, JSON for programs.
Everything runs in one thread.
"""
