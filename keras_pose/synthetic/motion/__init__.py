"""Poses and motion, captured or procedural."""
