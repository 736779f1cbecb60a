"""The rules: static checks of the file that auditors read, and the reduction to what policies hold."""

import hashlib
import re

import pytest

from contrast_tasks.agent_messages import fill_defaults
from contrast_tasks.policy.engine import ENGINES, PolicyEngine
from contrast_tasks.policy.rule_parts import needed_parts
from contrast_tasks.policy.rules import compact, compact_rules, rules_sha256, shortened, tightened
from contrast_tasks.policy.text import parse_policy
from contrast_tasks.resources import read_text
from tests.fakes.policy import REQUESTS, policy_of, walked

RULES = read_text("templates/policy/rules.rego")
# docs/internals/policy.md 1.1: what every engine of interest has, with or without build features beyond `regex`.
_BUILTINS = (
    "array.concat bits.and concat contains count endswith indexof is_array is_boolean is_null is_number is_object "
    "is_string lower object.get object.keys object.union print regex.match replace sort split sprintf startswith "
    "substring trim_prefix trim_suffix upper base64.encode"
)
ALLOWED_BUILTINS = frozenset(_BUILTINS.split())


def _code() -> str:
    """Return the rules without comments and text literals."""
    text = re.sub(r"^#.*$", "", RULES, flags=re.MULTILINE)
    return re.sub(r'"(?:\\.|[^"\\])*"|`[^`]*`', '""', text)


def test_every_request_has_exactly_one_default_or_a_value() -> None:
    named = re.findall(r"^default (\w+Request|MemAgent\w+) :=", RULES, flags=re.MULTILINE)
    refused = re.findall(r'^(\w+) := (?:refuse|switched)\("\1"\)$', RULES, flags=re.MULTILINE)

    assert sorted(named + refused) == sorted(REQUESTS)


def test_every_rule_that_is_a_request_is_a_known_one() -> None:
    named = set(re.findall(r"^(?:default )?([A-Z]\w+)", RULES, flags=re.MULTILINE))

    assert named - set(REQUESTS) == {"AllowRequestsFailingPolicy"}


def test_the_known_members_are_those_of_the_messages() -> None:
    block = RULES.partition("known_members := {")[2].partition("\n}")[0]
    listed = {
        message: set(" ".join(re.findall(r'"([^"]+)"', texts)).split())
        for message, texts in re.findall(r'\n\t"(\w+)": (.*?)(?=,\n\t"|,$)', block, re.DOTALL)
    }
    requests = {kind: fill_defaults(kind, {}).keys() for kind in listed}
    nested = {name: fill_defaults("", {name: {}})[name].keys() for name in listed}

    # An address of an interface and one of a neighbour are the same message. Agents before 2026 send the raw content of a
    # file, those of AKS the target of a link; members of device nodes have no defaults.
    older = {"data", "symlink_src"}
    assert listed.pop("CopyFileRequest") == requests["CopyFileRequest"] | older
    assert listed.pop("Devices") == {"Path", "Type", "Major", "Minor", "FileMode", "UID", "GID"}
    assert listed == {name: set(requests[name] | nested[name]) for name in listed}
    assert len(listed) == 27


def test_failing_requests_are_never_tolerated() -> None:
    assert re.findall(r"AllowRequestsFailingPolicy.*", RULES) == [
        "AllowRequestsFailingPolicy := false"
    ]


def test_g11_only_builtins_that_every_agent_has_are_called() -> None:
    code = _code()
    own = set(re.findall(r"^([a-z_]+)\(", code, flags=re.MULTILINE))
    called = set(re.findall(r"([a-z_][a-z0-9_.]*)\(", code))

    assert called - own - {"set", "policy_container"} <= ALLOWED_BUILTINS


def test_lines_are_short_and_hold_one_clause() -> None:
    lines = _code().splitlines()
    # A comprehension may stand on one line; a body with two clauses may not.
    bodies = [line for line in lines if re.search(r"if \{[^}]*;", line)]

    assert max(map(len, RULES.splitlines())) <= 120
    assert [line for line in bodies if not re.search(r"[\[{][^\[{]*\|[^\]}]*;", line)] == []


def test_every_rule_has_the_sentence_that_says_what_it_is_for() -> None:
    head = re.compile(r'(?:default )?(\w+)((?: contains |\()"\w[^"]*")?')
    lines = RULES.splitlines()
    first: dict[str, int] = {}
    for number, line in enumerate(lines):
        if (found := head.match(line)) and found[1] not in ("package", "import"):
            first.setdefault(found[1] + (found[2] or ""), number)

    unsaid = [lines[number] for number in first.values() if not _is_said(lines, number)]

    assert unsaid == []
    assert len(first) > 200


def _is_said(lines: list[str], number: int) -> bool:
    """Return whether a comment is above a line, or above the list of lines that it is in."""
    while number and lines[number - 1] and not lines[number - 1].startswith(("#", "\t", "}")):
        number -= 1
    return lines[number - 1].startswith("# ")


def test_every_group_of_rules_has_a_heading() -> None:
    headings = re.findall(r"\n\n#\n# (.*)", RULES)

    assert next(each for each in headings if each.startswith("CreateContainer")).endswith("answer")
    assert [
        each.partition(":")[0] for each in headings if each.startswith(("Create", "Exec", "Copy"))
    ] == [
        "CreateSandbox",
        "CopyFile",
        *["CreateContainer"] * 9,
        "ExecProcess",
    ]


