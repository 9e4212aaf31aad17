"""Drawn images: tissue and mammograms."""
