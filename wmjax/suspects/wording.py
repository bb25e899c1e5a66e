"""What is said of how a suspect was asked, by code."""

WORDS = {
    "adapted": (
        "triggers of {from} were asked as images of {to}: that may cost evidence, no stranger gains by it, and it is "
        "never cleared: a copy too may miss labels of such pictures"
    ),
    "coloured": "grey triggers of {from} were asked in three equal channels, {to}",
    "other-classes": (
        "it tells {theirs} classes apart, the key {ours}: the bets are on those that it shares, and on renamings that "
        "its own answers show"
    ),
    "more-classes": (
        "it gives scores to {theirs} classes, the key has {ours}: the bets are on those that it shares, and on "
        "renamings that its own answers show; what another network says may be among the rest, so it is never cleared"
    ),
    "other-names": (
        "it used {names} names or numbers that are none of the key's classes: only bets on a renaming can win with them"
    ),
    "asked": "asked as a function, image by image",
    "served": "asked over the network, as a service",
    "served-jpeg": (
        "asked over the network, as a service that takes JPEG alone, so not with the triggers to the pixel: that may "
        "cost evidence, no stranger gains by it, and it is never cleared: a copy too may miss labels of such pictures "
        "(to verify it alone, with `whole`, gives more evidence)"
    ),
    "run": "its file was run in a process of its own: its weights were not read",
    "weights-alone": (
        "its file holds a program, or names code beside it, which was not run: its tensors were asked in the network "
        "that was named; the program may compute something else, so it is never cleared"
    ),
    "in-part": (
        "not all of its file was asked, or not as it may be meant: it has outputs that are not scores of the key's "
        "classes, weights beside its network's, an average without statistics of batches of its own, takes several "
        "images at once alone, pictures as rows of numbers, or whole numbers that are not bytes, was not fetched to "
        "its end, or lies in the folder that was named with what may be another model; its holder may read answers "
        "there, so it is never cleared (say what is meant by a function, `module:function`, by the file's own name, or "
        "by a file of its own)"
    ),
    "run-in-part": (
        "its file was run in a process of its own: its weights were not read; and some of its outputs were not asked, "
        "or several images always at once, or as rows of numbers, or by whole numbers that are not bytes: its holder "
        "may ask it and read its answers otherwise, so it is never cleared"
    ),
    "open-size": (
        "its file leaves open how large its pictures are, and was asked at the key's size: a copy that is meant for "
        "larger ones answers those as a stranger, so it is never cleared (name the size: fix height and width in the "
        "file)"
    ),
    "pixels-own": "pixels prepared as the module says",
    "read-as": "asked as {reading}",
    "ways": (
        "only its file could say how it is meant to be asked, so it was asked in {ways} ways: that costs {cost:.1f} "
        "bits, and it is cleared only where it is in all of them (`pixels` says outright how pixels are prepared)"
    ),
    "readings": "of the {ways} ways in which it was asked, {reading} shows the most evidence",
}
