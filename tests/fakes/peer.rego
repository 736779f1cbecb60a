# Rules that make our policy as lenient as the peer's cases need; they lie behind the product's rules, which they widen.
# The cases leave out fields that a real request has.
predecessors_started(_) if true
members_known(_, _) if true
create contains "E_ID" if true
create contains "E_SANDBOX_ID" if {
	count(sandbox_id) == 64
	regex.match(`^[a-z0-9]+$`, sandbox_id)
}
create contains "E_IMG_COUNT" if count(pulls) == 0
create contains "E_PROPAGATION" if linux.RootfsPropagation == ""
create contains "E_CAPS" if {
	every kind in ["Ambient", "Inheritable"] { process.Capabilities[kind] == [] }
	every kind in ["Bounding", "Effective", "Permitted"] {
		capability_names(process.Capabilities[kind]) - set_of(own_or_shared(expected.process, "caps")) == set()
	}
}
create contains "E_STORAGE" if {
	every got in volume_storages { some want in expected.storages; storage_or_disk_ok(want, got) }
	places := {got.mount_point | some got in volume_storages}
	count(places) == count(volume_storages)
	every want in expected.storages {
		block_places(want.volume) - places == set()
	}
	used := [place | some want in expected.storages; some place in block_places(want.volume)]
	count(used) == count(set_of(used))
}
storage_or_disk_ok(want, got) if storage_ok(want, got)
storage_or_disk_ok(want, got) if {
	want.kind == "block"
	[got.options, got.driver_options, got.fs_group] == [want.options, block_options, want.fs_group]
	[got.fstype, got.shared] == ["ext4", true]
	regex.match(block_sources[got.driver], text_of(got.source))
	got.mount_point == concat("", ["/run/kata-containers/sandbox/storage/", base64url.encode(got.source)])
}
create contains "E_HOSTNAME" if true
create contains "E_NETNS" if pin_agrees("p:netns", network_namespace)
network_namespace := path if {
	path := [each.Path | some each in namespaces; each.Type == "network"][0]
} else := ""
create contains "E_NAMESPACES" if {
	count(set_of(namespace_kinds)) == count(namespaces)
	{each.Path | some each in namespaces; each.Type != "network"} == {""}
	set_of(namespace_kinds) - {"cgroup", "network"} == {"ipc", "mount", "uts"}
}
copy contains "E_MODE" if input.file_mode == 0
exec contains "E_ID" if is_object(target)
sandbox contains code if some code in {"E_SANDBOX", "E_SANDBOX_ID"}
sandbox contains "E_STORAGE" if sandbox_storages - set_of(policy_data.sandbox.storages) == set()
copy contains "E_NAME" if copied_top
