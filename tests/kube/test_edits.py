"""Rewriting documents in place: only what changes is touched, and the result always reads as wanted."""

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from contrast_tasks.errors import ContrastError
from contrast_tasks.kube.documents import parse_documents
from contrast_tasks.kube.edits import rewrite

HEAD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"


def edit(text: str, change: Callable[[dict[str, Any]], object], index: int = 0) -> str:
    wanted = copy.deepcopy(parse_documents(text, "a.yml")[index].obj)
    change(wanted)
    result = rewrite(text, {index: wanted})
    assert parse_documents(result, "a.yml")[index].obj == wanted
    return result


def put(*path: str | int, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(obj: dict[str, Any]) -> None:
        found: Any = obj
        for step in path[:-1]:
            found = found[step]
        found[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("before", "path", "value", "after"),
    [
        pytest.param("x: 1 # c\n", ("x",), 2, "x: 2 # c\n", id="scalar"),
        pytest.param('x: "1"\n', ("x",), "on", 'x: "on"\n', id="double-quotes-kept"),
        pytest.param("x: '1'\n", ("x",), "it's", "x: 'it''s'\n", id="single-quotes-kept"),
        pytest.param("x: a\n", ("x",), "1e3", 'x: "1e3"\n', id="plain-quoted-when-ambiguous"),
        pytest.param("x:  a\n", ("x",), "b", "x:  b\n", id="alignment-kept"),
        pytest.param("x:\nk: 1\n", ("x",), "b", "x: b\nk: 1\n", id="null-to-text"),
        pytest.param("x: # c\nk: 1\n", ("x",), {"a": 1}, "x: # c\n  a: 1\nk: 1\n", id="null-to-map"),
        pytest.param("x: {} # c\n", ("x",), {"a": 1}, "x: # c\n  a: 1\n", id="empty-map-to-block"),
        pytest.param("x: []\n", ("x",), ["a"], "x:\n- a\n", id="empty-list-to-block"),
        pytest.param("x: {a: 1} # c\n", ("x", "b"), "on", 'x: {a: 1, b: "on"} # c\n', id="flow-stays"),
        pytest.param("x: {a: {b: 'c'}, d: [1]}\n", ("x", "a", "e"), 1, "x: {a: {b: 'c', e: 1}, d: [1]}\n", id="flow-in-flow"),
        pytest.param("x:\n  b: 1\n", ("x", "a"), 1, "x:\n  a: 1\n  b: 1\n", id="sorted-front"),
        pytest.param("x:\n  a: 1\n  c: 1\n", ("x", "b"), 1, "x:\n  a: 1\n  b: 1\n  c: 1\n", id="sorted-middle"),
        pytest.param("x:\n  b: 1\n  a: 1\n", ("x", "aa"), 1, "x:\n  b: 1\n  a: 1\n  aa: 1\n", id="unsorted-end"),
        pytest.param("x:\n  # of b\n  b: 1\n", ("x", "a"), 1, "x:\n  a: 1\n  # of b\n  b: 1\n", id="comment-stays-with-key"),
        pytest.param("x:\n  a:\n    q: 1\n    # more of a\n  c: 1\n", ("x", "b"), 1, "x:\n  a:\n    q: 1\n    # more of a\n  b: 1\n  c: 1\n", id="deeper-comment-stays-above"),
        pytest.param("x:\n- b: 1\n", ("x", 0, "a"), 1, "x:\n- a: 1\n  b: 1\n", id="front-behind-dash"),
        pytest.param("x: |\n  a\n\n\nk: 1\n", ("x",), "b", "x: b\n\n\nk: 1\n", id="block-scalar-to-plain"),
        pytest.param("x: |+\n  a\n\nz: 1\n", ("xx",), 2, "x: |+\n  a\n\nxx: 2\nz: 1\n", id="behind-kept-blank-lines"),
        pytest.param("x: a\n", ("x",), "b\nc\n", "x: |\n  b\n  c\n", id="plain-to-block-scalar"),
        pytest.param("x: |\n  a\nk: 1\n", ("k",), {"z": 1}, "x: |\n  a\nk:\n  z: 1\n", id="scalar-to-map"),
        pytest.param("x:\n  a: 1\nk: 1\n", ("x",), 1, "x: 1\nk: 1\n", id="map-to-scalar"),
        pytest.param("x:\n    a:\n        b: 1\n", ("x", "a", "c"), {"d": 1}, "x:\n    a:\n        b: 1\n        c:\n            d: 1\n", id="wide-steps"),
        pytest.param("x: &a {b: 1}\nk: 1\n", ("k",), 2, "x: &a {b: 1}\nk: 2\n", id="anchor-elsewhere"),
        pytest.param("x: &a\n  b: 1\nk: *a\nz: 1\n", ("zz",), 2, "x: &a\n  b: 1\nk: *a\nz: 1\nzz: 2\n", id="behind-alias"),
        pytest.param("x: &a\n  b: 1\nk: *a # c\n", ("k",), 2, "x: &a\n  b: 1\nk: 2 # c\n", id="alias-replaced"),
        pytest.param("é: ü # ö\nx: 1\n", ("x",), 2, "é: ü # ö\nx: 2\n", id="non-ascii"),
        pytest.param("😀: 1\nx: 1\n", ("x",), 2, "😀: 1\nx: 2\n", id="beyond-the-first-plane"),
    ],
)  # fmt: skip
def test_one_change_touches_one_place(
    before: str, path: tuple[str | int, ...], value: object, after: str
) -> None:
    assert edit(HEAD + before, put(*path, value=value)) == HEAD + after


ITEMS = "spec:\n  containers:\n  # first\n  - name: a # A\n    image: x\n  # second\n  - name: b\n    image: y\n"


@pytest.mark.parametrize(
    ("change", "after"),
    [
        pytest.param(
            lambda items: items.append({"name": "c"}), ITEMS + "  - name: c\n", id="append"
        ),
        pytest.param(
            lambda items: items.insert(0, {"name": "c"}),
            ITEMS.replace("containers:\n", "containers:\n  - name: c\n"),
            id="prepend",
        ),
        pytest.param(
            lambda items: items.insert(1, {"name": "c"}),
            ITEMS.replace("image: x\n", "image: x\n  - name: c\n"),
            id="insert",
        ),
        pytest.param(
            lambda items: items.pop(0),
            ITEMS.replace("  - name: a # A\n    image: x\n", ""),
            id="remove-first",
        ),
        pytest.param(
            lambda items: items.pop(1),
            ITEMS.replace("  - name: b\n    image: y\n", ""),
            id="remove-last",
        ),
        pytest.param(
            lambda items: items[1].update(image="z"),
            ITEMS.replace("image: y", "image: z"),
            id="change-second",
        ),
        pytest.param(
            lambda items: items[0].pop("image"),
            ITEMS.replace("    image: x\n", ""),
            id="remove-key",
        ),
        pytest.param(
            lambda items: items[0].pop("name"),
            ITEMS.replace("- name: a # A\n    image: x\n", "- image: x\n"),
            id="remove-key-behind-dash",
        ),
    ],
)
def test_list_members_are_told_apart_by_name(
    change: Callable[[list[dict[str, Any]]], object], after: str
) -> None:
    assert edit(HEAD + ITEMS, lambda obj: change(obj["spec"]["containers"])) == HEAD + after


def test_inner_insertions_come_before_outer_ones_at_the_same_line() -> None:
    text = HEAD + "spec:\n  containers:\n  - name: a\n"

    def change(obj: dict[str, Any]) -> None:
        obj["spec"]["containers"][0]["resources"] = {"limits": {"memory": "1Mi"}}
        obj["spec"]["runtimeClassName"] = "contrast-cc"
        obj["status"] = {}

    assert edit(text, change) == text + (
        "    resources:\n      limits:\n        memory: 1Mi\n"
        "  runtimeClassName: contrast-cc\nstatus: {}\n"
    )


def test_sequences_are_indented_as_in_the_file() -> None:
    text = HEAD + "spec:\n  containers:\n    - name: a\n"

    result = edit(text, lambda obj: obj["spec"].update(volumes=[{"name": "v"}]))

    assert result == text + "  volumes:\n    - name: v\n"


@pytest.mark.parametrize(
    "text", [HEAD, f"# a\n{HEAD}# z\n", HEAD.replace("\n", "\r\n"), f"\ufeff{HEAD}"]
)
def test_nothing_wanted_changes_nothing(text: str) -> None:
    assert rewrite(text, {0: parse_documents(text, "a.yml")[0].obj}) == text


def test_line_ends_and_byte_order_mark_are_kept() -> None:
    text = "\ufeff" + (HEAD + ITEMS).replace("\n", "\r\n")

    result = edit(text, lambda obj: obj["spec"].update(volumes=[{"name": "v"}]))

    assert result == text + "  volumes:\r\n  - name: v\r\n"


def test_a_missing_newline_at_the_end_stays_missing() -> None:
    text = (HEAD + "x: 1").removesuffix("\n")

    assert edit(text, put("z", value=2)) == text + "\nz: 2"


def test_other_documents_keep_every_byte() -> None:
    odd = "---\n\n# c\n" + HEAD + "x:   [ 1 ]   # odd\n...\n"
    text = f"{HEAD}{odd}---\n{HEAD}"

    assert edit(text, put("x", value=1), 0) == f"{HEAD}x: 1\n{odd}---\n{HEAD}"


def test_a_member_of_a_list_is_changed_in_its_place() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n# one\n- apiVersion: v1\n  kind: Pod\n"
        "  metadata:\n    name: a\n- apiVersion: v1\n  kind: Pod\n  metadata:\n    name: b # two\n"
    )

    result = edit(text, put("metadata", "namespace", value="ns"), 1)

    assert result == text + "    namespace: ns\n"


