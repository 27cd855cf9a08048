"""Networks, and reading and writing models."""
