"""Fits over shards of the rows, in this process or on the workers of a Dask cluster."""
