from contrast_tasks.steps.check import _schema_findings


def test_a_difference_from_a_schema_is_a_finding_at_its_pointer() -> None:
    lock = {"version": 1, "images": [], "imagse": 1}

    (found,) = _schema_findings(lock, "lock", "contrast.lock")

    assert str(found) == (
        "contrast.lock: error[S001 schema]: the document has unknown 'imagse', expected one of version, images;"
        " did you mean 'images'?\n"
        "  hint: see schemas/lock.schema.json"
    )
