"""Measurements of Slotcast as ratios against peers in the same run; see README.md."""
