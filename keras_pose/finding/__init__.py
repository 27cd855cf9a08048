"""Trains and tests the finder: labelled photos, rendered people, and scenes composed of both."""
