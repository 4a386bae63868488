"""The loss landscape: one torch evaluator and the mathematics over it. Knows no task and no file."""
