"""Findings on sources, settings, lock file and Kubernetes objects."""

from contrast_tasks.catalogue.entry import (
    KUBERNETES,
    LOCK,
    OURS,
    SETTINGS,
    Answer,
    define,
    of_project,
)

NO_SOURCES = define(
    "G001 no-sources error",
    "a source does not exist, cannot be read or contains no YAML or JSON file",
    "name the folder of the deployment in contrast.toml as sources, or on the command line",
    answer=of_project("sources"),
)
NOT_RENDERED = define(
    "G001 not-rendered error",
    "a source is a chart or a kustomization, and not the objects that it renders to",
    advice="render it, or name the kustomization as a source",
    answer=of_project("sources"),
)
NO_WORKLOAD = define(
    "G002 no-workload error",
    "no workload of the sources is confidential",
    "set runtime_class = true in [defaults], or add the folder of your deployment",
    answer=Answer("runtime_class", value=True, is_choice=True),
)
YAML = define(
    "G003 yaml error",
    "a file is not YAML, or one of its documents is not a Kubernetes object",
    advice="check indentation, quotes and colons at the place and above it",
    answer=of_project("sources"),
)
NOT_CONFIDENTIAL = define(
    "G004 not-confidential warning",
    "a workload runs outside the confidential deployment",
    "set runtimeClassName: contrast-cc, or runtime_class = true in contrast.toml",
    answer=Answer("runtime_class", value=True, is_choice=True),
)
FOREIGN_PODS = define(
    "G004 foreign-pods warning",
    "an object of an unknown kind has containers, which run outside the confidential deployment",
    "only pods of the known workload kinds can be made confidential",
)
DUPLICATE = define(
    "G005 duplicate error|warning",
    "two objects have the same kind, namespace and name",
    "remove or rename one of the two, or give one of them another namespace",
    answer=of_project("sources"),
)
UNKNOWN_WORKLOAD = define(
    "G006 unknown-workload error|warning",
    "the settings name a workload that is not among the sources, or have a pattern that no workload matches",
    "remove the table",
    why_none=SETTINGS,
)
UNUSED_SETTING = define(
    "G007 unused-setting warning",
    "a setting names something that the sources do not have, so that it has no effect",
    "correct the name, or remove it",
)
IGNORE_REFUSED = define(
    "G008 ignore-refused error",
    "contrast.toml wants a finding ignored that there is not, or that must be answered",
    "remove the entry, and answer the finding; docs/reference/findings.md says which may be ignored",
    why_none=SETTINGS,
)
IMAGE_FACTS = define(
    "G010 image-facts error",
    "the lock file does not describe the image that is pinned",
    "run the lock task again",
    why_none=LOCK,
)
IMAGE_NOT_LOCKED = define(
    "G010 image-not-locked error",
    "the lock file has no entry for an image",
    "run 'contrast-tasks lock'",
    why_none=LOCK,
)
IMAGE_NOT_PUSHED = define(
    "G010 image-not-pushed warning",
    "a layout on disk has the image, and perhaps no registry that a node could pull it from",
    "push it with 'skopeo copy oci:LAYOUT:NAME docker://NAME', or make and push whole images with"
    " 'contrast-tasks images build --registry HOST/PATH'",
    why_none=LOCK,
)
IMAGE_NOT_PINNED = define(
    "G010 image-not-pinned error",
    "an image has no digest in its reference or in the lock file",
    "run 'contrast-tasks lock', or write the reference as name:tag@sha256:<64 hex digits>",
    why_none=LOCK,
)
IMAGE_REFERENCE = define(
    "G010 image-reference error",
    "an image reference is malformed",
    advice="write it as name:tag@sha256:<64 hex digits>",
    answer=of_project("images.replacements"),
)
IMAGE_WITHOUT_LAYERS = define(
    "G010 image-without-layers error",
    "an image has no layers, so the host would supply its files",
    advice="build the image with at least one layer",
    answer=of_project("images.replacements"),
)
NO_CONTAINER = define(
    "G011 no-container error",
    "a workload has no container",
    "add spec.containers",
    why_none=KUBERNETES,
)
CONTAINER_NAME = define(
    "G011 container-name error",
    "a container has no name",
    "add name: to the container",
    why_none=KUBERNETES,
)
CONTAINER_IMAGE = define(
    "G011 container-image error",
    "a container has no image",
    "add image: to the container",
    why_none=KUBERNETES,
)
FIELD_TYPE = define(
    "G012 field-type error",
    "a field has a value of another type than Kubernetes expects",
    advice="write a value of the expected type; put texts in quotes",
    why_none=KUBERNETES,
)
WORKLOAD_NAME = define(
    "G012 name error",
    "the name of a workload is not a DNS name, or is too long",
    "rename it; Kubernetes refuses it too",
    why_none=KUBERNETES,
)
GENERATED_NAME = define(
    "G013 generated-name warning",
    "the API server completes the name of a Job or Pod, which kubectl apply does not accept",
    "deploy creates another one at each run, as 'kubectl create -f' does; give it a name to have it once",
)
MOUNT_WITHOUT_VOLUME = define(
    "G020 mount-without-volume error",
    "a container mounts a volume that the pod does not have",
    "add the volume or correct the name",
    why_none=KUBERNETES,
)
VOLUME_MODE = define(
    "G020 volume-mode error",
    "a claim is mounted as a file system instead of being attached as a block device",
    "set encrypted_claims for the workload in contrast.toml, or volumeMode: Block and the annotation secure-pv",
    answer=Answer("encrypted_claims"),
)
VOLUME_TYPE = define(
    "G020 volume-type error",
    "a volume is of a type that confidential pods cannot have",
    "a confidential pod shares no file system with its node; use an emptyDir, or a block"
    " device with the secure-pv annotation",
    answer=Answer("empty_dirs", is_choice=True),
)
VOLUME_ISOLATED = define(
    "G020 volume-isolation note",
    "on platform local only pods with namespaces of their own can have such a volume",
    "let pods have namespaces: isolation under [local], for which runc is installed",
    why_none=KUBERNETES,
)
SECURE_PV = define(
    "G050 secure-pv error",
    "the secure-pv annotation is malformed, or its volumes do not fit",
    advice="name a block volume and the emptyDir to decrypt it into, such as data:state; join several by commas",
    why_none=OURS,
)
SECURE_PV_MOUNT = define(
    "G050 secure-pv-mount warning",
    "a container does not see the encrypted volume, so its writes are lost",
    "set mountPropagation: HostToContainer",
)
ENCRYPTED_CLAIM = define(
    "G051 encrypted-claim error",
    "a claim is to be encrypted and cannot be",
    advice="name a claim that containers mount, that one pod at a time writes, and that is large enough",
    answer=Answer("empty_dirs", is_choice=True),
)
VOLUME_SECRET = define(
    "G052 volume-secret note",
    "the data of an encrypted volume depend on a secret that follows from the workload's name",
    "keep the key of the seed share owner, dump existing data first, and set secret_id for the workload",
)
ROLE_PLACE = define(
    "G060 annotation-place error",
    "the pod role is annotated on the object instead of its pod template",
    advice="move it to the pod template; an object that runs no pods has no role",
    why_none=OURS,
)
COORDINATOR_KIND = define(
    "G060 coordinator-kind error",
    "the Coordinator is not a StatefulSet",
    "use the Coordinator that comes with this tool",
    why_none=OURS,
)
ROLE_CONFIDENTIAL = define(
    "G060 role-confidential error",
    "a confidential pod has a role that belongs to the node",
    "set runtime_class = false for it in contrast.toml: it belongs to the node",
    answer=Answer("runtime_class", value=False),
)
UNKNOWN_ROLE = define(
    "G060 unknown-role error",
    "a pod has an unknown role",
    "remove the annotation",
    why_none=OURS,
)
NO_COORDINATOR = define(
    "G061 no-coordinator error",
    "the sources have no Coordinator, and none is added to them",
    "run 'contrast-tasks coordinator --write deployment/coordinator.yml', with the folder of the sources; or, unless they"
    " are annotated in place, set include = true under [coordinator]",
    answer=of_project("coordinator.include"),
)
SEVERAL_COORDINATORS = define(
    "G061 several-coordinators error",
    "the sources have more than one Coordinator",
    "remove one of the two",
    answer=of_project("sources"),
)
RUNTIME_CLASS_CONFLICT = define(
    "G070 runtime-class-conflict error",
    "a workload and the settings disagree on whether it is confidential",
    "change one of the two",
    answer=Answer("runtime_class"),
)
RUNTIME_CLASS_UNKNOWN = define(
    "G070 runtime-class-unknown error",
    "nothing says which runtime class the nodes have, so pods would name one that no installer creates",
    advice="set class = \"contrast-cc-<platform>-<8 hex digits>\" under [runtime], as 'kubectl get runtimeclass' shows it,"
    " or name the reference values by it",
    answer=of_project("runtime.class"),
)
RUNTIME_CLASS_ABSENT = define(
    "G070 runtime-class-absent warning",
    "the cluster does not have the runtime class that pods name",
    "install the runtime ('contrast-tasks runtime' prints it), or set class under [runtime] to the one that 'kubectl get runtimeclass' shows",
)
OTHER_PLATFORM = define(
    "G070 other-platform error",
    "a runtime class is for another platform than that of the settings",
    "write contrast-cc; pods of several platforms need a project each",
    answer=of_project("platform"),
)
UNKNOWN_PLATFORM = define(
    "G070 unknown-platform error",
    "a runtime class is for an unknown platform",
    "write contrast-cc",
    why_none=OURS,
)
IMAGE_STORE_ABSENT = define(
    "G070 image-store-absent error",
    "the settings ask for image stores, which the runtime's release does not have",
    "remove defaults.image_store and --inject-image-store, or set a later release under [runtime]",
    why_none=SETTINGS,
)
GUEST_PULLS_ABSENT = define(
    "G070 guest-pulls-absent error",
    "the settings say how guests pull images, and guests of the platform or release are not told",
    "remove [guest_pulls], or set a release from v1.15 and a metal platform",
    why_none=SETTINGS,
)
GUEST_PULLS_UNSAFE = define(
    "G070 guest-pulls-unsafe error",
    "guests would send credentials to a registry that shows no certificate",
    "remove skip_verify and name the registry's certificate authority, or set credentials = false",
    why_none=SETTINGS,
)
LIFETIME_WITHOUT_EFFECT = define(
    "G070 lifetime-without-effect error",
    "the settings say how long certificates last, and the reference product's Coordinator does not ask",
    "remove coordinator.certificate_lifetime, or take the images of this tool",
    why_none=SETTINGS,
)
CERTIFICATE_UNRENEWED = define(
    "G071 certificate-unrenewed note",
    "the certificate of a workload ends early, and nothing in the pod renews it",
    "restart the pod before, with 'contrast-tasks restart', or give it a mesh annotation",
)
STORE_SIZE_CONFLICT = define(
    "G040 store-size-conflict error",
    "the size of an image store has two values in two places",
    "keep one of the two",
    why_none=OURS,
)
ANNOTATIONS_TOO_LARGE = define(
    "G081 annotations-size error",
    "the annotations of a pod are larger than the API server accepts",
    "split the pod, or shorten variables and commands of its containers",
    why_none=KUBERNETES,
)
APPLIED_TOO_LARGE = define(
    "G081 applied-size note",
    "kubectl apply without --server-side notes the whole object in an annotation, which gets larger than the API server accepts",
    "apply it with 'contrast-tasks deploy' or 'kubectl apply --server-side'",
    why_none=KUBERNETES,
)
CONFIG_NOT_IN_SOURCES = define(
    "G080 config-missing error|note",
    "a workload refers to a ConfigMap or Secret that is not among the sources",
    advice="add it to the sources, or mark the reference optional: true; one that is only mounted may be made later",
    answer=Answer("elsewhere.OBJECT", is_choice=True, is_in_workload=False),
)
COMPONENT_VERSION = define(
    "G090 component-version error",
    "an injected image has another version than this tool",
    "push the image of this version, or write it with its digest alone",
    answer=of_project("components.initializer"),
)
CONTAINER_CLASH = define(
    "G100 container-clash error",
    "two containers have the same name, or a pod uses the name of an injected container or volume",
    "rename one of the two",
    why_none="other fields and objects name it, so renaming it elsewhere breaks them",
)
ANNOTATION_PLACE = define(
    "G110 annotation-place error",
    "an annotation is in a place where it has no effect",
    advice="move it to the workload it is meant for, or to its pod template",
    why_none=OURS,
)
ANNOTATION_RELEASE = define(
    "G110 annotation-release error",
    "an annotation is in a place where the runtime's release does not read it, or is not read by it at all",
    advice="move it to where the release reads it, or set the release that the nodes have under [runtime]",
    why_none=OURS,
)
ANNOTATION_VALUE = define(
    "G110 annotation-value error",
    "an annotation has an invalid value",
    advice="write the expected value in quotes",
    why_none=OURS,
)
ANNOTATION_WITHOUT_EFFECT = define(
    "G110 annotation-without-effect warning",
    "an annotation has no effect in this tool",
    'write "0", or remove it',
)
UNKNOWN_ANNOTATION = define(
    "G110 unknown-annotation error",
    "an annotation with the prefix of this tool has an unknown name",
    "remove it",
    why_none=OURS,
)
UNSUPPORTED = define(
    "G120 unsupported error",
    "the deployment asks for something that does not work with its release and platform",
    advice="docs/reference/platforms.md says what works where",
    answer=of_project("platform"),
)
RELEASE_ASSUMED = define(
    "G121 release-assumed warning",
    "the formats of a patch release are taken to be those of its minor release",
    "name the minor release if the nodes run it",
)
SERVICE_ENDED = define(
    "W103 service-ended warning",
    "the service on which the platform's pods ran has ended",
    "choose another platform for new deployments",
)
ANNOTATION_CONFLICT = define(
    "W101 annotation-conflict warning",
    "an annotation has one value on the object and another on its pod template",
    "keep one of the two",
)
POLICY_CHANNEL = define(
    "W102 policy-channel warning",
    "a source has a policy for the runtime of another release; the output has a new one instead",
    "deploy what generate writes, not the source; or correct [runtime] release",
)
