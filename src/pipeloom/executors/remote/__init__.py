"""What crosses between a run and workers that are not in its process, on this machine or on another one."""