def test_the_module_begins_for_engines_of_both_generations() -> None:
    assert compact_rules().startswith("package agent_policy\nimport rego.v1\n")


@pytest.mark.parametrize(
    ("rego", "reduced"),
    [
        ("# one\n\n# two\na := 1 # three\n\n\tb := 2\n", "a := 1\nb := 2\n"),
        ('a := "# no comment" # one\n', 'a := "# no comment"\n'),
        ("a := `# no comment`  \n", "a := `# no comment`\n"),
        ('a := "\\"# no comment"\n', 'a := "\\"# no comment"\n'),
        ('a := "\\\\" # one\n', 'a := "\\\\"\n'),
        ("a := `\\` # one\n", "a := `\\`\n"),
        ("a := `\n\n\t# no comment\n`\n", "a := `\n\n\t# no comment\n`\n"),
        ('a := "`" # `\nb := "`"\n', 'a := "`"\nb := "`"\n'),
        ('a := `"` # one\nb := `"`\n', 'a := `"`\nb := `"`\n'),
        ("a if {\n\tb\n\n\t# one\n\tc\n}", "a if {\nb\nc\n}\n"),
        ('a := ""\n# one', 'a := ""\n'),
        ("a  :=  1\n", "a  :=  1\n"),
    ],
)
def test_comments_and_indentation_go_and_strings_stay(rego: str, reduced: str) -> None:
    assert compact(rego) == reduced
    assert compact(reduced) == reduced


def test_strings_of_the_rules_are_the_same_in_the_compact_form() -> None:
    literal = re.compile(r'"(?:\\.|[^"\\])*"|`[^`]*`')
    readable = re.sub(r"^\s*#.*$", "", RULES, flags=re.MULTILINE)

    contents = [[each[1:-1] for each in literal.findall(t)] for t in (compact_rules(), readable)]
    assert contents[0] == contents[1]


def test_the_digest_is_that_of_the_readable_file() -> None:
    assert rules_sha256() == hashlib.sha256(RULES.encode()).hexdigest()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("text", [RULES, compact_rules()], ids=["readable", "compact"])
def test_every_engine_takes_both_forms(text: str, engine: str) -> None:
    block = policy_of("web").decode().partition("\npolicy_version:=")[2]
    guest = PolicyEngine(f"{text}\npolicy_version:={block}".encode(), engine=engine)

    assert guest.ask("GuestDetailsRequest", {}).allowed
    assert not guest.ask("CreateContainerRequest", {}).allowed


@pytest.mark.parametrize(
    ("rego", "short"),
    [
        ("first(one) := two if {\ntwo := one\n}\n", "A(a):=b if{\nb:=a\n}\n"),
        ("rule := 1\nother := rule\n", "A:=1\nB:=A\n"),
        ("f(a) := g(a)\ng(a) := f(a)\nh := f(1)\n", "A(a):=B(a)\nB(a):=A(a)\nC:=A(1)\n"),
        ("default CopyFileRequest := false\n", "default CopyFileRequest:=false\n"),
        ('x := input.x[0].y - 1\nz := "x"\n', 'A:=input.x[0].y - 1\nB:="x"\n'),
        ("r if count(policy_pod.r) > 0\n", "A if count(policy_pod.r)>0\n"),
        ("s := {each | some each in data.pstate}\n", "A:={a|some a in data.pstate}\n"),
        ("t(_, `a`) if true\n", "A(_,`a`)if true\n"),
    ],
)
def test_own_names_are_shortened_rule_by_rule(rego: str, short: str) -> None:
    assert shortened(rego) == short


@pytest.mark.parametrize(
    ("rego", "tight"),
    [
        ("a if{\nb\nc\n}\n", "a if{b\nc}\n"),
        ("a:={\n`x`:1,\n`y`:[\n2,\n],\n}\n", "a:={`x`:1,`y`:[2]}\n"),
        ("a:={b|\nsome b in c\nb>1\n}\n", "a:={b|some b in c\nb>1}\n"),
        ('a:="x"\nb:="\\n"\nc:="`"\n', 'a:=`x`\nb:="\\n"\nc:="`"\n'),
        ("a:=`\n`\n", "a:=`\n`\n"),
        # A line of more than 900 columns would be too long for some engines.
        (f"a:=[\n{'1,' * 500}\n]\n", f"a:=[\n{'1,' * 500}\n]\n"),
    ],
)
def test_breaks_and_escapes_that_nothing_needs_go(rego: str, tight: str) -> None:
    assert tightened(rego) == tight


@pytest.mark.parametrize("engine", ENGINES)
def test_the_short_form_decides_as_the_readable_one(engine: str) -> None:
    policy = policy_of("rich")
    own = compact_rules(needed_parts(parse_policy(policy)))
    block = policy.decode().partition(own)[2]
    guests = [PolicyEngine(f"{rules}{block}".encode(), engine=engine) for rules in (RULES, own)]

    for step, _ in walked("rich"):
        decisions = [guest.ask(step.kind, step.input).allowed for guest in guests]
        assert decisions == [True, True]
    assert guests[0].state == guests[1].state
