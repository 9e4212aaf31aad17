"""Predictions table to metrics, tables, statistics and figures."""
