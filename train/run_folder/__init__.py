"""The run folder: what a run writes to disk and how it is read back."""
