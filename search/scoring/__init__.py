"""Metrics from stored predictions, and how sure they are."""
