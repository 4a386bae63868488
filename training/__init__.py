"""Tasks, models, pruning and the training loop (torch). Knows no analysis and writes no file."""
