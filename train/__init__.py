"""Train and use the networks of gconv_jax: ``python -m train --help``."""
