"""Packet filter rules as data, in the words of iptables.

Tools print rules with more words than they were given, in an order of their own, and that differs by version. So rules are
compared by what they mean.
"""

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence

from contrast_tasks.records import Record

# What tools print of their own accord: the protocol's own match, and that TPROXY changes neither address nor mark.
_IMPLIED = frozenset(
    {
        ("", "-m", ("tcp",)),
        ("", "--on-ip", ("0.0.0.0",)),  # noqa: S104  # no socket
        ("", "--on-ip", ("::",)),
        ("", "--tproxy-mark", ("0x0/0x0",)),
    }
)

Meaning = tuple[str, frozenset[tuple[str, str, tuple[str, ...]]]]
"""The chain, and each option as negation (`!` or nothing), name and sorted values."""


class Rule(Record, kw_only=False):
    """One rule of a chain; options: as on the command line of iptables, in their short form."""

    chain: str
    options: tuple[str, ...]

    @property
    def meaning(self) -> Meaning:
        """Return the rule in a form that is equal for equal rules."""
        return _meaning(self.chain, self.options)

    def line(self, command: str = "-A", *, position: int | None = None) -> str:
        """Return the rule as a line for iptables-restore."""
        place = [self.chain] if position is None else [self.chain, str(position)]
        return " ".join([command, *place, *self.options])


class RuleSet(Record):
    """What one purpose needs in one table: chains of its own, and the rule by which a chain of the kernel leads there.

    entry: stands first in its chain. chains: rules in order, by chain.
    """

    table: str
    entry: Rule
    chains: Mapping[str, tuple[Rule, ...]]

    def transaction(self, listing: Sequence[Meaning]) -> str:
        """Return what iptables-restore without flushing has to do, all at once; listing: the table as it is.

        Chains are written anew, so it does not matter what an earlier run has left.
        """
        lines = [f"*{self.table}", *(f":{chain} - [0:0]" for chain in self.chains)]
        lines += [rule.line() for rules in self.chains.values() for rule in rules]
        lines += [self.entry.line("-D")] * listing.count(self.entry.meaning)
        lines += [self.entry.line("-I", position=1), "COMMIT", ""]
        return "\n".join(lines)

    def difference(self, listing: Sequence[Meaning]) -> str:
        """Return where the table differs from what is wanted, "" if nowhere."""
        first = next((rule for rule in listing if rule[0] == self.entry.chain), None)
        if first != self.entry.meaning:
            return f"the first rule of {self.entry.chain} is not `{self.entry.line()}`"
        for chain, rules in self.chains.items():
            found = [rule for rule in listing if rule[0] == chain]
            if found != [rule.meaning for rule in rules]:
                return f"chain {chain} has {len(found)} rules, which are not the {len(rules)} that were written"
        return ""


def parse_listing(text: str) -> list[Meaning]:
    """Return the rules that `iptables -S` prints, without chains and policies."""
    words = map(shlex.split, text.splitlines())
    return [_meaning(line[1], line[2:]) for line in words if line[:1] == ["-A"]]


def _meaning(chain: str, options: Sequence[str]) -> Meaning:
    found: Counter[tuple[str, str, tuple[str, ...]]] = Counter()
    rest = list(options)
    while rest:
        negation = rest.pop(0) if rest[0] == "!" else ""
        name = rest.pop(0) if rest else ""
        values = []
        while rest and rest[0] != "!" and not rest[0].startswith("-"):
            values.append(rest.pop(0))
        # States and flags are lists whose order has no meaning.
        ordered = tuple(",".join(sorted(value.split(","))) for value in values)
        found[negation, name, ordered] += 1
    return chain, frozenset(found) - _IMPLIED
