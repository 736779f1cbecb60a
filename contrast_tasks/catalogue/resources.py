"""Findings on memory, processors and what a namespace allows."""

from contrast_tasks.catalogue.entry import (
    FIT_MEMORY,
    NO_CPU_LIMITS,
    Answer,
    define,
)

MEMORY_CONFLICT = define(
    "G030 memory-conflict error",
    "a container and the settings specify different amounts of memory",
    "change one of the two",
    answer=Answer("containers.NAME.memory"),
)
MEMORY_LIMIT = define(
    "G030 memory-limit error|note",
    "a main container has no memory limit, and the settings have no default",
    advice="set resources.limits.memory and resources.requests.memory to the same value, or memory"
    " in contrast.toml",
    answer=Answer("memory", is_for_all=True),
    can_be_ignored=True,
)
MEMORY_QUANTITY = define(
    "G030 memory-quantity error",
    "an amount of memory is malformed",
    advice="write an integer with a unit, such as 700Mi",
    answer=Answer("containers.NAME.memory", is_choice=True),
)
MEMORY_REQUEST_DIFFERS = define(
    "G030 memory-request error|note",
    "memory request and limit of a main container differ",
    advice="set both to the same value",
    answer=FIT_MEMORY,
    can_be_ignored=True,
)
MEMORY_LIMIT_IGNORED = define(
    "G031 memory-limit-ignored warning",
    "the memory limit of an init container does not enlarge the guest",
    "raise the limit of a main container instead",
    answer=FIT_MEMORY,
)
MEMORY_REQUEST = define(
    "G031 memory-request warning",
    "a container has a memory limit and no request",
    advice="set the request to the limit",
    answer=FIT_MEMORY,
)
MEMORY_BOUND = define(
    "G032 memory-bound warning",
    "the guest has less memory than the containers that run at the same time need",
    advice="raise memory limit and request of a main container",
    answer=FIT_MEMORY,
)
MEMORY_IMAGES = define(
    "G032 memory-images error",
    "the memory of the guest cannot hold the unpacked images",
    advice="raise memory limit and request of a main container",
    answer=FIT_MEMORY,
)
CPU_COUNT = define(
    "G033 cpu-count error",
    "the CPU limits make a guest with more virtual CPUs than the runtime's release can measure",
    "lower the limits",
    answer=NO_CPU_LIMITS,
)
CPU_GPUS = define(
    "G033 cpu-gpus error",
    "a guest has fewer virtual CPUs than GPUs",
    "raise resources.limits.cpu",
    why_none="the number of virtual CPUs is measured, so it belongs to what the pod is",
)
CPU_LIMIT = define(
    "G033 cpu-limit error",
    "a CPU limit changes the measurement of the guest",
    "remove resources.limits.cpu; a request is fine",
    answer=NO_CPU_LIMITS,
)
CPU_LIMIT_TDX = define(
    "G033 cpu-limit-tdx warning",
    "a CPU limit changes the number of a TDX guest's virtual CPUs, which its reference values do not name",
    "remove resources.limits.cpu, or measure the runtime with this number of virtual CPUs",
    answer=NO_CPU_LIMITS,
)
CPU_QUANTITY = define(
    "G033 cpu-quantity error",
    "a number of CPUs is malformed",
    advice="write a number of CPUs, such as 1.5 or 1500m",
    answer=NO_CPU_LIMITS,
)
CPU_REFERENCE = define(
    "G033 cpu-reference error",
    "no reference value holds for the number of virtual CPUs of a guest",
    "measure the runtime for this number too, or change the CPU limits",
    answer=NO_CPU_LIMITS,
)
LIMIT_RANGE = define(
    "G034 limit-range error",
    "a LimitRange of the namespace does not allow what a container asks for, so the API server refuses its pods",
    "change one of the two; containers that are injected count too",
    answer=Answer("containers.NAME.memory"),
)
