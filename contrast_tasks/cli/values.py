"""Types of option values, with messages of their own."""

import argparse
import math


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
