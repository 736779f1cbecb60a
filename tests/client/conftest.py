from tests.fakes.fixtures import project, terminal

__all__ = ["project", "terminal"]
