"""Reading files of Kubernetes documents: what is found, where, and what is refused."""

import json

import pytest

from contrast_tasks.kube.documents import (
    KubeError,
    decode,
    kept_documents,
    line_of,
    location,
    parse_documents,
)

POD = "apiVersion: v1\nkind: Pod\nmetadata:\n  name: a\n"


def lines_of(text: str) -> list[str]:
    with pytest.raises(KubeError) as error:
        parse_documents(text, "a.yml")
    assert {finding.code for finding in error.value.findings} == {"G003"}
    return [f"{finding.where.line}: {finding.message}" for finding in error.value.findings]


def test_documents_carry_index_and_line() -> None:
    text = f"# head\n{POD}---\n# between\n{POD}"

    found = parse_documents(text, "a.yml")

    assert [(document.index, document.line) for document in found] == [(0, 2), (1, 8)]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"---\n{POD}", id="marker-first"),
        pytest.param(f"{POD}---\n", id="marker-last"),
        pytest.param(f"{POD}...\n", id="end-marker"),
        pytest.param(f"---\n---\n# nothing\n---\n{POD}---\n---\nnull\n", id="empty-documents"),
        pytest.param(f"\ufeff{POD}", id="byte-order-mark"),
        pytest.param(POD.replace("\n", "\r\n"), id="crlf"),
        pytest.param(POD.rstrip("\n"), id="no-newline-at-end"),
        pytest.param(f"%YAML 1.1\n---\n{POD}", id="directive"),
        pytest.param("--- {apiVersion: v1, kind: Pod, metadata: {name: a}}", id="flow"),
        pytest.param('{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}}', id="json"),
    ],
)
def test_every_form_of_one_document_is_one_document(text: str) -> None:
    assert [document.name for document in parse_documents(text, "a.yml")] == ["a"]


@pytest.mark.parametrize("text", ["", "\n", "# only\n", "---\n---\n"])
def test_a_file_without_objects_has_none(text: str) -> None:
    assert parse_documents(text, "a.yml") == []


CONFIG = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: b}\ndata: {k: "


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(f"\ufeff{POD}---\n\ufeff{POD}", id="after the marker"),
        pytest.param(f"{POD}--- # next\r\n\ufeff{POD}", id="after a comment"),
        pytest.param(f"{POD}\ufeff---\n{POD}", id="before the marker"),
        pytest.param(f"{POD}---\n\ufeff# head\n{POD}", id="before a comment"),
        pytest.param(f"{POD}---\n\ufeff---\n{POD}", id="between two markers"),
    ],
)
def test_files_joined_with_their_byte_order_marks_are_read(text: str) -> None:
    found = parse_documents(decode(text.encode(), "a.yml"), "a.yml")

    assert [document.name for document in found] == ["a", "a"]
    assert text.count("\n", 0, text.rindex("apiVersion")) + 1 == found[1].line


def test_a_byte_order_mark_inside_of_a_value_stays() -> None:
    text = f'{CONFIG}"\ufeffa\ufeff"}}\n'

    assert parse_documents(decode(text.encode(), "a.yml"), "a.yml")[0].obj["data"] == {
        "k": "\ufeffa\ufeff"
    }


@pytest.mark.parametrize(
    ("written", "value"),
    [
        (r"\ud83d\ude00", "\U0001f600"),
        (r"\\\uD83D\uDE00", "\\\U0001f600"),
        (r"\\ud83d\\ude00", r"\ud83d\ude00"),
        (r"\u00fc\u2028\/", "\u00fc\u2028/"),
    ],
)
def test_escapes_of_json_are_read_as_json(written: str, value: str) -> None:
    # The right value is that of Python's own reader of JSON.
    text = (
        ' {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"},'
        f' "data": {{"k": "{written}"}}}}'
    )
    assert json.loads(text)["data"]["k"] == value

    assert parse_documents(decode(text.encode(), "a.yml"), "a.yml")[0].obj["data"]["k"] == value


