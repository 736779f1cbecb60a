"""A peer's way of reading pods and requests, as its test suite needs it, built on our policies.

Its cases leave out fields of requests, use images without a digest, and have a network namespace, which no runtime sends. So
expectations are taken with their errors, and the rules are widened by those of peer.rego.
"""

from pathlib import Path
from typing import Any

from contrast_tasks.policy.derive import expect
from contrast_tasks.policy.model import PolicyInput
from contrast_tasks.policy.profiles import KATA_QEMU_BLOCK
from contrast_tasks.policy.rules import compact, compact_rules
from contrast_tasks.policy.text import render_block
from contrast_tasks.resources import read_text

# Rules of ours that the peer does not have, and what stands in their place.
_REPLACED = {
    "required_variables(env) := {name | some name, _ in env.fixed} | {name | some name, each in env.pattern; each.required}": (
        "required_variables(_) := set()"
    ),
    "first := {variable_name(head_text(entry)) | some i, entry in head; not head_ok(entry, got.Env[i], identity)}": (
        "first := set()"
    ),
    "rest := [entry | some i, entry in got.Env; i >= count(head)]": (
        "own := {entry | some entry in got.Env; some each in head; head_ok(each, entry, identity)}\n"
        "rest := [entry | some entry in got.Env; not entry in own]"
    ),
    "container_id := text_of(input.container_id)": (
        'container_id := trim_prefix(text_of(annotations["io.katacontainers.pkg.oci.bundle_path"]), '
        '"/run/containerd/io.containerd.runtime.v2.task/k8s.io/")'
    ),
    "not annotations[key]": "false",
    'not "network" in namespace_kinds': "false",
    "{dst | some dst, _ in expected_mounts} - mount_destinations": "set()",
    '"p:sandbox_id": sandbox_id,\n"p:uid": sandbox_uid,\n': "",
    '"p:sandbox": true, "p:sandbox_id": input.sandbox_id, "p:hostname": input.hostname': '"p:sandbox": true',
    '"p:hostname": hostname,\n"p:name"': '"p:netns": network_namespace,\n"p:name"',
}


def peer_policy(given: PolicyInput) -> bytes:
    """Return a policy for the peer's cases."""
    block = expect(given, KATA_QEMU_BLOCK).to_json()
    _mount_privately(block)
    _name_any_host(block)
    _copy_image_volumes(block, given)
    text = render_block(block).decode()
    assert compact_rules() in text
    text = text.replace(compact_rules(), compact(read_text("templates/policy/rules.rego")))
    for ours, theirs in _REPLACED.items():
        assert text.count(ours) == 1, ours
        text = text.replace(ours, theirs)
    return (text + compact(Path(__file__).with_suffix(".rego").read_text())).encode()


def exact_policy(given: PolicyInput) -> bytes:
    """Return a policy of the product's own rules over the peer's reading of the pod."""
    return render_block(expect(given, KATA_QEMU_BLOCK).to_json())


def _mount_privately(block: dict[str, Any]) -> None:
    """Let every volume be mounted privately, as some runtimes of the peer do."""
    lists = [block["shared"]["mounts"][name] for name in ("all", "containers")]
    lists += [container["mounts"] for container in block["containers"]]
    for mount in (mount for mounts in lists for mount in mounts):
        private = {"rshared": "rprivate", "rslave": "rprivate"}
        mount["opts"] += [[private.get(each, each) for each in opts] for opts in mount["opts"]]


def _name_any_host(block: dict[str, Any]) -> None:
    for container in block["containers"]:
        for entry in container["env"]["head"]:
            if isinstance(entry, dict) and entry["of"] == "HOSTNAME=":
                entry["re"] = "^HOSTNAME=[a-z0-9.-]*$"


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
