"""Timed work and, later, followers of the journal."""
