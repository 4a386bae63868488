"""Records, the HDF5 store, results and the catalogue. No torch, but to open a foreign .pt."""
