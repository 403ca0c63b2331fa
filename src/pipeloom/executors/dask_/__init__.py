"""Workers of a Dask cluster: one that is started on this machine, or the caller's."""