@pytest.mark.parametrize(
    ("written", "value"),
    [
        ("0008", 8),
        ("0010", 8),
        ("1e3", 1000),
        ("8.0", 8),
        ("-1E2", -100),
        ("09.50", 9.5),
        ("1e-3", 0.001),
        ("1e21", 1e21),
    ],
)
def test_whole_numbers_are_whole_however_they_are_written(written: str, value: float) -> None:
    found = parse_documents(f"{POD}spec: {{count: {written}}}\n", "a.yml")[0].obj["spec"]["count"]

    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize(("api", "kind"), [("batch/v1", "Job"), ("v1", "Pod")])
def test_what_ends_by_itself_may_have_a_generated_name(api: str, kind: str) -> None:
    text = f"apiVersion: {api}\nkind: {kind}\nmetadata: {{generateName: nightly-, name: ''}}\n"

    [found] = parse_documents(text, "a.yml")

    assert found.name == "nightly-"


def test_a_generated_name_of_what_stays_is_refused_by_its_name() -> None:
    text = "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  generateName: web-\n"

    [line] = lines_of(text)
    assert line.startswith("1: found metadata.generateName, expected metadata.name")


# As kubectl's decoder reads a file: JSON with tabs, and one object behind the other.
JSON = """{
\t"apiVersion": "v1", "kind": "ConfigMap",
\t"metadata": {"name": "a"},
\t"data": {"path": "a\\/b", "smile": "\\ud83d\\ude00"}
}
{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "b"}}
  {
  "apiVersion": "v1", "kind": "Secret",
  "metadata": {"name": "c"}
}
"""


def test_json_may_have_several_objects() -> None:
    found = parse_documents(decode(JSON.encode(), "a.json"), "a.json")

    places = [(each.name, each.line, line_of(each, ("metadata", "name"))) for each in found]
    assert places == [("a", 2, 3), ("b", 6, 6), ("c", 8, 9)]
    assert found[0].obj["data"] == {"path": "a/b", "smile": "\U0001f600"}


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param('{\n "apiVersion": "v1"\n "kind": "Pod"\n}\n', 3, "invalid yaml", id="comma"),
        pytest.param('{\n "name": "package"\n}\n', 1, "no Kubernetes object", id="other"),
        pytest.param("[\n 1\n]\n", 1, "a sequence", id="list"),
    ],
)
def test_json_that_is_no_object_is_named_with_its_line(text: str, line: int, words: str) -> None:
    first, *_ = lines_of(text)

    assert first.startswith(f"{line}: ")
    assert words in first


@pytest.mark.parametrize("kind", ["List", "PodList", "MixedList"])
def test_lists_of_any_kind_are_expanded(kind: str) -> None:
    items = f"- {POD.rstrip()}".replace("\n", "\n  ")
    found = parse_documents(f"apiVersion: v1\nkind: {kind}\nitems:\n{items}\n{items}\n", "a.yml")

    assert [(each.kind, each.name, each.line, each.path) for each in found] == [
        ("Pod", "a", 4, ("items", 0)),
        ("Pod", "a", 8, ("items", 1)),
    ]


def test_items_of_a_list_of_one_kind_have_it_by_default() -> None:
    text = (
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: RoleList\nitems:\n- metadata: {name: a}\n"
        "  rules: []\n- apiVersion: v1\n  kind: Pod\n  metadata: {name: b}\n"
    )

    first, second = parse_documents(text, "a.yml")

    assert first.obj == {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "a"},
        "rules": [],
    }
    assert (second.kind, second.obj["apiVersion"]) == ("Pod", "v1")
    assert lines_of("apiVersion: v1\nkind: List\nitems:\n- metadata: {name: a}\n") == [
        "4: found no apiVersion, expected a string",
        "4: found no kind, expected a string",
    ]


def test_a_list_is_expanded() -> None:
    text = (
        "apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata:\n"
        "    name: a\n- apiVersion: v1\n  kind: Service\n  metadata:\n    name: b\n"
    )

    found = parse_documents(text, "a.yml")

    assert [(document.kind, document.line) for document in found] == [("Pod", 4), ("Service", 8)]


