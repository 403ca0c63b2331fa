"""Workers of a Dask cluster: one of our own on this machine, or the caller's."""
