from tests.fakes.fixtures import project, reported, terminal

__all__ = ["project", "reported", "terminal"]
