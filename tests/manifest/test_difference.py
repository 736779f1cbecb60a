import pytest

from contrast_tasks.manifest.difference import compare, staying
from contrast_tasks.manifest.model import Manifest, PolicyEntry
from contrast_tasks.trusted_guests import ReferenceValues

A, B, C = ("0a" * 32, "0b" * 32, "0c" * 32)


def manifest(policies: dict[str, PolicyEntry], **more: tuple[str, ...]) -> Manifest:
    return Manifest(policies=policies, reference_values=ReferenceValues(), **more)


def entry(*sans: str, secret: str = "", role: str = "") -> PolicyEntry:
    return PolicyEntry(sans=sans, workload_secret_id=secret, role=role)


def names(before: Manifest, after: Manifest) -> list[tuple[str, str, str]]:
    return [
        (
            each.name,
            each.before.policy[:2] if each.before else "",
            each.after.policy[:2] if each.after else "",
        )
        for each in compare(before, after).workloads
    ]


def test_workloads_are_told_as_removed_added_and_changed_by_their_first_name() -> None:
    before = manifest({A: entry("web"), B: entry("old")})
    after = manifest({C: entry("web"), A: entry("new")})

    assert names(before, after) == [("old", "0b", ""), ("new", "", "0a"), ("web", "0a", "0c")]


def test_equal_manifests_have_no_difference() -> None:
    same = manifest({A: entry("web", secret="s")}, workload_owner_key_digests=(A,))

    found = compare(same, same)

    assert found.workloads == ()
    assert (found.owners_added, found.owners_removed, found.lost_secret_ids) == ((), (), ())
    assert not found.are_reference_values_changed
    assert not found.are_seedshare_owners_changed


@pytest.mark.parametrize("sans", [("web",), ()])
def test_workloads_of_the_same_name_are_kept_apart(sans: tuple[str, ...]) -> None:
    before = manifest({A: entry(*sans), B: entry(*sans)})
    after = manifest({A: entry(*sans), C: entry(*sans)})

    assert names(before, after) == [(sans[0] if sans else "(no name)", "0b", "0c")]


def test_owners_and_secrets_that_nobody_has_any_more_are_told() -> None:
    before = manifest(
        {A: entry("web", secret="kept"), B: entry("db", secret="lost")},
        workload_owner_key_digests=(A, B),
    )
    after = manifest({A: entry("api", secret="kept")}, workload_owner_key_digests=(B, C))

    found = compare(before, after)

    assert (found.owners_added, found.owners_removed) == ((C,), (A,))
    assert found.lost_secret_ids == ("lost",)


def test_the_order_of_seed_share_owners_counts_as_the_coordinator_counts_it() -> None:
    before = manifest({}, seedshare_owner_pub_keys=("aa", "bb"))

    assert compare(
        before, manifest({}, seedshare_owner_pub_keys=("bb", "aa"))
    ).are_seedshare_owners_changed


def test_who_stays_and_is_no_coordinator_has_to_be_restarted() -> None:
    before = manifest({A: entry("web"), B: entry("coordinator", role="coordinator")})
    after = manifest(
        {C: entry("web"), B: entry("coordinator", role="coordinator"), A: entry("new")}
    )

    assert staying(before, after) == ["web"]
