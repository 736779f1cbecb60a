"""The platforms, for readers who look for them beside the manifest; settings need them below it."""

from contrast_tasks.platforms import (
    NAMES,
    PLATFORMS,
    SIMULATED_MEASUREMENT,
    Platform,
    Tee,
    platform,
)

__all__ = ["NAMES", "PLATFORMS", "SIMULATED_MEASUREMENT", "Platform", "Tee", "platform"]
