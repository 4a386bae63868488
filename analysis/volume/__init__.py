"""The volume of a minimum: its estimators, their verdicts, and bodies of known volume."""
