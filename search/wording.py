"""Words around numbers, for the terminal and the report."""


def counted(number: int, noun: str) -> str:
    """Return `1 trial`, `3 trials` or `3 classes`."""
    plural = f"{noun}es" if noun.endswith("s") else f"{noun}s"
    if noun.endswith("y"):
        plural = f"{noun[:-1]}ies"
    return f"{number:,} {noun if number == 1 else plural}"
