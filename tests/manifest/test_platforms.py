from contrast_tasks import platforms as ground
from contrast_tasks.manifest import platforms


def test_the_platforms_are_those_of_the_ground_floor() -> None:
    assert platforms.PLATFORMS is ground.PLATFORMS
    assert platforms.platform is ground.platform
    assert platforms.SIMULATED_MEASUREMENT is ground.SIMULATED_MEASUREMENT
