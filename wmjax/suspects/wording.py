"""What is said of how a suspect was asked, by code."""

WORDS = {
    "adapted": "triggers of {from} were asked as images of {to}",
    "asked": "asked as a function, image by image",
    "pixels-unit": "pixels scaled to [0, 1]",
    "pixels-own": "pixels prepared by the module's own function",
    "pixels-guessed": "pixels scaled to [0, 1]: what else the model was trained on is not known",
}
