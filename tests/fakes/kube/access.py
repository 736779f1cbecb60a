"""What a client needs to reach an API server: kubectl's configuration, and the files of a pod's service account."""

import base64
import json
from pathlib import Path

ADMIN = "admin-token"


class Reached:
    """An API server on loopback; `url` and `ca_pem` say where it is and who vouches for it."""

    url: str
    ca_pem: bytes

    def write_kubeconfig(
        self, path: Path, *, context: str = "fake", namespace: str = "default", token: str = ADMIN
    ) -> Path:
        """Write a file for kubectl; several contexts need several calls with different files. token: whose it is."""
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": context,
            "clusters": [
                {
                    "name": "fake",
                    "cluster": {
                        "server": self.url,
                        "certificate-authority-data": base64.b64encode(self.ca_pem).decode(),
                    },
                }
            ],
            "users": [{"name": "admin", "user": {"token": token}}],
            "contexts": [
                {
                    "name": context,
                    "context": {"cluster": "fake", "user": "admin", "namespace": namespace},
                }
            ],
        }
        path.write_text(json.dumps(config))
        return path

    def write_account(self, folder: Path, namespace: str, token: str) -> Path:
        """Write what a pod finds in /var/run/secrets/kubernetes.io/serviceaccount."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "token").write_text(token)
        (folder / "ca.crt").write_bytes(self.ca_pem)
        (folder / "namespace").write_text(namespace)
        return folder
