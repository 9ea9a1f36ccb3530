"""Data: from files to arrays in [0, 1], split into training, validation and test."""
