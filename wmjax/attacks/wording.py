"""What is said of how an attack suite went, by code. Nothing is decided by it."""

WORDS = {"cut": "{attack}: {networks} networks at once did not fit in memory: tried by {part}"}
