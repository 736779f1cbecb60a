"""Tables run in one engine; the second one judges the first case of each test, each code and each kind of request."""

import pytest

from contrast_tasks.policy.engine import ENGINES

# What differs between the engines themselves, and what is bent at random, is asked of both.
_IN_BOTH = ("test_engine.py", "test_bent_requests.py")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seen: set[tuple[str, ...]] = set()
    spared: set[pytest.Item] = set()
    for item in items:
        case = getattr(item, "callspec", None)
        if case is None or item.path.parent.name != "policy" or item.path.name in _IN_BOTH:
            continue
        if not set(ENGINES[1:]) & {each for each in case.params.values() if isinstance(each, str)}:
            continue
        chosen = (str(case.params.get(name, "")) for name in ("code", "kind"))
        key = (item.path.name, getattr(item, "originalname", item.name), *chosen)
        if key in seen:
            spared.add(item)
        seen.add(key)
    config.hook.pytest_deselected(items=list(spared))
    items[:] = [item for item in items if item not in spared]
