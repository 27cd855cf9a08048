"""The finder's training: labelled photos, rendered people, scenes composed of both, and its test."""
