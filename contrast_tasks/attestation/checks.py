"""One check of evidence with its result, and the hints that several checks share."""

from typing import NamedTuple

HINT_DEBUG = "the host can read the guest's memory: never trust it"
HINT_REPORT_DATA = (
    "the evidence was made for another key or another connection: a replay, or a relay in between"
)
HINT_RUNTIME = "the guest was started from another runtime release than the manifest trusts"


class Check(NamedTuple):
    """One comparison of evidence with an expectation.

    reason: one word for machines; field: the vendor's name of the value if it differs from `reason`.
    """

    reason: str
    passed: bool
    found: str
    wanted: str
    hint: str = ""
    field: str = ""

    def __str__(self) -> str:
        relation = "as" if self.passed else "but"
        return f"{self.field or self.reason} is {self.found}, {relation} {self.wanted} is wanted"
