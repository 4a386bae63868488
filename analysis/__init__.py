"""The loss landscape: one torch evaluator, mathematics over it. Knows no task, no file."""
