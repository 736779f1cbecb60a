from contrast_tasks.steps.work import Head, Work, parse_head, parse_work, render_work

WORK = Work(
    head=Head(
        policy_sha256="ab" * 32,
        sans=("web", "*"),
        workload_secret_id="apps/v1/Deployment/default/web",
        role="",
        findings=({"code": "G031", "where": {"file": "", "line": 3}},),
    ),
    obj={"kind": "Deployment", "metadata": {"name": "wéb", "z": 1, "a": 2}},
    policy=b"package agent_policy\n\nline\n",
)


def test_what_is_written_is_read_back() -> None:
    content = render_work(WORK)

    assert parse_work(content) == WORK
    assert parse_head(content) == WORK.head


def test_the_order_of_the_objects_keys_is_kept() -> None:
    assert list(parse_work(render_work(WORK)).obj["metadata"]) == ["name", "z", "a"]
