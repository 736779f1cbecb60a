"""Findings on service-mesh annotations, and on pods that do not match them."""

from contrast_tasks.catalogue.entry import OURS, Answer, define

MESH_ADMIN_PRIVATE = define(
    "G040 mesh-admin-private warning",
    "an ingress entry is for the port of the admin interface, which nobody outside of the pod reaches",
    "let a container of the pod read it and pass on what others may see",
)
MESH_ANNOTATION_CONFLICT = define(
    "G040 mesh-annotation-conflict error",
    "a mesh annotation has two values in two places",
    "keep one of the two",
    why_none=OURS,
)
MESH_BLANK = define(
    "G040 mesh-blank error",
    "an entry of a mesh annotation contains blanks or line ends",
    "write the annotation as one quoted text, not as a block scalar",
    why_none=OURS,
)
MESH_DUPLICATE = define(
    "G040 mesh-duplicate error",
    "a name, listen address or key occurs in two entries",
    advice="choose another one",
    why_none=OURS,
)
MESH_EMPTY_ENTRY = define(
    "G040 mesh-empty-entry warning",
    "a mesh annotation has an empty entry",
    "remove the leading, trailing or repeated ##",
)
MESH_FIELDS = define(
    "G040 mesh-fields error",
    "an entry of a mesh annotation does not have three fields",
    "entries are joined by exactly ##; a name contains no #",
    why_none=OURS,
)
MESH_FLAG = define(
    "G040 mesh-flag error|warning",
    "the flag of an ingress entry is not exactly true or false",
    "true disables TLS on the port, false keeps TLS without client certificate",
    why_none=OURS,
)
MESH_INGRESS_CONFLICT = define(
    "G040 mesh-ingress-conflict error",
    "two ingress entries give one port both flags",
    "keep one of the two entries",
    why_none=OURS,
)
MESH_LISTEN = define(
    "G040 mesh-listen error",
    "the listen address of an egress entry is not in 127.0.0.0/8",
    "the application connects there; take an unused address of 127.137.0.0/16 and any port",
    why_none=OURS,
)
MESH_NAME = define(
    "G040 mesh-name error",
    "an entry of a mesh annotation has no name",
    "name it after the service it is for",
    why_none=OURS,
)
MESH_PEERS = define(
    "G040 mesh-peers error",
    "a list of permitted peers is malformed, or its key matches no egress name or port",
    advice="write key=name,name; the key is an egress name, or a port that requires a client certificate",
    why_none=OURS,
)
MESH_PORT = define(
    "G040 mesh-port error",
    "a port is not a number from 1 to 65535",
    "write the number; names of ports are not looked up",
    why_none=OURS,
)
MESH_PROBE = define(
    "G040 mesh-probe warning|note",
    "the proxy refuses a probe, or answers it instead of the application",
    advice="use scheme HTTPS on a port with the flag false, or an exec probe, or leave the probe out with `remove`",
    answer=Answer("remove", is_choice=True),
)
MESH_REMOTE = define(
    "G040 mesh-remote error",
    "the remote of an egress entry is not host:port",
    advice="write host:port, an IPv6 address in brackets",
    why_none=OURS,
)
MESH_REPEATED_PORT = define(
    "G040 mesh-repeated-port warning", "a port occurs in two ingress entries", "remove it"
)
MESH_RESERVED_NAME = define(
    "G040 mesh-reserved-name error",
    "an entry has a name that the proxy reserves",
    "name it after the service it leads to",
    why_none=OURS,
)
MESH_RESERVED_PORT = define(
    "G040 mesh-reserved-port error",
    "a port is already used by the proxy or by another entry",
    advice="choose a port that nothing else uses",
    why_none=OURS,
)
MESH_SKIPPED = define(
    "G040 mesh-skipped warning",
    "a workload has mesh annotations, but the settings disable the mesh",
    "generate without --skip-service-mesh, or remove defaults.service_mesh from the settings",
)
MESH_INGRESS_DISABLED = define(
    "G040 mesh-ingress-disabled error",
    "the ingress annotation is DISABLED, which the proxy of the runtime's release does not know",
    advice="name each port with the flag true, or set the release that the nodes have under [runtime]",
    why_none=OURS,
)
MESH_UNKNOWN_PORT = define(
    "G040 mesh-unknown-port warning",
    "an ingress entry names a port that no container has",
    "correct the port, or declare it in the container's ports",
)
MESH_UNPROTECTED_REMOTE = define(
    "G040 mesh-unprotected-remote warning",
    "an egress entry leads to a pod without the mesh",
    advice="give the pod a servicemesh-ingress annotation, or connect to it directly",
)
MESH_UNUSED_EGRESS = define(
    "G040 mesh-unused-egress note",
    "no environment variable or argument of the pod contains the listen address of an egress entry",
    "point the application at the address; connections elsewhere bypass the mesh",
)
MESH_WITHOUT_RUNTIME_CLASS = define(
    "G040 mesh-without-runtime-class error",
    "a workload that is not confidential has a mesh annotation",
    "set runtimeClassName: contrast-cc, or remove the annotation",
    answer=Answer("runtime_class", value=True, is_choice=True),
)
MESH_EGRESS_EMPTY = define(
    "G041 mesh-egress-empty error",
    "the egress annotation is empty",
    "remove it; for ingress protection alone set servicemesh-ingress to an empty text",
    why_none=OURS,
)
MESH_INGRESS_ABSENT = define(
    "G042 mesh-ingress-absent warning",
    "a Service leads to a workload whose ingress the mesh does not protect",
    'set ingress = "" for the workload in contrast.toml, and every port wants a client certificate of the mesh;'
    " or annotate it with contrast.edgeless.systems/servicemesh-ingress",
    answer=Answer("ingress", value="", is_choice=True),
)
