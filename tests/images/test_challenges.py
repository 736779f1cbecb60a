"""Challenges of registries. Sources: RFC 9110, 11.6.1 with its example; what registries were reported to send."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrast_tasks.images.challenges import parse_challenges

Found = list[tuple[str, dict[str, str]]]


def parsed(header: str) -> Found:
    return [(each.scheme, dict(each.parameters)) for each in parse_challenges(header)]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        pytest.param("", [], id="nothing"),
        pytest.param(" , ,", [], id="commas"),
        pytest.param("Negotiate", [("negotiate", {})], id="no parameter"),
        pytest.param('Basic realm="r"', [("basic", {"realm": "r"})], id="one"),
        pytest.param("Basic realm=r", [("basic", {"realm": "r"})], id="no quotes"),
        pytest.param(
            'Basic realm="simple", Newauth realm="apps", type=1, title="Login to \\"apps\\""',
            [
                ("basic", {"realm": "simple"}),
                ("newauth", {"realm": "apps", "type": "1", "title": 'Login to "apps"'}),
            ],
            id="the example of RFC 9110",
        ),
        pytest.param(
            'Negotiate, NTLM , Basic realm="a, Bearer b"',
            [("negotiate", {}), ("ntlm", {}), ("basic", {"realm": "a, Bearer b"})],
            id="a comma inside of quotes",
        ),
        pytest.param(
            "Negotiate oYH1MI==, Bearer realm=x",
            [("negotiate", {}), ("bearer", {"realm": "x"})],
            id="token68",
        ),
        pytest.param(
            'bEaReR  Realm\t= "https://a/t" ,SERVICE="s"',
            [("bearer", {"realm": "https://a/t", "service": "s"})],
            id="blanks and capitals",
        ),
        pytest.param(
            'Bearer realm="a",realm="b"', [("bearer", {"realm": "a"})], id="the first counts"
        ),
        pytest.param(
            'Bearer realm="a" service="s"', [("bearer", {"realm": "a", "service": "s"})], id="no comma"
        ),
        pytest.param('Bearer realm=""', [("bearer", {"realm": ""})], id="empty"),
        pytest.param('Basic realm="r", Bearer realm="open', [("basic", {"realm": "r"}), ("bearer", {})], id="open"),
        pytest.param('Basic realm="r", "Bearer"', [("basic", {"realm": "r"})], id="no scheme"),
        pytest.param("=x", [], id="no name"),
    ],
)  # fmt: skip
def test_challenges_are_told_apart(header: str, found: Found) -> None:
    assert parsed(header) == found


SCHEMES = st.sampled_from(["Basic", "Bearer", "Negotiate", "Digest"])
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
PARAMETERS = st.dictionaries(st.sampled_from(["realm", "service", "scope"]), VALUES, max_size=3)


@given(st.lists(st.tuples(SCHEMES, PARAMETERS), max_size=4))
def test_challenges_are_read_back_as_they_were_written(challenges: Found) -> None:
    def quoted(value: str) -> str:
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'

    header = ", ".join(
        " ".join(
            [scheme, ", ".join(f"{key}={quoted(value)}" for key, value in values.items())]
        ).strip()
        for scheme, values in challenges
    )

    assert parsed(header) == [(scheme.lower(), values) for scheme, values in challenges]


@given(st.text(max_size=200))
def test_any_text_is_read_without_an_error(header: str) -> None:
    parse_challenges(header)


def test_a_long_header_is_read_in_one_pass() -> None:
    assert len(parse_challenges("a " * 30_000 + "b" * 60_000)) == 30_000
