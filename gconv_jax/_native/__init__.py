"""Machine code for CPUs: optional, private, called by JAX as foreign functions."""
