"""What of a layer does not reach the guest where the node attaches it as a device. Source: docs/internals/aks.md 2.3, 2.4."""

HIDDEN, SETUID, LINKS = "hidden", "setuid", "links"
LOST = (HIDDEN, SETUID, LINKS)
WORDS = {
    HIDDEN: "files below a folder that has no entry in the layer, or whose entry comes after them",
    SETUID: "setuid and setgid bits, and file capabilities",
    LINKS: "the right targets of symbolic links, since two or more of them are longer than 100 bytes",
}
