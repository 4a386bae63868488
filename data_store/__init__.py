"""Records, the HDF5 store, results and the catalogue. Imports no torch (but to open a foreign .pt)."""
