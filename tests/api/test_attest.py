"""The rest of an answer of HTTP attestation, which is sent while it is made, as the JSON that it has to be."""

import base64
import json

import pytest

from contrast_tasks.api.attest import state_bytes, state_parts

ROOT, MESH = b"root ca\n", b"mesh"


@pytest.mark.parametrize(
    ("manifests", "policies"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param([b"{}"], [], id="no policies"),
        pytest.param([b""], [b"", b"a"], id="empty documents"),
        pytest.param([b"a", b"ab", b"abc"], [b"abcd", b"\xff" * 1000], id="every padding"),
    ],
)
def test_the_parts_are_json_of_the_length_that_is_told(
    manifests: list[bytes], policies: list[bytes]
) -> None:
    whole = b"".join(state_parts(manifests, policies, ROOT, MESH))

    sizes = [[len(each) for each in documents] for documents in (manifests, policies)]
    assert len(whole) == state_bytes(sizes, ROOT, MESH)
    document = json.loads(b"{" + whole)
    assert [base64.b64decode(each) for each in document["manifests"]] == manifests
    assert [base64.b64decode(each) for each in document["policies"]] == policies
    assert base64.b64decode(document["root_ca"]) == ROOT
    assert base64.b64decode(document["mesh_ca"]) == MESH
