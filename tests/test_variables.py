"""Every CONTRAST_* variable that our programs name is in one list, from which the command knows which ones something reads."""

import ast
from pathlib import Path

from contrast_tasks.mesh import interception
from contrast_tasks.settings.layers import variable
from contrast_tasks.settings.model import fixed_members
from contrast_tasks.variables import PREFIX, READ

ROOT = Path(__file__).resolve().parents[1]
# Chains of iptables that bear such names.
CHAINS = {interception.INBOUND, interception.REDIRECT, interception.CLOSED}


def test_a_variable_that_some_module_names_is_in_the_list() -> None:
    """Found in the source by its syntax: a text that is such a name and nothing else."""
    settings = {variable(path) for path, _ in fixed_members()}
    named = {
        node.value
        for folder in ("contrast_tasks", "coordinator", "dev")
        for path in (ROOT / folder).rglob("*.py")
        if PREFIX in (text := path.read_text())
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(PREFIX)
        and node.value.replace("_", "").isalnum()
    }

    assert named - {PREFIX} - CHAINS - settings <= READ
    assert "CONTRAST_ENDORSEMENTS_FETCH" in READ
