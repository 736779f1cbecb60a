"""How long the certificates of workloads last, as settings and the Coordinator's options have it."""

from typing import Final

# Certificates begin an hour before they are issued, and are renewed after 60 hundredths of their life: one of half an hour
# would be due at once.
PATTERN: Final = "[1-9][0-9]{0,2}[hd]"
WANTED: Final = "hours or days, from 1h to 999d"
# Source: docs/internals/coordinator.md 7.1.
DEFAULT: Final = "365d"


def lifetime_hours(text: str) -> int:
    """Return what a text of PATTERN stands for, in hours."""
    return int(text[:-1]) * (1 if text[-1] == "h" else 24)
