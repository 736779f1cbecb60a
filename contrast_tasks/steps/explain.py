"""Explain: why a policy denied what an event of the cluster or an agent's log of requests tells of."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from contrast_tasks.errors import UsageError


def read_file(path: Path) -> bytes:
    """Return the bytes of a file; raises UsageError if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as err:
        raise UsageError(f"cannot read {path.name}: {(err.strerror or '').lower()}") from err


def explain_text(policy: bytes, text: str, *, name: str) -> dict[str, Any]:
    """Return the number of requests in the text, and the denied ones with their reasons, as JSON values.

    text: the agent's `policy.jsonl`, or any text with a denial line of ours, as the message of an event; an event has
    no request, so that it shows what was expected only. name: what errors call the text.
    Raises UsageError if it is neither, PolicyEngineError if requests cannot be evaluated, ContrastError if the policy
    is not ours.
    """
    from contrast_tasks.policy.explain import explain, explain_event, read_log

    requests = list(read_log(text))
    if requests:
        found = explain(policy, requests)
    else:
        event = explain_event(policy, text)
        if event is None:
            raise UsageError(
                f"{name} holds neither requests nor a denial of ours",
                hint="give it the message of the pod's event, or the guest's policy.jsonl",
            )
        found = (event,)
    return {"requests": len(requests), "denied": [each.to_json() for each in found]}


def text_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Yield the explanation as lines for people."""
    for denied in result["denied"]:
        of = f" of {denied['container']}" if denied["container"] not in {"", "-", "?"} else ""
        yield f"{denied['kind']}{of} is denied"
        if not denied["reasons"]:
            yield "  no policy of ours allows this request"
        for reason in denied["reasons"]:
            names = f" ({', '.join(reason['names'])})" if reason["names"] else ""
            yield f"  {reason['code']}{names}: {reason['advice']}"
            for side in ("expected", "actual"):
                if reason[side] is not None:
                    yield f"    {side:<8} {json.dumps(reason[side], ensure_ascii=False, sort_keys=True)}"
    if not result["denied"]:
        yield f"none of {result['requests']} requests is denied"
