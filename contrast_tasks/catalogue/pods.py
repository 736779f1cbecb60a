"""Findings on pods whose policy is derived: what policies cannot describe, and what the host could change."""

from contrast_tasks.catalogue.entry import (
    KUBERNETES,
    REMOVE,
    Answer,
    define,
)

NO_IMAGE = define(
    "G011 no-image error",
    "a container has no image",
    advice="add image: to the container",
    why_none=KUBERNETES,
)
NO_NAME = define(
    "G011 no-name error",
    "an object or a container has no usable name, or two containers have one name",
    "set metadata.name",
    why_none=KUBERNETES,
)
VOLUME = define(
    "G020 volume error",
    "a volume does not exist, or the host can read and change it",
    advice="use emptyDir, configMap, secret, projected or downwardAPI, or an encrypted block volume",
    answer=Answer("empty_dirs", is_choice=True),
)
IMAGE_VOLUME = define(
    "G021 image-volume error",
    "an image declares a VOLUME that nothing is mounted at, so the host would supply it",
    advice="mount an emptyDir at the path",
    answer=Answer("image_volumes", value="emptyDir", is_for_all=True),
)
CONFIG_ABSENT = define(
    "G080 missing-config error",
    "a variable takes its value from a ConfigMap or a Secret that is not among the sources",
    advice="add it to the sources, or set optional: true",
    answer=Answer("elsewhere.OBJECT", is_choice=True, is_in_workload=False),
)
CONFIG_VALUE = define(
    "G080 config-value error",
    "a variable takes its value from a key that does not exist, or that has a value which no variable can have",
    advice="correct the key or set optional: true; mount what is not text as a file",
    answer=Answer("elsewhere.OBJECT.values", is_in_workload=False),
)
WRONG_TYPE = define(
    "G200 wrong-type error",
    "a field that the policy describes has a value of the wrong type",
    advice="write a value of the expected type",
    why_none=KUBERNETES,
)
UNKNOWN_FIELD = define(
    "G201 unknown-field error",
    "a field is unknown, so its effect on the guest is unknown too",
    "remove it",
    answer=REMOVE,
)
UNSUPPORTED_FIELD = define(
    "G202 unsupported-field error",
    "a field asks for something that policies cannot describe",
    "remove it",
    answer=REMOVE,
)
WEAKER_IN_GUEST = define(
    "G203 weaker-in-guest warning",
    "a field has less effect inside the guest than outside",
    "the isolation of the confidential VM takes its place; remove it to silence this",
    answer=REMOVE,
)
IMAGE_USER = define(
    "G210 image-user error",
    "the user of the image is not in its /etc/passwd, so no runtime starts it",
    "set securityContext.runAsUser and runAsGroup of the container",
    answer=Answer("containers.NAME.user", is_choice=True),
)
IMAGE_USER_NAME = define(
    "G217 image-user-name warning",
    "the user of the image is a name, which a node without the files of the image cannot look up",
    "the guest pulls the image, so its node may not see them; set runAsUser and runAsGroup of the container, or user in"
    " the table of the workload in contrast.toml",
    answer=Answer("containers.NAME.user"),
)
SERVICE_LINK = define(
    "G218 service-link warning",
    "the kubelet sets a variable for a Service, and an image or another Service of the namespace has it too",
    advice="set enableServiceLinks: false in the pod, give the variable under env of the container, or rename the Service",
    answer=Answer("service_links", value=False, is_choice=True),
)
GROUP_WITHOUT_USER = define(
    "G219 group-without-user error",
    "a pod as a whole has a group and no user, so containerd makes no sandbox for it",
    "add runAsUser beside it, or move runAsGroup to the containers",
    answer=Answer("user", is_choice=True),
)
RUN_AS_NON_ROOT = define(
    "G220 run-as-non-root error",
    "a container must not run as root, and the kubelet cannot see that it does not, so it is not started",
    "set runAsUser of the container to a number other than 0",
    answer=Answer("containers.NAME.user", is_choice=True),
)
ENV_NAME = define(
    "G211 env-name error",
    "the name of an environment variable is malformed",
    advice="use letters, digits, '_', '-' and '.', and do not start with a digit",
    answer=Answer("remove", is_choice=True),
)
FIELD_PATH = define(
    "G212 field-path error",
    "a variable or file takes its value from a field that the policy cannot know",
    advice="use a field that is fixed in the pod template",
    answer=Answer("env.NAME"),
)
NO_COMMAND = define(
    "G213 no-command error",
    "neither the image nor the container says what to run",
    "set command of the container",
    why_none="the container runtime refuses it too",
)
CAPABILITY = define(
    "G214 capability error",
    "a capability is unknown",
    "write the kernel's name without CAP_, such as NET_ADMIN",
    answer=Answer("containers.NAME.add_capabilities"),
)
MOUNT_PATH = define(
    "G216 mount-path error",
    "the path of a mount is malformed or occurs twice",
    advice="write an absolute path in its shortest form, each once",
    answer=Answer("remove", is_choice=True),
)
SECRET_IN_POLICY = define(
    "W120 secret-in-policy warning",
    "values of a Secret become part of the policy, which the host can read",
    "mount the Secret as a volume, or use the workload secret",
)
FREE_VALUE = define(
    "W123 free-value warning",
    "a variable has a value of a ConfigMap or Secret that is made elsewhere, so the host chooses it",
    "give the value under [elsewhere] in contrast.toml, mount the object as a volume, or use the workload secret",
)
LAYERS_INCOMPLETE = define(
    "W121 layers-incomplete warning",
    "a layer of an image has something that the guests of the platform do not see",
    "build the image so that it does without; the container may fail otherwise",
)
MANY_LAYERS = define(
    "W122 many-layers warning",
    "an image or a pod has more layers than the guests of the platform are known to mount",
    "build the images with fewer layers",
)
