# Rules that make our policy as lenient as the peer's cases need; they lie behind the product's rules, which they widen.
# The cases leave out fields that a real request has, and their disk emptyDirs are block devices.
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
	every got in volume_storages { storage_or_block_ok(got) }
	count(block_points) == count(blocks)
	count({use[1] | some use in block_uses}) == count(block_uses)
}
exec contains "E_ID" if is_object(target)
sandbox contains code if some code in {"E_SANDBOX", "E_SANDBOX_ID"}
sandbox contains "E_STORAGE" if sandbox_storages - set_of(policy_data.sandbox.storages) == set()
copy contains "E_NAME" if copied_top
source_ok("storage", _, got) if got in block_points
storage_or_block_ok(got) if { some want in expected.storages; storage_ok(want, got) }
storage_or_block_ok(got) if is_block(got)
is_block(got) if {
	[got.fstype, got.options, got.fs_group, object.get(got, "shared", false)] == ["ext4", [], null, true]
	got.driver_options == ["encryption_key=ephemeral", "create_filesystem"]
	is_string(got.source)
	regex.match({"blk": `^[0-9a-f]{2}(/[0-9a-f]{2})*$`, "scsi": `^[0-9]+:[0-9]+$`}[got.driver], got.source)
	got.mount_point == concat("", ["/run/kata-containers/sandbox/storage/", base64url.encode(got.source)])
}
blocks := [storage | some storage in volume_storages; storage.driver in {"blk", "scsi"}]
block_points := {storage.mount_point | some storage in blocks; is_block(storage)}
block_uses := {[source.arg, got.source] |
	some got in mounts
	source := expected_mounts[mount_destination(got)].src
	source.kind == "storage"
}
