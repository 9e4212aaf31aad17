"""Sweeps and their cells: run, taken up again, fused."""
