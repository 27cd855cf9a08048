"""The finder's training: labelled photos, rendered people, scenes composed of both, and the test of what was trained."""
