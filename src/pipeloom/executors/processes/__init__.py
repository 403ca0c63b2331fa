"""Workers as processes: see ``pool`` for how it fits together. A worker imports ``child``, not the run's half."""
