"""Types of option values, with messages of their own."""

import argparse
import math

# Behind a command that takes workloads this word is the pod, not the command.
NAMES_LIKE_COMMANDS = ("coordinator",)


def seconds(text: str) -> float:
    """Return a finite number of seconds from 0."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value < math.inf:
        raise argparse.ArgumentTypeError(f"is '{text}', expected seconds from 0")
    return value


def count(text: str) -> int:
    """Return an integer from 1."""
    if not text.isascii() or not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"is '{text}', expected an integer from 1")
    return int(text)


# As numbers, in which more is said the lower the level. Source: docs/internals/generate.md 2.
LOG_LEVELS = {"debug": -4, "info": 0, "warn": 4, "error": 8}


def log_level(text: str) -> int:
    """Return a log level, given as a word or a number, as a number."""
    word = text.lower()
    try:
        return LOG_LEVELS[word] if word in LOG_LEVELS else int(word)
    except ValueError:
        words = ", ".join(LOG_LEVELS)
        raise argparse.ArgumentTypeError(f"is '{text}', expected {words} or a number") from None
