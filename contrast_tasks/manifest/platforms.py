"""The platforms, for readers who look for them beside the manifest; settings need them below it."""

from contrast_tasks.platforms import (
    HANDLER_PREFIX,
    NAMES,
    PLATFORMS,
    SIMULATED_MEASUREMENT,
    Platform,
    Tee,
    platform,
    platform_of_handler,
)

__all__ = [
    "HANDLER_PREFIX",
    "NAMES",
    "PLATFORMS",
    "SIMULATED_MEASUREMENT",
    "Platform",
    "Tee",
    "platform",
    "platform_of_handler",
]
