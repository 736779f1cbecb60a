"""What the recorder's shell commands make of the files of a pod, as far as the recordings need the shell."""

import posixpath
import shlex
from collections.abc import Callable, Sequence
from typing import Final

from contrast_tasks.errors import UsageError
from contrast_tasks.runtime.host_files import FILE, FOLDER, LINK, Entry, HostFiles, Tree, in_order

_ASSIGNMENT: Final = "="
_READLINK: Final = "$(readlink "


def changed_by(command: Sequence[str], files: HostFiles) -> dict[str, Tree]:
    """Return the trees that a command changes, by path; raises UsageError for what is not understood."""
    if list(command[:2]) != ["sh", "-ec"]:
        raise UsageError(f"the recorder's command begins with {command[0]}, expected sh -ec")
    shell = _Shell(files)
    for line in command[2].split(";"):
        shell.run(line.strip())
    return shell.changed()


class _Shell:
    """All files by absolute path, a folder to be in, and variables."""

    def __init__(self, files: HostFiles) -> None:
        self._trees = files.trees
        self._files = {
            posixpath.join(root, entry.path) if entry.path else root: entry
            for root, tree in files.trees.items()
            for entry in tree
        }
        self._folder = "/"
        self._variables: dict[str, str] = {}
        self._commands: dict[str, Callable[..., None]] = {
            "cd": self._cd,
            "mkdir": self._mkdir,
            "ln -s": self._link,
            "mv -T": self._move,
            "rm -r": self._remove,
            "rm": self._remove,
        }

    def run(self, line: str) -> None:
        """Carry out one command."""
        name, has_value, value = line.partition(_ASSIGNMENT)
        if has_value and name.isidentifier():
            self._variables[name] = self._expanded(value)
            return
        words = shlex.split(self._expanded(line))
        if words[0] == "echo":
            *text, target = words[1:]
            self._write(target.removeprefix(">"), len(" ".join(text).encode()) + 1)
            return
        for known, command in self._commands.items():
            start = known.split()
            if words[: len(start)] == start:
                command(*words[len(start) :])
                return
        raise UsageError(f"the recorder's command '{line}' is not understood")

    def changed(self) -> dict[str, Tree]:
        """Return the trees that are no longer what they were."""
        found = {root: self._tree(root) for root in self._trees}
        return {root: tree for root, tree in found.items() if tree != self._trees[root]}

    def _tree(self, root: str) -> Tree:
        own = {
            path.removeprefix(root).lstrip("/"): entry
            for path, entry in self._files.items()
            if path == root or path.startswith(f"{root}/")
        }
        return in_order({path: entry._replace(path=path) for path, entry in own.items()})

    def _expanded(self, text: str) -> str:
        if text.startswith(_READLINK):
            target = self._files[self._path(text.removeprefix(_READLINK).rstrip(")"))].target
            return target or ""
        for name, value in self._variables.items():
            text = text.replace(f"${name}", value)
        return text

    def _path(self, path: str) -> str:
        return posixpath.normpath(posixpath.join(self._folder, path))

    def _cd(self, path: str) -> None:
        self._folder = path

    def _mkdir(self, path: str) -> None:
        self._add(path, Entry("", FOLDER))

    def _write(self, path: str, size: int) -> None:
        self._add(path, Entry("", FILE, size))

    def _link(self, target: str, path: str) -> None:
        self._add(path, Entry("", LINK, target=target))

    def _move(self, source: str, target: str) -> None:
        self._files[self._path(target)] = self._files.pop(self._path(source))

    def _remove(self, path: str) -> None:
        gone = self._path(path)
        self._files = {
            each: entry
            for each, entry in self._files.items()
            if each != gone and not each.startswith(f"{gone}/")
        }

    def _add(self, path: str, entry: Entry) -> None:
        self._files[self._path(path)] = entry