@pytest.mark.parametrize(
    ("text", "path"),
    [
        pytest.param("x: &a\n  b: 1\nk: *a\n", ("x", "b"), id="anchored"),
        pytest.param("x: &a 1\nk: *a\n", ("x",), id="anchored-scalar"),
        pytest.param("x: {a: 1, # c\n  b: 2}\n", ("x", "a"), id="comment-in-flow"),
        pytest.param("x: &a {b: 1}\nk:\n  <<: *a\n", ("x", "b"), id="merged"),
        pytest.param("? x\n: 1\n", ("x",), id="explicit-key"),
    ],
)
def test_what_cannot_be_spliced_is_written_anew(text: str, path: tuple[str, ...]) -> None:
    result = edit(f"# head\n{HEAD}{text}", put(*path, value="changed"))

    assert result.startswith("# head\napiVersion: v1\n")


def test_a_merged_value_is_overridden_by_a_key_of_its_own() -> None:
    text = HEAD + "x: &a {b: 1, c: 1}\nk:\n  <<: *a\n  d: 1\n"

    assert edit(text, put("k", "b", value=2)) == text.replace("k:\n", "k:\n  b: 2\n")


def test_an_unknown_index_is_refused() -> None:
    with pytest.raises(ContrastError, match="found document index 1, expected below 1"):
        rewrite(HEAD, {1: {}})


