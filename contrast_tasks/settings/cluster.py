"""Which cluster a deployment goes to; kubectl's own configuration decides what is not declared."""

from contrast_tasks.declare.shapes import TEXT
from contrast_tasks.records import Record, member
from contrast_tasks.settings.values import LABEL, NAMESPACE


class ClusterSettings(Record):
    """The [cluster] table; None leaves it to kubectl."""

    context: str | None = member(
        TEXT, "context of kubectl's configuration; by default its current one", default=None
    )
    namespace: str | None = member(
        NAMESPACE, "namespace of objects that name none; by default the context's", default=None
    )
    kubeconfig: str | None = member(
        TEXT, "kubectl's configuration; by default KUBECONFIG or ~/.kube/config", default=None
    )
    inventory: str = member(
        LABEL,
        "name of the ConfigMap in which deploy notes its objects; another one for each deployment of a namespace",
        default="contrast-tasks",
    )
