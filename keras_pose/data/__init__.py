"""Data: sources, shards, and batches for training."""
