"""Sets of manifests by processes that are killed: `python -m tests.fakes.killed_sets FOLDER` prints what was left each time.

For each step at which a set writes, a process begins that set on a copy of the state before it and is killed before the step. Another
Coordinator then starts on what is left, as after a restart. It prints a list of [name of the set, step, what is in force], where the
last is "old", "new" or what should never be.
"""

import itertools
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from contrast_tasks.manifest.hashes import policy_hash_hex
from coordinator.history import History
from coordinator.seedengine import SeedEngine
from coordinator.state import Guard, Keys, State
from coordinator.store.file import FileStore
from tests.fakes.coordinator import Clock, CountingBytes, parse_tiny, tiny_manifest
from tests.fakes.file_faults import kill_itself, stepping

ENGINE = SeedEngine(bytes(range(64)), bytes(range(32)))
# Each set drops a policy of the one before and adds another.
POLICIES = [
    [b"package agent_policy # %d\n" % each for each in range(number, number + 3)]
    for number in range(3)
]
MANIFESTS = [
    tiny_manifest({policy_hash_hex(policy): {"SANs": ["web"]} for policy in policies})
    for policies in POLICIES
]


def guard_on(folder: Path) -> Guard:
    """Return a Coordinator that has just started."""
    store = FileStore(folder)
    return Guard(History(store), parse=parse_tiny, now=Clock(), random_bytes=CountingBytes())


def recover(guard: Guard) -> State:
    """Let a seed share owner recover it."""
    return guard.reset(guard.unrecovered(), lambda _: Keys(ENGINE))


def set_manifest(guard: Guard, old: State | None, number: int) -> State:
    """Put a manifest in force, and write the audit log."""
    new = guard.update(
        old,
        engine=ENGINE,
        manifest=parse_tiny(MANIFESTS[number]),
        manifest_bytes=MANIFESTS[number],
        policies=POLICIES[number],
    )
    guard.audit.record("set", transition=new.latest.transition_hash)
    guard.audit.flush(is_last=True)
    return new


def found_on(folder: Path, number: int) -> str:
    """Return which manifest a Coordinator serves that starts on a folder after a set of this number."""
    return found_by(guard_on(folder), number)


def found_by(guard: Guard, number: int) -> str:
    """Return which manifest a restarted Coordinator serves after a set of this number, once it is shown to take the next."""
    name = guard.status().name
    if name == "initial":
        set_manifest(guard, None, 0)
        return "old" if number == 0 else name
    if name != "recovery":
        return name
    state = recover(guard)
    generations = [*state.documents.manifests]
    if not state.documents.is_whole or generations not in (
        MANIFESTS[:number],
        MANIFESTS[: number + 1],
    ):
        return f"{len(generations)} generations, lost: {state.documents.lost_policies}"
    set_manifest(guard, state, 0)
    events = [entry.members["event"] for entry in guard.audit.since(0)]
    if "log-incomplete" in events:
        return f"the audit log has a gap: {events}"
    return "old" if len(generations) == number else "new"


def kill_at_each_step(folder: Path) -> Iterator[tuple[str, int, str]]:
    """Yield what each kill of each set left."""
    # Of a process that is killed the kernel keeps all that was written, synced or not.
    os.fsync = lambda _descriptor: None
    before = folder / "before"
    for number, name in enumerate(("first set", "second set", "third set")):
        for step in itertools.count(1):
            place = folder / f"{number}-{step}"
            if before.exists():
                shutil.copytree(before, place)
            if _dies(place, number, step):
                yield name, step, found_on(place, number)
                shutil.rmtree(place, ignore_errors=True)
                continue
            shutil.rmtree(before, ignore_errors=True)
            place.rename(before)
            break


def _dies(place: Path, number: int, kill_at: int) -> bool:
    """Set a manifest in a process that is killed before a step; return whether it got there."""
    process = os.fork()
    if process:
        return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) < 0
    try:
        guard = guard_on(place)
        old = recover(guard) if number else None
        with stepping(place, lambda step: kill_itself() if step == kill_at else None):
            set_manifest(guard, old, number)
        os._exit(0)
    finally:
        os._exit(1)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(list(kill_at_each_step(Path(sys.argv[1])))))
