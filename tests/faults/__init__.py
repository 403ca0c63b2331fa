"""Who dies, of what, and what must be left: real faults, one verdict, and wrong programs that must be caught.

README.md in this directory is the table. The rooms:

- ``programs``: the programs under test, started with ``pipeloom run``; what they must leave behind.
- ``crashing``, ``sabotage``, ``bait``: programs whose worker processes die, lie or outstay, and how they do it.
- ``wrong``: programs on plain sqlite3 with one mistake each. A harness that does not catch its own is broken.
- ``verdict``: what "sound" means, the same for every fault.
- ``tools``, ``strace``, ``powercut`` with ``record_writes.c``: how faults are made.
"""
