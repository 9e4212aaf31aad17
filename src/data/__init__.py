"""Data sets: readers that give a manifest, splits, downloads."""
