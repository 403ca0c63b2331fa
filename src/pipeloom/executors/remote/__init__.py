"""Communication between a run and workers in other processes, on this machine or another one."""
