"""Datasets in, matplotlib figures out. Imports no torch and computes nothing."""
