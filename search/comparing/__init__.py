"""Controlled comparisons: which values, paired differences, the ablation path."""
