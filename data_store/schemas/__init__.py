"""The schemas of every kind of result, one file each; `table` has them by name."""
