"""How contrast.toml names a ConfigMap or Secret that is made elsewhere."""


def elsewhere_key(namespace: str | None, kind: str, name: str) -> str:
    """Return its table below [elsewhere], as `shop/Secret/creds`; without a namespace `Secret/creds`."""
    return "/".join(part for part in (namespace, kind, name) if part)


def keys_wanted(namespace: str | None, kind: str, name: str) -> str:
    """Return what to write where all keys become variables, and what shows them on a cluster, without values of a Secret."""
    place = f" --namespace {namespace}" if namespace else ""
    command = f"kubectl describe {kind.lower()}/{name}{place}"
    return f'keys = ["NAME", ...] in [elsewhere."{elsewhere_key(namespace, kind, name)}"], as \'{command}\' lists them'
