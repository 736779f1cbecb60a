"""This repository's graph: the emojivoto example, and the chores of a developer."""

from collections.abc import Iterator
from typing import Any

from contrast_tasks.tasks.chores import chore, pack_task
from contrast_tasks.tasks.face import DOIT_CONFIG, current_spec, pipeline

__all__ = ["DOIT_CONFIG"]


def task_contrast() -> Iterator[dict[str, Any]]:
    """Yield the pipeline; the example's own images are packed before they are locked."""
    yield from pipeline(before_lock=["pack"])


def task_pack() -> dict[str, Any]:
    """Pack the images of the example and of our own components into an OCI layout."""
    return pack_task()


def task_demo() -> dict[str, Any]:
    """Run the whole example on this machine, and prove each step; `--keep` leaves it running and shows the URLs."""
    keep = {"keep": "leave it running and show the URLs"}
    return chore("dev.demo.chore:demo", switches=keep, project=current_spec())


def task_test() -> dict[str, Any]:
    """Run linters, type checker, layer contracts and tests; words behind `--` go to pytest."""
    return chore("dev.tools:with_tools", task="dev.checks:run_checks", pos_arg="words")


def task_pythons() -> dict[str, Any]:
    """Run the unit suite under other versions of Python; words behind it are versions."""
    return chore("dev.pythons:run_pythons", pos_arg="words")


def task_docs() -> dict[str, Any]:
    """Write docs/reference/, schemas/ and share/ from the code."""
    return chore("dev.tools:with_tools", task="dev.reference.pages:write_pages")


def task_site() -> dict[str, Any]:
    """Make the site of docs/ in build/site."""
    return chore("dev.tools:with_tools", task="dev.site:run_site")


def task_first_minutes() -> dict[str, Any]:
    """Do what docs/first-minutes.md says on a Debian made for it, as root; writes build/first-minutes."""
    return chore("dev.first_minutes:run_first_minutes")


def task_bench() -> dict[str, Any]:
    """Measure start-up, incremental runs, handshakes and policies; the word behind it is the folder of a peer's policy."""
    return chore("dev.tools:with_tools", task="dev.bench.table:run_bench", pos_arg="words")


def task_release_fixtures() -> dict[str, Any]:
    """Check what we make of files that releases of the reference product wrote; the word behind it is their folder."""
    return chore("dev.fixtures.chore:run_release_fixtures", pos_arg="words")


def task_recorded() -> dict[str, Any]:
    """Compare the model of the container runtime with recordings; the word behind it is their folder."""
    return chore("dev.recorded.chore:run_recorded", pos_arg="words")


def task_layer_roots() -> dict[str, Any]:
    """Compare the root hashes of layers on AKS with those of its own tools; the word behind it is the archives' folder."""
    return chore("dev.layers.chore:run_layer_roots", pos_arg="words")


def task_peer_suite() -> dict[str, Any]:
    """Judge a peer's suite of policy cases by our rules; the word behind it is its folder."""
    images = {"images": "file with the configurations of the images, a JSON object by reference"}
    return chore("dev.peer.chore:run_peer_suite", pos_arg="words", options=images)


def task_judged() -> dict[str, Any]:
    """Ask generated policies for the requests of recorded pods; the word behind it is the folder of the recordings."""
    bends = {
        "bends": "also bend the requests in this many ways, drawn at random, which must be denied"
    }
    return chore("dev.judged.chore:run_judged", pos_arg="words", options=bends)


def task_corpus() -> dict[str, Any]:
    """Lint real deployments, and look at each refusal; the word behind it is their folder, further ones are platforms."""
    return chore("dev.corpus.chore:run_corpus", pos_arg="words")


def task_lock_requirements() -> dict[str, Any]:
    """Write the requirements' locks from requirements.in and requirements-dev.in; `-- --upgrade` takes newer versions."""
    return chore("dev.requirements:write_lock", pos_arg="words")


def task_lock_packages() -> dict[str, Any]:
    """Write packages.lock of our components, the example's images and the tests' images; words name the files to write."""
    return chore("dev.packages.chore:run_lock_packages", pos_arg="words")


def task_other_images() -> dict[str, Any]:
    """Write redis, nginx and postgres of Debian's packages to an OCI layout; the word behind it is its folder."""
    return chore("dev.others.layout:run_other_images", pos_arg="words")


def task_api_server() -> dict[str, Any]:
    """Build kube-apiserver and etcd for tests; the word behind it is the folder that KUBEBUILDER_ASSETS then names."""
    return chore("dev.api_server:run_api_server", pos_arg="words")
