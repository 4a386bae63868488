"""Planted tickets: targets, their data, and networks in which they are hidden."""