scalars = (
    st.none()
    | st.booleans()
    | st.integers(-10, 10)
    | st.text(st.characters(max_codepoint=0xFFFD, exclude_categories=["Cs"]), max_size=8)
    | st.sampled_from(["on", "1e3", "0777", "null", "2024-01-01", "a#b", "a: b", "- a", "a\nb\n", "1:30", "=", "<<", "~"])
)  # fmt: skip
keys = st.sampled_from(["a", "b", "c", "name", "x y", "on", "1"])
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=3),
    max_leaves=12,
)
styles = st.sampled_from(["block", "flow", "canonical"])


def written(obj: dict[str, Any], style: str) -> str:
    if style == "canonical":
        return json.dumps(obj)
    quoted = yaml.dump(
        obj, Dumper=yaml.CSafeDumper, default_flow_style=style == "flow", default_style='"',
        allow_unicode=True, sort_keys=False, width=60,
    )  # fmt: skip
    return str(quoted)


@pytest.mark.sweep
@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    now=st.dictionaries(keys, values, max_size=4),
    want=st.dictionaries(keys, values, max_size=4),
    style=styles,
)
def test_any_object_can_become_any_other(
    now: dict[str, Any], want: dict[str, Any], style: str
) -> None:
    head = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}
    text = f"# first\n---\n{HEAD}---\n# second\n{written({**head, 'spec': now}, style)}\n"
    first = parse_documents(text, "a.yml")[1].obj

    result = rewrite(text, {1: {**first, "spec": want}})

    assert parse_documents(result, "a.yml")[1].obj == {**first, "spec": want}
    assert result.startswith(f"# first\n---\n{HEAD}---\n# second\n")


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    edits=st.dictionaries(
        st.sampled_from(["a", "image", "z", "resources", "env"]), values, min_size=1, max_size=3
    ),
    step=st.sampled_from([0, 2]),
    newline=st.sampled_from(["\n", "\r\n"]),
)
def test_comments_survive_every_insertion(edits: dict[str, Any], step: int, newline: str) -> None:
    pad = " " * step
    lines = [
        "# top", "apiVersion: v1 # v", "kind: Pod", "# of metadata", "metadata:", "  # of name", "  name: a # n",
        "spec:", "  # of containers", "  containers: # list", f"  {pad}# of the first", f"  {pad}- image: x # x",
        f"  {pad}  # of name", f"  {pad}  name: b", "  # behind", "# end",
    ]  # fmt: skip
    text = newline.join([*lines, ""])
    wanted = copy.deepcopy(parse_documents(text, "a.yml")[0].obj)
    wanted["spec"]["containers"][0] |= edits

    result = rewrite(text, {0: wanted})

    assert parse_documents(result, "a.yml")[0].obj == wanted
    found = [line for line in result.splitlines() if "#" in line]
    assert [line for line in lines if "#" in line and "image" not in line] == [
        line for line in found if line in lines and "image" not in line
    ]


