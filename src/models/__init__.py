"""Fitted cells: saved to folders, loaded, and applied to new images."""
