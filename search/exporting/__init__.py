"""Exported files: written, run in their own runtime, described, and read again."""
