"""Which hidden units of two networks correspond, and networks put in each other's order."""
