"""A run in memory: the session, its trainer, and the figures of the finished network."""
