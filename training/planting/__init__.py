"""Planted tickets: known sparse networks for known functions, hidden in dense ones."""
