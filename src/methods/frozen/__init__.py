"""Frozen descriptors and a classifier."""
