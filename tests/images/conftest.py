from tests.fakes.fixtures import reported

__all__ = ["reported"]
