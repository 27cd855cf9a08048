"""Data: sources, shards and training batches."""
