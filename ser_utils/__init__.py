"""Speech emotion recognition from self-supervised features: the module behind the notebooks.

Data flows one way through four tables: **clips** (a row is a recording), **segments** (a piece of a recording),
**features** (the same piece as an array on disk) and **predictions** (a judged piece). See `README.md`.

Nothing heavy is imported here, so that `import ser_utils` and `ser --help` stay quick.
"""

__version__ = "0.1.0"

#: Canonical emotion names, in the order in which every table and figure lists them.
EMOTIONS = ("anger", "boredom", "calm", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")


class SerError(ValueError):
    """An error for the person at the keyboard: what was given, what is wrong, what to do, in one line.

    The command line prints it without a traceback and ends with exit status 2.
    """
