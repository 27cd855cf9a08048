"""Poses and motion, captured or drawn."""
