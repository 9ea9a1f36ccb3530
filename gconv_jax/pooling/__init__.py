"""Pooling over the group and over space."""
