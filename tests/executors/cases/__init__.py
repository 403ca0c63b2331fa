"""What the contract suite has every executor do in one run: one case an input.

- ``work``: the function of that run, and its inputs.
- ``writing``, ``talking``, ``raising``: the cases, by what they do; ``registry`` keeps them, ``tries`` says which
  failures are worth another try.
"""
