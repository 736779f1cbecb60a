"""`./doitw bench`: measure everything in one run, print a table and write build/bench.json."""

import platform
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from contrast_tasks.errors import UsageError
from contrast_tasks.files import pretty_json, write_atomic
from dev.bench.attested import measure_attested
from dev.bench.channels import measure_channels
from dev.bench.evidence import measure_evidence
from dev.bench.first_run import measure_first_run
from dev.bench.incremental import measure_incremental
from dev.bench.layers import measure_layers
from dev.bench.manifests import measure_manifests
from dev.bench.mesh import measure_mesh
from dev.bench.pods import measure_pods
from dev.bench.policies import Peer, measure_policies
from dev.bench.sizes import measure_sizes
from dev.bench.timing import Measured, environment, measured, python, run
from dev.bench.whole import measure_whole_images
from dev.checkout import ROOT

_IMPORTS = {
    "import: errors and findings": "import contrast_tasks.findings",
    "import: settings": "import contrast_tasks.settings.load",
    "import: doit": "import doit",
    "import: command line and graph": "import contrast_tasks.cli.session, contrast_tasks.tasks.face",
}


def run_bench(words: Sequence[str] = ()) -> dict[str, Any]:
    """Measure, print each line when it is known, and write build/bench.json.

    words: none, or a folder with a peer's policy.rego and the request.json that it allows, beside which ours is measured.
    Raises UsageError for more.
    """
    if len(words) > 1:
        raise UsageError(
            f"found {len(words)} words, expected at most a folder with a peer's policy"
        )
    peer = Peer.in_folder(Path(words[0])) if words else None
    lines: list[Measured] = []

    def tell(line: Measured) -> None:
        lines.append(line)
        ratio = "" if line.ratio is None else f"{line.ratio:6.1f} x"
        budget = f"  (budget {line.budget})" if line.budget else ""
        sys.stdout.write(
            f"{line.name:<52} {line.value:9.{2 if line.value < 1 else 1}f} {line.unit:<5} {ratio}{budget}\n"
        )
        sys.stdout.flush()

    with tempfile.TemporaryDirectory() as place:
        folder, env = Path(place), environment()
        tell(measured("python -c pass", lambda: run(python("-c", "pass"), cwd=folder, env=env)))
        for name, code in _IMPORTS.items():
            words_of = python("-c", code)
            run(words_of, cwd=folder, env=env)
            tell(measured(name, partial(run, words_of, cwd=folder, env=env)))
        for line in chain(
            measure_channels(),
            measure_policies(peer),
            measure_manifests(),
            measure_layers(),
            measure_whole_images(),
            measure_incremental(folder),
            measure_first_run(folder / "first"),
            measure_attested(folder),
            measure_sizes(folder),
            measure_evidence(folder),
            measure_pods(folder),
            measure_mesh(folder / "mesh"),
        ):
            tell(line)
    document = {
        "version": 1,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "lines": [line.to_json() for line in lines],
    }
    changed = write_atomic(ROOT / "build/bench.json", pretty_json(document))
    return {"wrote": ["build/bench.json"] if changed else []}
