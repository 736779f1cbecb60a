"""The audit report as JSON and as a page: what it says, and what it must not do in a browser."""

import json
import re
from html.parser import HTMLParser
from importlib.resources import files
from pathlib import Path

import pytest

from contrast_tasks.attestation.issuers.simulated import SimulatedProcessor
from contrast_tasks.client.audit import run_audit
from contrast_tasks.client.audit_page import render_page
from contrast_tasks.client.audit_picture import connections, draw
from contrast_tasks.errors import MismatchError
from contrast_tasks.files import sha256_hex
from contrast_tasks.manifest.model import PolicyEntry
from tests.client.test_audit import policy_of
from tests.fakes.browser import needs_browser, verdict
from tests.fakes.deployment import COORDINATOR, COORDINATOR_POLICY, Project

HOSTILE = "<script>alert(1)</script>\"'&"


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> SimulatedProcessor:
    return SimulatedProcessor.load_or_create(tmp_path_factory.mktemp("page") / "processor")


@pytest.fixture
def project(tmp_path: Path, simulated: SimulatedProcessor) -> Project:
    """Return a project whose web accepts anybody at two ports and leads to emoji-svc."""
    project = Project(tmp_path, simulated)
    (tmp_path / "verify").mkdir()
    policy = policy_of()
    project.entries = {
        COORDINATOR: project.entries[COORDINATOR],
        sha256_hex(policy): PolicyEntry(sans=("web", "*"), workload_secret_id=HOSTILE),
    }
    for content in (COORDINATOR_POLICY, policy):
        (tmp_path / "verify" / f"policy.{sha256_hex(content)}.rego").write_bytes(content)
    write(project, 0)
    return project


def write(project: Project, number: int) -> None:
    content = project.write_manifest()
    (project.root / "verify" / f"manifest.{number}.json").write_bytes(content)


class Elements(HTMLParser):
    """Collects the elements of a page with their attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_who_may_connect_is_what_the_annotations_say(project: Project) -> None:
    """The annotations are those of `policy_of`: web#8080#false##m#9090#true, and e#127.137.0.1:1#emoji-svc:2."""
    rows = connections(run_audit(project.settings).workloads)

    assert [tuple(row) for row in rows] == [
        ("mutual", "workloads of the mesh", "web", "every other port", "mutual TLS"),
        ("open", "anybody", "web", "port 8080", "TLS without client certificate"),
        ("open", "anybody", "web", "port 9090", "plain, no TLS at all"),
        ("mutual", "web", "emoji-svc", "port 2", "mutual TLS"),
    ]
    drawing = draw(rows)
    assert drawing.count("<path") == 4
    assert drawing.count('class="open"') == 2


def test_a_drawing_that_nobody_could_read_is_left_out(project: Project) -> None:
    row = connections(run_audit(project.settings).workloads)[0]

    assert draw([row._replace(target=f"w{number}") for number in range(41)]) == ""
    assert draw([]) == ""


def test_nothing_of_a_manifest_becomes_markup_and_nothing_is_loaded(project: Project) -> None:
    page = render_page(run_audit(project.settings))

    elements = Elements(page).found
    assert {tag for tag, _ in elements} & {"script", "iframe", "link", "img", "object"} == set()
    assert [
        name for _, attributes in elements for name in attributes if name.startswith("on")
    ] == []
    targets = [attributes["href"] for _, attributes in elements if "href" in attributes]
    assert targets
    assert all(target and target.startswith("#") for target in targets)
    assert "url(" not in page
    assert "&lt;script&gt;alert(1)" in page
    policy = next(
        attributes["content"] for tag, attributes in elements if attributes.get("http-equiv")
    )
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_a_drawn_name_is_escaped(project: Project) -> None:
    row = connections(run_audit(project.settings).workloads)[0]

    assert "<script>" not in draw([row._replace(source="<script>", target="a&b")])


def test_json_has_members_for_each_fact(project: Project) -> None:
    document = json.loads(json.dumps(run_audit(project.settings).to_json()))

    web = next(each for each in document["workloads"] if each["name"] == "web")
    assert document["generations"][0]["number"] == 0
    assert web["secret_id"] == HOSTILE
    assert web["allows"]["has_our_rules"] is True
    assert web["allows"]["mesh"]["config"]["egress"][0]["remote_host"] == "emoji-svc"
    app = next(each for each in web["allows"]["containers"] if each["name"] == "app")
    assert app["command"] == '/app "--serve me"'
    assert app["env"] == ["HOSTNAME", "PATH", "SECRET"]


def test_after_a_mark_the_report_says_what_changed_since(project: Project) -> None:
    assert run_audit(project.settings).since is None
    run_audit(project.settings, mark=True)
    first = run_audit(project.settings)
    assert first.since is not None
    assert (first.since.number, first.since.changes) == (0, ())
    assert "since the last audit, of manifest 0\n  changed  nothing\n" in first.text
    # A second and a third one, of which only the sum matters.
    (web,) = (name for name in project.entries if name != COORDINATOR)
    project.entries[web] = project.entries[web].replace(sans=("web", "10.0.0.1"))
    write(project, 1)
    project.entries[web] = project.entries[web].replace(sans=("web", "10.0.0.2"))
    write(project, 2)

    changed = run_audit(project.settings, mark=True)

    assert changed.since is not None
    assert changed.since.changes == ("web: SANs web * became web 10.0.0.2",)
    assert "<li>web: SANs web * became web 10.0.0.2</li>" in render_page(changed)
    again = run_audit(project.settings)
    assert again.since is not None
    assert again.since.number == 2


@pytest.mark.parametrize("mark", [b"ab" * 32, b"\xff", b""])
def test_a_mark_of_another_history_is_told(project: Project, mark: bytes) -> None:
    (project.root / "verify" / "audited").write_bytes(mark)

    audit = run_audit(project.settings)

    assert "the manifest that was audited is not in this history" in audit.text
    assert "is not in this history" in render_page(audit)


def test_no_mark_is_left_by_an_audit_that_fails(project: Project) -> None:
    next((project.root / "verify").glob("policy.*.rego")).unlink()

    with pytest.raises(MismatchError):
        run_audit(project.settings, mark=True)

    assert not (project.root / "verify" / "audited").exists()


@pytest.mark.e2e
@needs_browser
@pytest.mark.parametrize("width", [390, 1100])
def test_a_browser_and_an_accessibility_checker_find_no_fault(
    project: Project, tmp_path: Path, width: int
) -> None:
    """axe-core runs in Chromium on the page, which itself forbids scripts; its verdict is written into the document."""
    page = render_page(run_audit(project.settings))
    allowed = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", page)
    axe = files("axe_core_python").joinpath("axe.min.js").read_text()
    run = "axe.run().then(r => {document.title = 'verdict ' + JSON.stringify([r.violations.map(v => v.id + ': ' + v.nodes[0].html), r.passes.length, document.documentElement.scrollWidth])})"
    file = tmp_path / "page.html"
    file.write_text(
        allowed.replace("</body>", f"<script>{axe}</script><script>{run}</script></body>")
    )

    violations, passes, drawn = verdict(file, f"--window-size={width},900")

    assert violations == []
    assert passes > 15
    assert drawn <= max(
        width, 500
    )  # nothing sticks out to the right; Chromium's windows are at least 500 wide
