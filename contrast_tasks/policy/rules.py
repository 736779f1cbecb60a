"""The rules that all policies share: a readable file for auditors, and the compact text that policies contain.

Annotations are limited in size, and every pod carries the rules. So the text has neither comments nor indentation, and the
names that the file gives to rules and variables are replaced by short ones, which follow from the file alone.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import cache
from itertools import count, product
from string import ascii_lowercase, ascii_uppercase

from contrast_tasks.files import sha256_hex
from contrast_tasks.policy.rule_parts import PARTS, with_parts
from contrast_tasks.resources import read_bytes

_FILE = "templates/policy/rules.rego"
# Patterns, which are compiled when rules are shortened; most runs find them in the store.
# A quoted or raw string, which is kept; or a comment, line breaks and indentation.
_STRING_OR_BREAK = r'("(?:[^"\\\n]|\\.)*"|`[^`]*`)|(?:[ \t]*(?:#[^\n]*)?(?:\n|\Z))+[ \t]*'
# Breaks behind an opening bracket or a comma, those before a closing one, and the comma before it.
_BREAK = r"(?<=[{\[(,|])\n|,?\n(?=[}\])])"
# Unmodified regorus 0.9 accepts lines of at most 1,024 columns (docs/internals/policy.md 1.1).
_COLUMNS = 900
_HEAD = r"^(?:default )?([a-z_]\w*)"
_STRING = r'("(?:[^"\\\n]|\\.)*"|`[^`]*`)'
# A name that is neither a member of a value nor one of the data's.
_NAME = r"((?<![\w.])(?!policy_)[a-z_]\w*)"
# Blanks that separate nothing. Those beside a dash stay, since it may be the sign of a number.
_BLANK = r" +(?=[:=!<>]=|[,:|&{}\[\]()+*<>])|(?<=[:=!<>]=) +|(?<=[,:|&{}\[\]()+*<>]) +"
# What the language and the agent name; data.pstate and the members of input are members of values.
_FIXED = frozenset(
    {
        *("package", "import", "default", "if", "else", "some", "every", "in", "not", "with", "as"),
        *(
            "contains",
            "set",
            "true",
            "false",
            "null",
            "agent_policy",
            "rego",
            "data",
        ),
        *(
            "input",
            "array",
            "base64",
            "bits",
            "object",
            "regex",
            "print",
            "concat",
            "count",
            "endswith",
        ),
        *("indexof", "is_array", "is_boolean", "is_null", "is_number", "is_object", "is_string"),
        *("lower", "replace", "sort", "split", "sprintf", "startswith", "substring", "upper"),
        *("trim_prefix", "trim_suffix"),
    }
)
_KEPT = {name: name for name in ("_", *_FIXED)}


# From the parts that a policy needs, as a frozenset, to the rules as it contains them.
CompactRules = Callable[[frozenset[str]], str]


@cache
def compact_rules(parts: Collection[str] = frozenset(PARTS)) -> str:
    """Return the rules as policies contain them; parts: those that the data of the policy needs, as a frozenset."""
    rules = list(_rules_of(compact(with_parts(_readable(), parts))))
    return "".join(map(_tightened, _shortened(rules)))


@cache
def _readable() -> str:
    return read_bytes(_FILE).decode()


@cache
def rules_sha256() -> str:
    """Return the SHA-256 of the readable rules as 64 hex digits."""
    return sha256_hex(read_bytes(_FILE))


def compact(rego: str) -> str:
    """Return Rego without comments, indentation and empty lines, with a newline at the end.

    Line breaks separate the clauses of a body, so they stay; strings stay unchanged.
    """
    kept = re.sub(_STRING_OR_BREAK, lambda found: found[1] or "\n", rego)
    return kept.strip("\n") + "\n"


def shortened(rego: str) -> str:
    """Return Rego, as `compact` returns it, with short names for its own rules and variables, and without needless blanks.

    A rule is named by one or two letters, capital ones first, the shortest for the most frequent; the variables of a rule
    by small letters in the order of their appearance. Names that the language or the agent knows, members of values and
    strings stay. The result does not depend on anything but the text.
    """
    return "".join("".join(rule) for rule in _shortened(list(_rules_of(rego))))


def _shortened(rules: Sequence[Sequence[str]]) -> Iterator[list[str]]:
    heads = {found[1] for rule in rules if (found := re.match(_HEAD, rule[0]))} - _FIXED
    # Between two names stands what is none.
    cut = [[re.split(_NAME, code) for code in rule[::2]] for rule in rules]
    used = Counter(name for codes in cut for code in codes for name in code[1::2] if name in heads)
    names = dict(
        zip((name for name, _ in used.most_common()), _short_names(ascii_uppercase), strict=False)
    )
    for rule, codes in zip(rules, cut, strict=True):
        texts = list(rule)
        texts[::2] = _renamed(codes, names)
        yield texts


def tightened(rego: str) -> str:
    """Return Rego, as `shortened` returns it, without line breaks that separate nothing, and with strings that need no escapes.

    Compressed, both kinds of brackets and quotes take less if there is one form of each. Quotes are escaped in initdata.
    """
    return "".join(map(_tightened, _rules_of(rego)))


def _tightened(rule: Sequence[str]) -> str:
    texts = [part if index % 2 else re.sub(_BREAK, "", part) for index, part in enumerate(rule)]
    tight = "".join(unescaped(part) if index % 2 else part for index, part in enumerate(texts))
    if all(len(line) <= _COLUMNS for line in tight.split("\n")):
        return tight
    return "".join(rule)


def unescaped(string: str) -> str:
    """Return a string in the form without escapes, if it has none."""
    inner = string[1:-1]
    return string if "\\" in inner or "`" in inner else f"`{inner}`"


def _rules_of(rego: str) -> Iterator[list[str]]:
    """Yield each rule as texts of code and strings in turn; a rule begins at a line outside all brackets."""
    rule, depth = [""], 0
    for index, part in enumerate(re.split(_STRING, rego)):
        if index % 2:
            rule += [part, ""]
            continue
        for line in part.splitlines(keepends=True):
            rule[-1] += line
            depth += line.count("(") + line.count("[") + line.count("{")
            depth -= line.count(")") + line.count("]") + line.count("}")
            if not depth and line.endswith("\n"):
                yield rule
                rule = [""]
    yield rule


def _renamed(codes: Sequence[list[str]], rules: Mapping[str, str]) -> Iterator[str]:
    """Yield the texts of a rule with short names; codes: of each text, what is no name and names in turn."""
    names = {**_KEPT, **rules}
    unused = _short_names(ascii_lowercase)
    for code in codes:
        for index in range(1, len(code), 2):
            name = code[index]
            if name not in names:
                names[name] = next(unused)
            code[index] = names[name]
        yield re.sub(_BLANK, "", "".join(code))


def _short_names(letters: str) -> Iterator[str]:
    for length in count(1):
        for each in product(letters, repeat=length):
            if (name := "".join(each)) not in _FIXED:
                yield name
