"""The commands of the `landscape` command line, one per file."""
