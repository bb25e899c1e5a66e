"""What is said of how a suspect was asked, by code."""

WORDS = {
    "adapted": "triggers of {from} were asked as images of {to}",
    "other-classes": (
        "it tells {theirs} classes apart, the key {ours}: the bets are on those that it shares, and on renamings that "
        "its own answers show"
    ),
    "other-names": (
        "it used {names} names or numbers that are none of the key's classes: only bets on a renaming can win with them"
    ),
    "asked": "asked as a function, image by image",
    "pixels-unit": "pixels scaled to [0, 1]",
    "pixels-own": "pixels prepared by the module's own function",
    "pixels-stated": "pixels prepared as its files say",
    "pixels-guessed": "pixels scaled to [0, 1]: what else the model was trained on is not known",
}
