from tests.fakes.fixtures import generated, kept_project, project, terminal

__all__ = ["generated", "kept_project", "project", "terminal"]
