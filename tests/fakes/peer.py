"""A peer's way of reading pods and requests, as its test suite needs it, built on our policies.

Its cases leave out fields of requests, use images without a digest and users that only the image knows, and their disk
emptyDirs are block devices. So expectations are taken with their errors, their disk volumes are changed, and the rules
are widened by those of peer.rego.
"""

from pathlib import Path
from typing import Any

from contrast_tasks.policy.derive import expect
from contrast_tasks.policy.model import PolicyInput
from contrast_tasks.policy.profiles import KATA_QEMU
from contrast_tasks.policy.rules import compact
from contrast_tasks.policy.text import render_block

# Rules of ours that the peer does not have, and what stands in their place.
_REPLACED = {
    "required_variables(env) := {name | some name, _ in env.fixed} | {name | some name, each in env.pattern; each.required}": (
        "required_variables(_) := set()"
    ),
    "container_id := text_of(input.container_id)": (
        'container_id := trim_prefix(text_of(annotations["io.katacontainers.pkg.oci.bundle_path"]), '
        '"/run/containerd/io.containerd.runtime.v2.task/k8s.io/")'
    ),
    "not annotations[key]": "false",
    "{dst | some dst, _ in expected_mounts} - mount_destinations": "set()",
    '"p:sandbox_id": sandbox_id,\n"p:uid": sandbox_uid,\n': "",
    ', set_state("p:sandbox_id", input.sandbox_id)]': "]",
}


def peer_policy(given: PolicyInput) -> bytes:
    """Return a policy for the peer's cases."""
    block = expect(given, KATA_QEMU).to_json()
    _use_block_devices(block)
    _copy_image_volumes(block, given)
    text = render_block(block).decode()
    for ours, theirs in _REPLACED.items():
        assert text.count(ours) == 1, ours
        text = text.replace(ours, theirs)
    return (text + compact(Path(__file__).with_suffix(".rego").read_text())).encode()


def exact_policy(given: PolicyInput) -> bytes:
    """Return a policy of the product's own rules over the peer's reading of the pod."""
    return render_block(expect(given, KATA_QEMU).to_json())


def _use_block_devices(block: dict[str, Any]) -> None:
    lists = [block["shared"]["mounts"][name] for name in ("all", "containers")]
    for container in block["containers"]:
        lists.append(container["mounts"])
        container["storages"] = [each for each in container["storages"] if each["kind"] != "local"]
    for mount in (mount for mounts in lists for mount in mounts):
        if mount["src"]["kind"] == "local":
            mount["type"], mount["src"]["kind"] = "bind", "storage"
        # Some runtimes of the peer mount every volume privately.
        private = {"rshared": "rprivate", "rslave": "rprivate"}
        mount["opts"] += [[private.get(each, each) for each in opts] for opts in mount["opts"]]


def _copy_image_volumes(block: dict[str, Any], given: PolicyInput) -> None:
    """Let the shim copy what an image declares as VOLUME."""
    images = {each["name"]: each.get("image") for each in given.pod_spec["containers"]}
    for container in block["containers"]:
        facts = given.images.get(images.get(container["name"], ""))
        for path in facts.volumes if facts else ():
            source = {"kind": "file", "arg": path.rpartition("/")[2]}
            options = [["rbind", "rprivate", "rw"]]
            container["mounts"].append(
                {"dst": path, "type": "bind", "src": source, "opts": options}
            )
