"""The driver of a search, and what runs the orders it gives."""
