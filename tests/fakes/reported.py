"""Cases of testdata/reports: moved to another platform, and what a command says of them."""

import re

from tests.fakes.commands import Terminal


def on_local(terminal: Terminal) -> Terminal:
    """Move a case to platform local."""
    settings = terminal.root / "contrast.toml"
    text = settings.read_text().replace('platform = "aks-clh-snp"', 'platform = "local"')
    settings.write_text(re.sub(r"\n\[reference_values[^[]*", "\n", text))
    return terminal


def said(terminal: Terminal, command: str = "generate") -> list[str]:
    """Return what a command says of the case's source, without the file's name.

    That the locks of the cases have no root hashes of layers, which the platform needs, is left out.
    """
    shown = terminal.run(command)
    found = [line for line in shown.err.splitlines() if "lacks the root hashes" not in line]
    return [line.removeprefix("deployment/a.yml:") for line in found if line.startswith("deploy")]
