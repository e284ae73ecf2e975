"""The driver's state on disk: a journal that is read back after a kill."""
