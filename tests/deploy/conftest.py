from tests.fakes.fixtures import project, terminal
from tests.fakes.kube.servers import any_server, real_server

__all__ = ["any_server", "project", "real_server", "terminal"]
