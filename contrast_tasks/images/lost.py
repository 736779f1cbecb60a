"""What of a layer does not reach the guest where the node attaches it as a device. Source: docs/internals/aks.md 2.3, 2.4."""

HIDDEN = "hidden"
"""Files below a directory that has no entry in the layer, or whose entry comes after them."""
SETUID = "setuid"
"""setuid and setgid bits, and file capabilities."""
LINKS = "links"
"""The right targets of symbolic links, if two or more are long."""
LOST = (HIDDEN, SETUID, LINKS)
