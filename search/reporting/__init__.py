"""The parts of a report: what its sections say, their figures, and the page."""
