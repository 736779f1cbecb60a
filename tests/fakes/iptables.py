"""An iptables of memory: rules as the real one prints them, and refusals on request."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from contrast_tasks.packet_filter.tools import Family, Tool, ToolFailed

DENY = "-A INPUT -m conntrack ! --ctstate RELATED,ESTABLISHED -j DROP"

DENY_6 = DENY.replace("-m", "-p tcp -m", 1)


@dataclass
class Kernel:
    """One variant's tables; refused: words that a transaction may not contain, with what the kernel says to them."""

    tables: dict[str, list[str]] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    transactions: list[str] = field(default_factory=list)
    is_forgetful: bool = False

    def tool(self, program: str = "/usr/sbin/iptables-legacy", family: Family = "IPv4") -> Tool:
        return Tool(program=program, family=family, run=self.run)

    def run(self, argv: Sequence[str], text: str) -> str:
        words = " ".join([*argv, text])
        for word, answer in self.refused.items():
            if word in words:
                raise ToolFailed(f"{argv[0].rpartition('/')[2]}: {answer}")
        if argv[0].endswith("-restore"):
            self.transactions.append(text)
            if not self.is_forgetful:
                self._restore(text)
            return ""
        if "--version" in argv:
            return "iptables v1.8.9 (nf_tables)"
        table = self.tables.setdefault(argv[argv.index("-t") + 1], [])
        if "-S" in argv:
            return "".join(f"{line}\n" for line in ["-P INPUT ACCEPT", *table])
        if "-D" in argv and not self.is_forgetful:
            table.remove(DENY_6 if "tcp" in argv else DENY)
        if "-I" in argv:
            table.insert(0, DENY_6 if "tcp" in argv else DENY)
        return ""

    def _restore(self, text: str) -> None:
        rules: list[str] = []
        for line in text.splitlines():
            if line.startswith("*"):
                rules = self.tables.setdefault(line[1:], [])
            elif line.startswith(":"):
                chain = line[1:].split()[0]
                rules[:] = [rule for rule in rules if rule.split()[1] != chain]
            elif line.startswith("-A"):
                rules.append(line)
            elif line.startswith("-D"):
                rules.remove(line.replace("-D", "-A", 1))
            elif line.startswith("-I"):
                _, chain, _, *options = line.split()
                rules.insert(0, " ".join(["-A", chain, *options]))
