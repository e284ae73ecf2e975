"""Pictures for people: masks beside the truth, sheets, and which files are meant."""