def test_around_anchors_a_value_is_written_anew_and_what_surrounds_it_stays() -> None:
    text = (
        "# head\n"
        "apiVersion: v1\n"
        "kind: Pod\n"
        "metadata: &m # meta\n"
        "  name: a # name\n"
        "spec:\n"
        "  # above\n"
        "  containers:\n"
        "    - &c\n"
        "      name: a\n"
        "      image: b\n"
        "    - <<: *c\n"
        "      name: d\n"
        "  # below\n"
        "  volumes: [] # last\n"
        "status: *m\n"
    )
    (document,) = parse_documents(text, "a.yml")
    wanted = copy.deepcopy(document.obj)
    for container in wanted["spec"]["containers"]:
        container["image"] = "b@sha256:0"

    written = rewrite(text, {0: wanted})

    assert parse_documents(written, "a.yml")[0].obj == wanted
    assert [line for line in text.splitlines() if line not in written.splitlines()] == [
        "    - &c",
        "      name: a",
        "      image: b",
        "    - <<: *c",
        "      name: d",
    ]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        pytest.param(
            '{\n\t"kind": "Pod",\n\t"apiVersion": "v1",\n\t"metadata": {"name": "a"}\n}\n',
            '{\n\t"kind": "Pod",\n\t"apiVersion": "v1",\n\t"metadata": {\n\t\t"name": "a",\n\t\t"x": "\\u2028"\n\t}\n}\n',
            id="indented",
        ),
        pytest.param(
            '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a"}}',
            '{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","x":"\\u2028"}}',
            id="dense",
        ),
    ],
)
def test_json_stays_json(before: str, after: str) -> None:
    assert edit(before, put("metadata", "x", value="\u2028")) == after


def test_only_the_changed_object_of_a_json_file_is_written_anew() -> None:
    other = '{ "kind": "Pod", "apiVersion":"v1", "metadata":{"name":"a"} }'
    text = f"{other}\n{other}\n"

    result = edit(text, put("metadata", "name", value="b"), 1)

    assert (
        result
        == f"{other}\n{json.dumps({'kind': 'Pod', 'apiVersion': 'v1', 'metadata': {'name': 'b'}})}\n"
    )
