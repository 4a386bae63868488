"""The report: datasets in, one self-contained HTML page out."""
