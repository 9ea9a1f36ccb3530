"""The commands of ``python -m train``: one module for each that a user can type."""
