import os
from pathlib import Path

from contrast_tasks.tasks.doit_overrides import ContentChecker


def _recorded(checker: ContentChecker, path: str) -> object:
    checker.info(path)
    return checker.get_state(path, None)


def test_an_untouched_file_is_not_modified(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    state = _recorded(ContentChecker(), str(path))
    checker = ContentChecker()

    assert not checker.check_modified(str(path), checker.info(str(path)), state)


def test_new_content_of_equal_size_under_the_old_time_is_modified(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    before = path.stat()
    state = _recorded(ContentChecker(), str(path))
    replacement = tmp_path / "replacement"
    replacement.write_text("two")
    os.utime(replacement, ns=(before.st_atime_ns, before.st_mtime_ns))
    replacement.rename(path)
    checker = ContentChecker()

    assert path.stat().st_mtime_ns == before.st_mtime_ns
    assert checker.check_modified(str(path), checker.info(str(path)), state)


def test_another_size_is_modified_without_reading(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    state = _recorded(ContentChecker(), str(path))
    path.write_text("three")
    checker = ContentChecker()

    assert checker.check_modified(str(path), checker.info(str(path)), state)


def test_a_touched_file_is_not_modified(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    state = _recorded(ContentChecker(), str(path))
    os.utime(path, ns=(1, 1))
    checker = ContentChecker()

    assert not checker.check_modified(str(path), checker.info(str(path)), state)


def test_a_file_that_changes_while_its_task_runs_is_never_recorded_as_done(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    checker = ContentChecker()
    checker.info(str(path))
    path.write_text("while running")
    state = checker.get_state(str(path), None)
    later = ContentChecker()

    assert state is not None
    assert later.check_modified(str(path), later.info(str(path)), state)


def test_an_unchanged_state_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("one")
    checker = ContentChecker()
    state = _recorded(checker, str(path))

    assert checker.get_state(str(path), state) is None  # type: ignore[arg-type]  # as doit hands it back
