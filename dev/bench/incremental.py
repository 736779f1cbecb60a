"""The cost of `generate` if nothing changed, one workload changed, or everything is new."""

import itertools
import resource
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from dev.bench.timing import (
    REPEATS,
    Measured,
    environment,
    measured,
    peak_mib,
    python,
    run,
    run_beside_terminal,
)
from tests.fakes.workloads import FakeProject, make_large_project

_SIMULATED = 40
_PAIRS = 6
_EDITED = "deployment/group-000/apps-0000.yml"


class _Bench:
    def __init__(self, folder: Path, workloads: int) -> None:
        self.project: FakeProject = make_large_project(folder / "project", workloads=workloads)
        self._cache = folder / "cache"
        self._env = environment(CONTRAST_CACHE_DIR=str(self._cache))

    def generate(self, *words: str) -> float:
        return run(
            python("-m", "contrast_tasks", "generate", *words), cwd=self.project.root, env=self._env
        )

    def forget(self) -> None:
        for place in (self._cache, self.project.root / "build", self.project.root / ".contrast"):
            shutil.rmtree(place, ignore_errors=True)
        (self.project.root / "manifest.json").unlink(missing_ok=True)

    def cold(self) -> float:
        self.forget()
        return self.generate("--quiet")

    def cold_processor_ms(self, *, new_keys: bool) -> float:
        """Return the processor time of a cold run, which does not depend on other processes.

        new_keys: remove the owner keys before, so that the run makes new ones.
        """
        self.forget()
        if new_keys:
            for key in self.project.root.glob("*.pem"):
                key.unlink()
        before = _children_s()
        self.generate("--quiet")
        return (_children_s() - before) * 1000

    def cold_memory_mib(self) -> float:
        """Return the memory of a cold run."""
        self.forget()
        words = python("-m", "contrast_tasks", "generate", "--quiet")
        return peak_mib(words, cwd=self.project.root, env=self._env)

    def lint(self) -> float:
        """Return the milliseconds that `lint` takes."""
        return run(python("-m", "contrast_tasks", "lint"), cwd=self.project.root, env=self._env)

    def cold_lint(self) -> float:
        """Return the milliseconds of the first `lint`."""
        self.forget()
        return self.lint()

    def progress_percent(self, other: "_Bench") -> float:
        """Return how much more processor time a cold run takes on a terminal, which shows its progress, than without one.

        other: an equal project; they take turns on the terminal. Median of the pairs. Raises LookupError if no progress was
        shown.
        """
        words, ratios = python("-m", "contrast_tasks", "generate"), []
        env = environment(TERM="xterm", CONTRAST_CACHE_DIR="../cache")
        pair = (self, other)
        for _ in range(_PAIRS):
            pair[0].forget()
            pair[1].forget()
            places = {"plain": pair[0].project.root, "shown": pair[1].project.root}
            plain, shown, screen = run_beside_terminal(words, **places, env=env)
            if b" workloads\r" not in screen:
                raise LookupError(f"no progress in {screen[-1000:]!r}")
            ratios.append(shown / plain)
            pair = pair[::-1]
        return (median(ratios) - 1) * 100

    def simulate(self) -> float:
        """Return the milliseconds in which the policies of all workloads are checked."""
        words = python("-m", "contrast_tasks", "simulate")
        return run(words, cwd=self.project.root, env=self._env)

    def edit(self, number: int) -> None:
        path = self.project.root / _EDITED
        head, found, rest = path.read_text().partition("- name: app-0000\n")
        args = f"          args: ['--number={number}']\n"
        tail = rest.partition("          args: ")
        rest = tail[2].partition("\n")[2] if tail[0] == "" else rest
        path.write_text(f"{head}{found}{args}{rest}")


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure_incremental(folder: Path) -> Iterator[Measured]:
    """Yield the measurements of `generate`."""
    one = _Bench(folder / "one", 1)
    one.cold()
    yield measured(
        "cold, 1 workload, processor",
        lambda: one.cold_processor_ms(new_keys=False),
        budget="300 ms",
    )
    # How long it takes to find two primes is left to chance.
    new_ms = median(one.cold_processor_ms(new_keys=True) for _ in range(REPEATS))
    yield Measured(name="the same with new owner keys, median", value=new_ms)
    small, large = _Bench(folder / "small", 4), _Bench(folder / "large", 1000)
    small.cold()
    yield measured("no-op, 4 workloads, doit", lambda: small.generate("--quiet"))
    cold = measured("cold, 1000 workloads", large.cold, count=2, budget="4 s")
    no_op = measured(
        "no-op, 1000 workloads, doit", lambda: large.generate("--quiet"), budget="16 x"
    )
    yield no_op
    yield Measured(
        name="generate: a workload of 1000, cold", value=cold.value / 1000, budget="5 ms"
    )
    yield Measured(
        name="generate: a workload of 1000, cached", value=no_op.value / 1000, budget="1 ms"
    )
    yield Measured(
        name="generate: memory, 1000 workloads, cold",
        value=large.cold_memory_mib(),
        unit="MiB",
        budget="300 MiB",
    )
    yield Measured(name="lint, 1000 workloads, cold", value=large.cold_lint())
    yield measured("lint, 1000 workloads, again", large.lint, count=2)
    yield Measured(
        name="progress on a terminal, 1000 workloads",
        value=large.progress_percent(_Bench(folder / "beside", 1000)),
        unit="%",
        budget="1 %",
    )
    simulated = _Bench(folder / "simulated", _SIMULATED)
    simulated.cold()
    yield Measured(
        name=f"simulate: a workload of {_SIMULATED}",
        value=simulated.simulate() / _SIMULATED,
        budget="60 ms",
    )
    # Neither index nor snapshot trusts files younger than two seconds; the first run after that writes the index again.
    for _ in range(2):
        time.sleep(2.1)
        small.generate("--quiet")
        large.generate("--quiet")
    time.sleep(2.1)
    for bench, name, budget in ((small, "4", ""), (large, "1000", "4 x")):
        bench.generate()
        yield measured(f"no-op, {name} workloads, snapshot", bench.generate, budget=budget)
    numbers = itertools.count()

    def changed() -> float:
        large.edit(next(numbers))
        return large.generate("--quiet")

    changed()
    assert no_op.ratio is not None
    budget = f"1.3 x no-op = {1.3 * no_op.ratio:.1f} x"
    yield measured("one of 1000 changed", changed, budget=budget)
    yield cold