@pytest.mark.parametrize(
    ("scalar", "value"),
    [
        ("2024-01-01", "2024-01-01"),
        ("1:30", "1:30"),
        ("1e3", 1000),
        ("0777", 511),
        ("0o17", 15),
        ("0x1F", 31),
        ("-0b11", -3),
        ("1_000", 1000),
        ("on", True),
        ("n", False),
        ("~", None),
        ("=", "="),
        ("!!str 1", "1"),
        ("08", 8),
    ],
)
def test_scalars_are_what_kubectl_takes_them_for(scalar: str, value: object) -> None:
    found = parse_documents(f"{POD}x: {scalar}\n", "a.yml")[0].obj["x"]

    assert (type(found), found) == (type(value), value)


def test_aliases_and_merge_keys_are_expanded() -> None:
    text = f"{POD}x: &x {{a: 1, b: 2}}\nk: *x\nz: {{<<: *x, b: 3}}\n"

    obj = parse_documents(text, "a.yml")[0].obj

    assert (obj["k"], obj["z"]) == ({"a": 1, "b": 2}, {"a": 1, "b": 3})


def test_keys_that_are_no_texts_become_texts() -> None:
    assert parse_documents(f"{POD}x: {{1: a, on: b}}\n", "a.yml")[0].obj["x"] == {
        "1": "a",
        "true": "b",
    }


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        pytest.param(f"{POD}spec:\n\tcontainers: []\n", 6, "found a tab", id="tab"),
        pytest.param(f"{POD}spec: [a\n", 6, "invalid yaml", id="open-bracket"),
        pytest.param(f'{POD}x: "a\n', 6, "invalid yaml", id="open-quote"),
        pytest.param(f"{POD}  x: 1\n y: 2\n", 6, "invalid yaml", id="indentation"),
        pytest.param(f"{POD}x: *nowhere\n", 5, "invalid yaml", id="unknown-alias"),
        pytest.param(f"{POD}x: a: b\n", 5, "invalid yaml", id="two-colons"),
        pytest.param(f"{POD}...\n{POD}", 6, "second document", id="no-marker"),
        pytest.param(f"{POD}x: \x01\n", 5, "expected yaml text", id="control-character"),
        pytest.param(f"{POD}kind: Pod\n", 5, "duplicate key 'kind'", id="duplicate-key"),
        pytest.param(
            f"{POD}x: {{1: a, '1': b}}\n", 5, "duplicate key '1'", id="duplicate-after-json"
        ),
        pytest.param(f"{POD}x: !secret a\n", 5, "found the tag '!secret'", id="tag"),
        pytest.param(f"{POD}x: !!binary aGk=\n", 5, "found the tag", id="binary"),
        pytest.param(f"{POD}x: {{<<: 1}}\n", 5, "no mapping after the merge key", id="bad-merge"),
        pytest.param(f"{POD}x: {{[a]: b}}\n", 5, "a collection as a key", id="collection-key"),
        pytest.param(f"{POD}x: &x [*x]\n", 5, "refers to itself", id="self-alias"),
        pytest.param("kind: Pod\nmetadata: {name: a}\n", 1, "no apiVersion", id="no-api-version"),
        pytest.param("apiVersion: v1\nmetadata: {name: a}\n", 1, "no kind", id="no-kind"),
        pytest.param("apiVersion: v1\nkind: Pod\n", 1, "no metadata", id="no-metadata"),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {}\n", 1, "no metadata.name", id="no-name"
        ),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: 1}\n", 1, "a number as", id="number-name"
        ),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: a\n",
            1,
            "a string as metadata",
            id="text-metadata",
        ),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a/b}\n", 1, "'a/b' as", id="slash"
        ),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: ..}\n", 1, "'..' as", id="parent"
        ),
        pytest.param(
            'apiVersion: v1\nkind: Pod\nmetadata: {name: "a\\0b"}\n', 1, "x00b' as", id="nul"
        ),
        pytest.param(
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a, namespace: ../b}\n",
            1,
            "as metadata.namespace, expected no",
            id="namespace",
        ),
        pytest.param(f"{POD}x: !!set {{a}}\n", 5, "found the tag", id="tag-of-a-mapping"),
        pytest.param(f"{POD}x: !!omap [a]\n", 5, "found the tag", id="tag-of-a-sequence"),
        pytest.param("- a\n", 1, "found a sequence", id="sequence"),
        pytest.param("just text\n", 1, "found a string", id="text"),
    ],
)
def test_what_cannot_be_used_is_named_with_its_line(text: str, line: int, words: str) -> None:
    found = lines_of(text)

    assert len(found) == 1
    assert found[0].startswith(f"{line}: ")
    assert words in found[0]


