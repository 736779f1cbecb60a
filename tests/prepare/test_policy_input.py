from contrast_tasks.prepare.policy_input import image_facts
from tests.fakes.workloads import locked


def test_the_facts_of_an_image_are_those_of_the_lock() -> None:
    facts = image_facts(locked("a:1", env=("A=b",)), "a:1@x")

    assert facts.reference == "a:1@x"
    assert facts.env == ("PATH=/usr/bin:/bin", "A=b")
    assert [each.diff_id for each in facts.layers or ()] == [locked("a:1").layers[0].diff_id]
