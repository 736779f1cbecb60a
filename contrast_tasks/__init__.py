"""Make a Kubernetes deployment confidential, as a task graph."""

__version__ = "0.1.0"