def test_all_broken_documents_are_named_not_only_the_first() -> None:
    text = f"{POD}x: [\n---\n{POD}---\nkind: Pod\n---\n{POD}kind: Pod\n"

    with pytest.raises(KubeError) as caught:
        parse_documents(text, "a.yml")

    assert [finding.where.line for finding in caught.value.findings] == [6, 12, 12, 18]


def test_an_alias_bomb_is_refused() -> None:
    levels = "".join(f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]\n" for n in range(1, 8))

    found = lines_of(f"{POD}l0: &l0 [a]\n{levels}")

    assert found == [found[0]]
    assert "aliases expand to more than" in found[0]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        pytest.param("a: " + "[" * 100_000, 5, id="flow"),
        pytest.param("a: " + "[b: " * 60 + "1", 5, id="pairs"),
        pytest.param("a:\n" + "- " * 20_000 + "b\n", 6, id="dashes"),
        pytest.param("a:\r" + "- " * 20_000 + "b\n", 6, id="dashes after a return"),
        pytest.param("".join(" " * n + "a:\n" for n in range(150)), 105, id="block"),
        pytest.param(
            "".join(f"{' ' * n}a:\n{' ' * n}-\n" for n in range(90)), 105, id="alternating"
        ),
    ],
)
def test_collections_nested_without_end_are_refused_before_the_parser_follows_them(
    text: str, line: int
) -> None:
    found = lines_of(f"{POD}{text}")

    assert found == [
        f"{line}: found invalid yaml, collections nested deeper than 100 levels",
    ]


def test_aliases_may_not_nest_deeper_than_text_does() -> None:
    chain = "".join(f"l{n}: &l{n} {{a: *l{n - 1}}}\n" for n in range(1, 1500))

    found = lines_of(f"{POD}l0: &l0 {{a: 1}}\n{chain}")

    assert len(found) == 1
    assert "aliases nest collections deeper than 100 levels" in found[0]


def test_nesting_that_kubernetes_could_hold_is_read() -> None:
    deep = "{a: " * 95 + "1" + "}" * 95

    (document,) = parse_documents(f"{POD}spec: {deep}\n", "a.yml")

    assert document.obj["spec"]["a"]["a"]


def test_bytes_that_are_not_utf8_are_named_with_their_line() -> None:
    with pytest.raises(KubeError) as error:
        decode(b"a: 1\nb: \xff\n", "a.yml")

    assert str(error.value.findings[0].where) == "a.yml:2"


def test_a_path_has_a_line_and_a_missing_one_that_of_its_ancestor() -> None:
    document = parse_documents(f"{POD}spec:\n  containers:\n  - name: b\n    image: c\n", "a.yml")[
        0
    ]

    assert line_of(document, ("spec", "containers", 0, "image")) == 8
    assert line_of(document, ("spec", "containers", 0, "env", 3)) == 7
    assert line_of(document, ("status",)) == 1


def test_a_location_has_a_json_pointer() -> None:
    document = parse_documents(POD, "a.yml")[0]

    assert (
        location(document, ("metadata", "annotations", "a/b~c")).pointer
        == "/metadata/annotations/a~1b~0c"
    )


def test_the_text_of_a_document_does_not_depend_on_its_neighbours() -> None:
    alone = parse_documents(POD, "a.yml")[0].text
    among = parse_documents(f"---\n{POD}\n---\n{POD}", "a.yml")

    assert [document.text for document in among] == [alone, alone]


def test_files_stay_parsed_as_long_as_their_texts_are_short() -> None:
    first = kept_documents(POD, "a.yml")
    again, other = kept_documents(POD, "a.yml"), kept_documents(POD, "b.yml")
    kept_documents(f"{POD}# {'long ' * 200_000}\n", "c.yml")

    assert again is first
    assert [each.file for each in other[0]] == ["b.yml"]
    assert kept_documents(POD, "a.yml") is not first
