"""What is said of how an attack suite went, by code. Nothing is decided by it."""

CUT = "cut"  # a grid that did not fit in memory: `attack`, `networks`, `part`
WORDS = {CUT: "{attack}: {networks} networks at once did not fit in memory: tried by {part}"}
