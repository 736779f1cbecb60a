# Execution policy: what is not expected is denied.
# Expectations stand in policy_data at the end; this text is the same for every pod.
# - A check adds its code to a set when it holds; a request is allowed when the set equals the constant set of all
#   codes. A check that is false, undefined or meets a missing or ill-typed field adds nothing, and so denies.
# - No builtin is called and nothing is iterated before its type was checked: some engines raise an error there.
# - A denial prints one line of codes and names, never values.

package agent_policy

import rego.v1
default AllowRequestsFailingPolicy := false
# Requests whose answer does not depend on their content.
default AddSwapPathRequest := false
default AddSwapRequest := false
default GetIPTablesRequest := false
default GetMetricsRequest := false
default ListInterfacesRequest := false
default ListRoutesRequest := false
default MemAgentCompactConfig := false
default MemAgentMemcgConfig := false
default MemHotplugByProbeRequest := false
default PauseContainerRequest := false
default ReseedRandomDevRequest := false
default ResizeVolumeRequest := false
default ResumeContainerRequest := false
default SetGuestDateTimeRequest := false
default SetIPTablesRequest := false
default SetPolicyRequest := false
default StartTracingRequest := false
default StopTracingRequest := false
default UpdateContainerRequest := false
default UpdateEphemeralMountsRequest := false
default VolumeStatsRequest := false
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StatsContainerRequest := true
default TtyWinResizeRequest := true
default WaitProcessRequest := true
# Requests that a profile may switch on.
CloseStdinRequest := policy_data.requests.CloseStdinRequest == true
GetDiagnosticDataRequest := policy_data.requests.GetDiagnosticDataRequest == true
WriteStreamRequest := policy_data.requests.WriteStreamRequest == true
# Denial lines: at most three names for a code, fit to be shown to whoever reads the events of the host.
deny(entry, name, codes, faults) if {
	labels := concat(",", [concat("", [code, shown(object.get(faults, code, set()))]) | some code in codes])
	print(substring(concat("", ["DENY ", entry, " container=", name, " codes=", labels]), 0, 400))
}
shown(names) := concat("", ["(", concat(" ", first_three(names)), ")"]) if { count(names) > 0 } else := ""
first_three(names) := [name | some i, name in [shown_name(n) | some n in names]; i < 3]
shown_name(n) := substring(n, 0, 60) if { is_string(n); regex.match(`^[A-Za-z0-9_./-]+$`, n) } else := "?"

# State: "c:<id>" name of a created container, "r:<id>" name of a started one, "s:<name>" started at least once.
key_of(prefix, id) := concat("", [prefix, id]) if is_string(id)
name_of(id) := data.pstate[key_of("c:", id)]
is_started(id) if data.pstate[key_of("r:", id)] == name_of(id)
running(name) := {key | some key, value in data.pstate; startswith(key, "r:"); value == name}
started_before(_) if subset
started_before(c) if { every name in c.after { data.pstate[key_of("s:", name)] == true } }
pin_ok(key, value) if { is_string(value); object.get(data.pstate, key, value) == value }
pin(key, value) := {"op": "add", "path": concat("", ["/pstate/", key]), "value": value}
container_named(name) := [c | some c in policy_data.containers; c.name == name][0]
container_of(id) := container_named(name_of(id))
label_of(c) := "pause" if { c.name == "" } else := c.name
known_label := label_of(container_of(input.container_id)) if { is_object(container_of(input.container_id)) } else := "?"
# The peer's test suite leaves out fields that a real request has; no product policy says `subset`.
subset if policy_data.presence == "subset"
# Patterns may speak of the pod's identity, which holds no special character but the dot.
resolve(re, who) := replace(replace(replace(re, "$(name)", who.name), "$(namespace)", who.namespace), "$(uid)", who.uid)
quoted(text) := replace(text, ".", `\.`) if { is_string(text); regex.match(`^[a-z0-9.-]*$`, text) } else := "!"
# Members of the messages of today's agents. What a later agent adds must be unset, as long as these rules do not know it.
members := {message: set_of(split(text, " ")) | some message, text in {
	"CreateContainerRequest": "container_id exec_id string_user devices storages OCI sandbox_pidns shared_mounts stdin_port stdout_port stderr_port",
	"CreateSandboxRequest": "hostname dns storages sandbox_pidns sandbox_id guest_hook_path kernel_modules",
	"ExecProcessRequest": "container_id exec_id string_user process stdin_port stdout_port stderr_port",
	"CopyFileRequest": "path file_type symlink_target file_size file_mode dir_mode uid gid offset data",
	"OCI": "Version Process Root Hostname Mounts Hooks Annotations Linux Solaris Windows",
	"Process": "Terminal ConsoleSize User Args Env Cwd Capabilities Rlimits NoNewPrivileges ApparmorProfile OOMScoreAdj SelinuxLabel",
	"User": "UID GID AdditionalGids Username", "Root": "Path Readonly", "Namespaces": "Type Path", "Mounts": "destination source type_ options",
	"Capabilities": "Bounding Effective Inheritable Permitted Ambient", "Devices": "Path Type Major Minor FileMode UID GID",
	"Linux": "UIDMappings GIDMappings Sysctl Resources CgroupsPath Namespaces Devices Seccomp RootfsPropagation MaskedPaths ReadonlyPaths MountLabel IntelRdt",
	"Resources": "Devices Memory CPU Pids BlockIO HugepageLimits Network",
	"devices": "id type_ vm_path container_path options",
	"storages": "driver driver_options source fstype options mount_point fs_group shared",
}}
known(message, it) if { is_object(it); every key in object.keys(it) - members[message] { it[key] in [null, "", 0, false, [], {}] } }
known(_, it) if it == null
known(_, _) if subset
all_known(message, list) if { is_array(list); every it in list { known(message, it) } }
process_known(p) if { known("Process", p); known("User", p.User); known("Capabilities", p.Capabilities) }
set_of(list) := items if { is_array(list); items := {item | some item in list} }
inherited(c, key) := policy_data.shared[key] if { c[key] == "shared" } else := c[key]
# Process: what CreateContainer and ExecProcess have in common.
process_codes := ["E_CWD", "E_NNP", "E_RLIMITS", "E_STDIO", "E_USER"]
process_ok("E_CWD", c, p) if p.Cwd == c.process.cwd
process_ok("E_NNP", c, p) if p.NoNewPrivileges == c.process.nnp
process_ok("E_RLIMITS", _, p) if { p.Rlimits == []; is_number(p.OOMScoreAdj) }
process_ok("E_STDIO", _, _) if { every port in ["stdin_port", "stdout_port", "stderr_port"] { input[port] == 0 } }
process_ok("E_USER", c, p) if {
	[p.User.UID, p.User.GID, p.User.Username, input.string_user] == [c.process.user.uid, c.process.user.gid, "", null]
	set_of(p.User.AdditionalGids) == set_of(c.process.user.gids); count(p.User.AdditionalGids) == count(set_of(p.User.AdditionalGids))
}
arg_ok(want, got, _) if want == got
arg_ok(want, got, who) if { is_object(want); regex.match(resolve(want.re, who), got) }
args_ok(want, got, who) if { is_array(got); count(got) == count(want); every i, arg in got { is_string(arg); arg_ok(want[i], arg, who) } }
env_name(entry) := split(entry, "=")[0] if { is_string(entry); contains(entry, "=") } else := "?"
env_ok(env, entry, _) if { some value in env.optional[env_name(entry)]; entry == concat("=", [env_name(entry), value]) }
env_ok(env, entry, who) if { is_string(entry); regex.match(resolve(env.pattern[env_name(entry)].re, who), entry) }
# Variables of Services, under names that neither pod nor image define. All are matched at once, and one by one only to
# name the wrong ones.
env_loose(env, list) := loose if {
	defined := {name | some kind in ["fixed", "optional", "pattern"]; some name, _ in env[kind]}
	loose := {entry | some entry in list; is_string(entry); not contains(entry, "\n"); not env_name(entry) in defined}
}
env_linked(loose, family) := loose if {
	regex.match(concat("", ["^(?:", family, ")(?:\n(?:", family, "))*$"]), concat("\n", loose))
} else := linked if { linked := {entry | some entry in loose; regex.match(concat("", ["^(?:", family, ")$"]), entry)} }
env_needed(env) := set() if { subset } else := names if { names := {name | some name, _ in env.fixed} | {name | some name, p in env.pattern; p.required} }
# Names of entries that are not expected, occur twice, are missing or are no `NAME=value` at all.
env_faults(c, p, who) := (wrong | twice) | (env_needed(c.env) - set_of(names)) if {
	is_array(p.Env)
	names := [env_name(entry) | some entry in p.Env]
	plain := {concat("=", [name, value]) | some name, value in c.env.fixed} | env_linked(env_loose(c.env, p.Env), inherited(c.env, "family"))
	wrong := {env_name(entry) | some entry in p.Env; not entry in plain; not env_ok(c.env, entry, who)}
	twice := {name | some i, name in names; some j, other in names; i < j; name == other}
}
# CreateContainer: who is asked for. The annotation only chooses whom to compare with; everything is compared.
annotations := input.OCI.Annotations if is_object(input.OCI.Annotations)
linux := input.OCI.Linux if is_object(input.OCI.Linux)
process := input.OCI.Process if is_object(input.OCI.Process)
mounts := input.OCI.Mounts if is_array(input.OCI.Mounts)
storages := input.storages if is_array(input.storages)
asked := container_named(object.get(annotations, "io.kubernetes.cri.container-name", ""))
asked_label := label_of(asked) if { is_object(asked) } else := "?"
text_of(value) := value if is_string(value)
sandbox_name := text_of(annotations["io.kubernetes.cri.sandbox-name"])
sandbox_namespace := text_of(annotations["io.kubernetes.cri.sandbox-namespace"])
sandbox_id := text_of(annotations["io.kubernetes.cri.sandbox-id"])
sandbox_uid := text_of(object.get(annotations, "io.kubernetes.cri.sandbox-uid", ""))
who_asks := {"name": quoted(sandbox_name), "namespace": quoted(sandbox_namespace), "uid": quoted(sandbox_uid)}
# The identifier in guest paths; sparse cases of the peer have it in the bundle path only.
bundle_prefix := "/run/containerd/io.containerd.runtime.v2.task/k8s.io/"
bundle_path := text_of(annotations["io.katacontainers.pkg.oci.bundle_path"])
bundle_id := text_of(input.container_id) if { not subset } else := trim_prefix(bundle_path, bundle_prefix)
root_path := concat("", [policy_data.paths.root, bundle_id, "/rootfs"])
create contains "E_SELECT" if is_object(asked)
create contains "E_ID" if subset
create contains "E_FIELD" if {
	known("CreateContainerRequest", input); known("OCI", input.OCI); known("Root", input.OCI.Root); known("Linux", linux); known("Resources", linux.Resources)
	process_known(process); all_known("Mounts", mounts); all_known("storages", storages); all_known("devices", input.devices)
	all_known("Namespaces", namespaces); all_known("Devices", linux.Devices)
}
create contains "E_ID" if { id_ok(input.container_id); input.exec_id == input.container_id; not name_of(input.container_id) }
id_ok(id) if { is_string(id); count(id) <= 128; regex.match(`^[A-Za-z0-9][A-Za-z0-9._-]+$`, id) }
create contains "E_TYPE" if [annotations[type_keys[0]], annotations[type_keys[1]]] == [asked.type.cri, asked.type.kata]
type_keys := ["io.kubernetes.cri.container-type", "io.katacontainers.pkg.oci.container_type"]
create contains "E_ORDER" if started_before(asked)
create contains "E_INSTANCE" if count(running(asked.name)) == 0
# CreateContainer: identity of the pod, annotations.
create contains "E_POD_NAME" if { pin_ok("p:name", sandbox_name); regex.match(policy_data.pod.name_re, sandbox_name) }
namespace_right if { policy_data.pod.namespace in {null, sandbox_namespace}; regex.match(`^[a-z0-9][a-z0-9-]*$`, sandbox_namespace) }
create contains "E_POD_NAMESPACE" if { pin_ok("p:namespace", sandbox_namespace); namespace_right }
create contains "E_SANDBOX_ID" if { count(sandbox_id) == 64; regex.match(`^[a-z0-9]+$`, sandbox_id); sandbox_ok }
sandbox_ok if subset
sandbox_ok if { pin_ok("p:sandbox_id", sandbox_id); pin_ok("p:uid", sandbox_uid); sandbox_is_pause }
sandbox_is_pause if asked.kind != "pause"
sandbox_is_pause if input.container_id == sandbox_id
annotation_re := {
	"io.kubernetes.cri.sandbox-uid": `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`,
	"io.kubernetes.cri.podsandbox.image-name": `^[A-Za-z0-9._:/@-]+$`,
	"io.kubernetes.container.terminationMessagePath": `^/[A-Za-z0-9._/-]*$`, "io.kubernetes.container.terminationMessagePolicy": `^(File|FallbackToLogsOnError)$`,
}
annotation_ok("io.kubernetes.cri.container-type", value) if value == asked.type.cri
annotation_ok("io.katacontainers.pkg.oci.container_type", value) if value == asked.type.kata
annotation_ok("io.katacontainers.pkg.oci.bundle_path", value) if value == concat("", [bundle_prefix, bundle_id])
annotation_ok("io.kubernetes.cri.container-name", value) if { asked.kind != "pause"; value == asked.name }
annotation_ok("io.kubernetes.cri.image-name", _) if asked.kind != "pause"
annotation_ok("io.kubernetes.cri.sandbox-log-directory", value) if {
	asked.kind == "pause"; regex.match(`^/var/log/pods/[a-z0-9._-]+$`, value)
	uid := split(value, "_")[2]; count(uid) == 36; sandbox_uid in {"", uid}
	value == concat("", ["/var/log/pods/", sandbox_namespace, "_", sandbox_name, "_", uid])
}
annotation_ok("nerdctl/network-namespace", value) if { asked.kind == "pause"; regex.match(`^/var/run/netns/cni-[0-9a-f-]+$`, value) }
annotation_ok(key, value) if { regex.match(`^io\.kubernetes\.cri\.sandbox-(cpu-(period|quota|shares)|memory)$`, key); regex.match(`^-?[0-9]+$`, value) }
annotation_ok(key, _) if key in {"io.kubernetes.cri.sandbox-name", "io.kubernetes.cri.sandbox-namespace", "io.kubernetes.cri.sandbox-id"}
annotation_ok(key, value) if regex.match(annotation_re[key], value)
annotation_ok(key, value) if value == policy_data.pod.annotations[key]
annotation_right(key, value) if { is_string(value); annotation_ok(key, value) }
annotation_wrong contains key if { some key, value in annotations; not annotation_right(key, value) }
annotation_wrong contains key if { some key in {"io.kubernetes.cri.sandbox-uid", "io.katacontainers.pkg.oci.bundle_path"}; not subset; not annotations[key] }
create contains "E_ANNOTATION" if { annotations; count(annotation_wrong) == 0 }
# CreateContainer: the image, pulled in the guest.
is_pull(storage) if storage.driver == "image_guest_pull"
pulls := [storage | some storage in storages; is_pull(storage)]
create contains "E_IMG_COUNT" if count(pulls) == 1
create contains "E_IMG_COUNT" if { subset; count(pulls) == 0 }
create contains "E_IMG_REF" if { every pull in pulls { pull.source in asked.image } }
create contains "E_IMG_MOUNT" if { every pull in pulls { pull.mount_point == root_path } }
create contains "E_IMG_OPTS" if { every pull in pulls { pull_ok(pull) } }
create contains "E_ROOT_PATH" if input.OCI.Root.Path == root_path
create contains "E_ROOT_RO" if input.OCI.Root.Readonly == asked.rootfs_ro
pull_ok(pull) if { pull_plain(pull); pull_options_ok(pull.driver_options) }
pull_plain(pull) if [pull.fstype, pull.options, pull.fs_group, object.get(pull, "shared", false)] == ["overlay", [], null, false]
pull_options_ok(options) if options == []
# One JSON text, read as text: an object of strings, called metadata, and nothing beside it. The agent learns from it whether
# this is the sandbox: both type annotations are in it exactly once, and what it repeats of other annotations equals them.
pull_options_ok(options) if {
	options == [options[0]]; is_string(options[0])
	startswith(options[0], `image_guest_pull={"metadata":{"`); endswith(options[0], `"}}`)
	[count(split(options[0], brace)) | some brace in ["{", "}"]] == [3, 3]
	not contains(options[0], `\`); not contains(options[0], `"io.kubernetes.cri-o.`)
	every key, _ in object.union({"io.kubernetes.cri.container-name": ""}, annotations) { repeated_ok(options[0], key) }
	every key in type_keys { times_in(options[0], key) == 1 }
}
times_in(text, key) := count(split(text, concat("", [`"`, key, `"`]))) - 1
repeated_ok(text, key) if times_in(text, key) == 0
repeated_ok(text, key) if { times_in(text, key) == 1; is_string(annotations[key]); contains(text, concat("", [`"`, key, `":"`, annotations[key], `"`])) }
# CreateContainer: process.
create contains code if { some code in process_codes; process_ok(code, asked, process) }
env_wrong := env_faults(asked, process, who_asks)
create contains "E_ENV" if count(env_wrong) == 0
create contains "E_ARGS" if args_ok(asked.process.args, process.Args, who_asks)
create contains "E_TTY" if { process.Terminal == asked.process.tty; console_ok(process.ConsoleSize) }
console_ok(size) if size == null
console_ok(size) if { asked.process.tty; is_number(size.Height); is_number(size.Width) }
create contains "E_CAPS" if {
	every kind in ["Ambient", "Inheritable"] { process.Capabilities[kind] == [] }
	every kind in ["Bounding", "Effective", "Permitted"] { is_array(process.Capabilities[kind]); caps_ok(process.Capabilities[kind]) }
}
cap_names(list) := names if { every cap in list { is_string(cap) }; names := {trim_prefix(cap, "CAP_") | some cap in list} }
caps_ok(got) if cap_names(got) == set_of(inherited(asked.process, "caps"))
caps_ok(got) if { subset; cap_names(got) - set_of(inherited(asked.process, "caps")) == set() }
# The guest has no AppArmor; containerd names the host's profile.
create contains "E_LSM" if { process.SelinuxLabel == ""; is_string(process.ApparmorProfile) }
# CreateContainer: mounts.
mount_base(c) := policy_data.shared.mounts.all if { c.kind == "pause" } else := array.concat(policy_data.shared.mounts.all, policy_data.shared.mounts.containers)
mount_wanted := {mount.dst: mount | some mount in array.concat(mount_base(asked), asked.mounts)}
mount_needed := {dst | some dst, mount in mount_wanted; not subset; object.get(mount, "required", true)}
mount_dst(mount) := mount.destination if { is_string(mount.destination) } else := "?"
mount_dsts := {mount_dst(mount) | some mount in mounts}
mounts_known := [mount | some mount in mounts; mount_wanted[mount_dst(mount)]]
mounts_not(code) := {got.destination | some got in mounts_known; not mount_ok(code, mount_wanted[got.destination], got)}
mount_faults := object.union({code: mounts_not(code) | some code in ["E_MOUNT_OPTS", "E_MOUNT_SRC", "E_MOUNT_TYPE"]}, {
	"E_MOUNT_EXTRA": {dst | some dst in mount_dsts; not mount_wanted[dst]},
	"E_MOUNT_MISSING": mount_needed - mount_dsts,
	"E_MOUNT_ORDER": mounts_hidden,
})
create contains code if { mounts; some code, faults in mount_faults; count(faults) == 0 }
create contains "E_MOUNT_DUP" if count(mount_dsts) == count(mounts)
# A parent that is mounted after its child would hide it.
mounts_hidden := {pair[1] |
	some pair in array.concat(policy_data.shared.nested, asked.nested)
	some i, child in mounts; child.destination == pair[1]; some j, parent in mounts; parent.destination == pair[0]; j > i
}
mount_ok("E_MOUNT_TYPE", want, got) if got.type_ == want.type
mount_ok("E_MOUNT_SRC", want, got) if source_ok(want.src.kind, want.src.arg, got.source)
mount_ok("E_MOUNT_OPTS", want, got) if got.options in want.opts
# Newer kernels add options to the cgroup mount.
mount_ok("E_MOUNT_OPTS", want, got) if { is_array(got.options); [o | some o in got.options; not o in want.extra] in want.opts }
source_ok("eq", arg, source) if source == arg
source_ok("ephemeral", arg, source) if source == concat("", [policy_data.paths.ephemeral, arg])
source_ok("local", arg, source) if source in local_paths(arg)
source_ok("storage", _, source) if source in block_points
# What the shim copied lies at <shared>/[watchable/]<id>-<16 characters>-<base name of the destination>.
source_ok("file", arg, source) if {
	is_string(source)
	some prefix in policy_data.paths.shared; startswith(source, prefix)
	rest := trim_prefix(trim_prefix(source, prefix), "watchable/")
	key := split(trim_prefix(rest, concat("", [bundle_id, "-"])), "-")[0]
	count(key) == 16; regex.match(`^[a-z0-9]+$`, key)
	rest == concat("-", [bundle_id, key, arg])
}
local_paths(volume) := {path | some prefix in policy_data.paths.shared; path := concat("", [prefix, local_root, volume])}
local_root := concat("", [sandbox_id, "/rootfs/local/"])
# CreateContainer: storages other than the image, devices.
volumes := [storage | some storage in storages; not is_pull(storage)]
is_wanted(storage) if { some want in asked.storages; storage_ok(want, storage) }
storage_ok(want, got) if {
	[got.fstype, got.options, got.driver_options, got.fs_group] == [want.fstype, want.options, want.driver_options, want.fs_group]
	object.get(got, "shared", false) == want.shared
	[got.driver, got.source, got.mount_point] in storage_places(want.kind, want.volume, got)
}
storage_places("ephemeral", volume, _) := {["ephemeral", "tmpfs", concat("", [policy_data.paths.ephemeral, volume])]}
storage_places("local", volume, _) := {["local", "local", path] | some path in local_paths(volume)}
storage_places("block", _, got) := {[got.driver, got.source, concat("", [policy_data.paths.block, base64url.encode(got.source)])]} if {
	is_string(got.source); regex.match({"blk": `^[0-9a-f]{2}(/[0-9a-f]{2})*$`, "scsi": `^[0-9]+:[0-9]+$`}[got.driver], got.source)
}
create contains "E_STORAGE" if {
	blocks_ok; every storage in volumes { is_wanted(storage) }
	every want in asked.storages { count([1 | some got in volumes; storage_ok(want, got)]) in want.counts }
}
# Block devices are told apart by the mounts that use them: no two volumes share one, and none is unused.
blocks := [storage | some storage in volumes; storage.driver in {"blk", "scsi"}]
block_points := {storage.mount_point | some storage in blocks; is_wanted(storage)}
block_uses := {[src.arg, got.source] | some got in mounts_known; src := mount_wanted[got.destination].src; src.kind == "storage"}
blocks_ok if { count(block_points) == count(blocks); count({use[1] | some use in block_uses}) == count(block_uses); blocks_used }
blocks_used if subset
blocks_used if block_points - {use[1] | some use in block_uses} == set()
create contains "E_DEVICE" if {
	is_array(input.devices); is_array(linux.Devices); gpus_ok
	plain := [device | some device in input.devices; not is_gpu(device)]
	every device in plain { device.type_ in {"blk", "scsi"}; device.options == []; is_string(device.vm_path) }
	count(plain) == count(asked.devices); {device.container_path | some device in plain} == set_of(asked.devices)
	every device in linux.Devices { node_ok(device) }; count({device.Path | some device in linux.Devices}) == count(linux.Devices)
}
node_ok(device) if { device.Path in asked.devices; device.Type == "b" }
node_ok(device) if { device.Type == "c"; some gpu in gpus; gpu.container_path == device.Path }
# Passed-through GPUs: each has an annotation under its number, and a device unless it was there when the guest started.
gpu_path := "/dev/vfio/devices/vfio"
is_gpu(device) if { is_string(device.container_path); startswith(device.container_path, gpu_path) }
gpus := [device | some device in input.devices; is_gpu(device)]
gpu_marks := {trim_prefix(key, "cdi.k8s.io/vfio"): value | some key, value in annotations; startswith(key, "cdi.k8s.io/vfio")}
annotation_ok(key, value) if { asked.gpus > 0; regex.match(`^cdi\.k8s\.io/vfio[0-9]+$`, key); regex.match(`^nvidia\.com/gpu=[0-9]+$`, value) }
gpus_ok if {
	[count(gpu_marks), count({value | some _, value in gpu_marks})] == [asked.gpus, asked.gpus]; count(gpus) in {0, asked.gpus}
	every gpu in gpus { gpu_ok(gpu, trim_prefix(gpu.container_path, gpu_path)) }
	count({gpu.container_path | some gpu in gpus}) == count(gpus)
}
gpu_ok(gpu, number) if {
	gpu_marks[number]; [gpu.type_, gpu.vm_path, gpu.id] == ["vfio-pci-gk", "", concat("", ["vfio", number])]
	is_array(gpu.options); count(gpu.options) > 0; every option in gpu.options { is_string(option); regex.match(gpu_option, option) }
}
gpu_option := `^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]=[0-9A-Fa-f]{2}/[0-9A-Fa-f]{2}$`
create contains "E_SHARED_MOUNTS" if input.shared_mounts == []
# CreateContainer: the rest of the OCI specification.
create contains "E_VERSION" if { is_string(input.OCI.Version); regex.match(`^1\.[0-9]+\.[0-9]+$`, input.OCI.Version) }
create contains "E_OS" if [input.OCI.Solaris, input.OCI.Windows] == [null, null]
create contains "E_HOSTNAME" if hostname_ok(input.OCI.Hostname)
hostname_ok(name) if { is_string(name); regex.match(`^[a-z0-9.-]*$`, name) }
create contains "E_HOOKS" if input.OCI.Hooks == null
namespaces := linux.Namespaces if is_array(linux.Namespaces)
namespace_kinds := [object.get({"mnt": "mount"}, n.Type, n.Type) | some n in namespaces]
namespace_ok(n) if n.Path == ""
namespace_ok(n) if { n.Type == "network"; is_string(n.Path) }
create contains "E_NAMESPACES" if {
	count(set_of(namespace_kinds)) == count(namespaces); every n in namespaces { namespace_ok(n) }
	set_of(namespace_kinds) - {"network", "cgroup"} == set_of(asked.namespaces)
}
netns := path if { path := [n.Path | some n in namespaces; n.Type == "network"][0] } else := ""
create contains "E_NETNS" if pin_ok("p:netns", netns)
# Newer runtimes hide more of the kernel's files. Hidden files of the container's own would change what it does.
create contains "E_MASKED" if set_of(inherited(asked, "masked")) - kernel_paths(linux.MaskedPaths) == set()
create contains "E_READONLY" if set_of(inherited(asked, "readonly")) - (kernel_paths(linux.ReadonlyPaths) | kernel_paths(linux.MaskedPaths)) == set()
kernel_paths(list) := set_of(list) if { is_array(list); every path in list { is_string(path); is_kernel_path(split(path, "/")) } }
is_kernel_path(parts) if { parts[0] == ""; parts[1] in {"proc", "sys"}; parts[2] != ""; not ".." in parts }
create contains "E_SYSCTL" if { is_object(linux.Sysctl); every key, value in linux.Sysctl { value == policy_data.shared.sysctls[key] } }
create contains "E_IDMAP" if [linux.UIDMappings, linux.GIDMappings] == [[], []]
create contains "E_LINUX" if [linux.Seccomp, linux.IntelRdt, linux.MountLabel] == [null, null, ""]
create contains "E_PROPAGATION" if linux.RootfsPropagation in asked.propagation
create contains "E_RESOURCES" if { r := linux.Resources; [r.Devices, r.Pids, r.BlockIO, r.Network] == [[], null, null, null] }
create contains "E_CGROUP" if { is_string(linux.CgroupsPath); not ".." in split(linux.CgroupsPath, "/") }
create contains "E_PIDNS" if input.sandbox_pidns == asked.pidns
create_codes := {
	"E_ANNOTATION", "E_ARGS", "E_CAPS", "E_CGROUP", "E_CWD", "E_DEVICE", "E_ENV", "E_FIELD", "E_HOOKS", "E_HOSTNAME", "E_ID", "E_IDMAP", "E_IMG_COUNT", "E_IMG_MOUNT", "E_IMG_OPTS", "E_IMG_REF",
	"E_INSTANCE", "E_LINUX", "E_LSM", "E_MASKED", "E_MOUNT_DUP", "E_MOUNT_EXTRA", "E_MOUNT_MISSING", "E_MOUNT_OPTS", "E_MOUNT_ORDER", "E_MOUNT_SRC", "E_MOUNT_TYPE", "E_NAMESPACES",
	"E_NETNS", "E_NNP", "E_ORDER", "E_OS", "E_PIDNS", "E_POD_NAME", "E_POD_NAMESPACE", "E_PROPAGATION", "E_READONLY", "E_RESOURCES", "E_RLIMITS", "E_ROOT_PATH", "E_ROOT_RO",
	"E_SANDBOX_ID", "E_SELECT", "E_SHARED_MOUNTS", "E_STDIO", "E_STORAGE", "E_SYSCTL", "E_TTY", "E_TYPE", "E_USER", "E_VERSION",
}
sandbox_pins := {"p:sandbox_id": sandbox_id, "p:uid": sandbox_uid} if { not subset } else := {}
create_faults := object.union(mount_faults, {"E_ENV": env_wrong, "E_ANNOTATION": annotation_wrong}) if { env_wrong; mount_faults } else := {}
default CreateContainerRequest := false
CreateContainerRequest := {"allowed": true, "ops": ops} if {
	create == create_codes
	pins := {"p:name": sandbox_name, "p:namespace": sandbox_namespace, "p:netns": netns, key_of("c:", input.container_id): asked.name}
	ops := [pin(key, value) | some key, value in object.union(pins, sandbox_pins)]
} else := false if deny("CreateContainerRequest", asked_label, create_codes - create, create_faults)

# The life of a container. A second live instance of a name is denied; a restart removes the first one before.
start_codes := {"E_ID", "E_INSTANCE", "E_ORDER"}
start contains "E_ID" if { name_of(input.container_id); not is_started(input.container_id) }
start contains "E_ORDER" if started_before(container_of(input.container_id))
start contains "E_INSTANCE" if count(running(name_of(input.container_id))) == 0
default StartContainerRequest := false
StartContainerRequest := {"allowed": true, "ops": ops} if {
	start == start_codes
	name := name_of(input.container_id); ops := [pin(key_of("r:", input.container_id), name), pin(key_of("s:", name), true)]
} else := false if deny("StartContainerRequest", known_label, start_codes - start, {})
default RemoveContainerRequest := true
RemoveContainerRequest := {"allowed": true, "ops": ops} if {
	keys := {key_of("c:", input.container_id), key_of("r:", input.container_id)}
	ops := [{"op": "remove", "path": concat("", ["/pstate/", key])} | some key in keys; data.pstate[key]]
}
default SignalProcessRequest := false
SignalProcessRequest if { name_of(input.container_id) } else := false if deny("SignalProcessRequest", "?", {"E_ID"}, {})
default ReadStreamRequest := false
ReadStreamRequest if { container_of(input.container_id).logs } else := false if deny("ReadStreamRequest", known_label, {"E_LOGS"}, {})
# ExecProcess: probes and hooks of a container that was started.
exec_codes := {"E_ARGS", "E_CAPS", "E_ENV", "E_FIELD", "E_ID", "E_LSM", "E_TTY"} | set_of(process_codes)
target := container_of(input.container_id)
runs := input.process if is_object(input.process)
who_runs := {"name": quoted(pinned("name")), "namespace": quoted(pinned("namespace")), "uid": quoted(pinned("uid"))}
pinned(what) := object.get(data.pstate, concat("", ["p:", what]), "")
exec contains code if { some code in process_codes; process_ok(code, target, runs) }
exec_env_wrong := env_faults(target, runs, who_runs)
exec contains "E_ENV" if count(exec_env_wrong) == 0
exec contains "E_FIELD" if { known("ExecProcessRequest", input); process_known(runs) }
exec contains "E_ID" if { is_object(target); subset }
exec contains "E_ID" if { is_started(input.container_id); id_ok(input.exec_id); input.exec_id != input.container_id }
exec contains "E_ARGS" if { some command in target.exec; args_ok(command, runs.Args, who_runs) }
exec contains "E_TTY" if { runs.Terminal in {false, target.process.tty}; runs.ConsoleSize == null }
exec contains "E_CAPS" if runs.Capabilities == null
exec contains "E_CAPS" if { every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] { runs.Capabilities[kind] == [] } }
exec contains "E_LSM" if [runs.SelinuxLabel, runs.ApparmorProfile] == ["", ""]
exec_faults := {"E_ENV": exec_env_wrong} if { exec_env_wrong } else := {}
default ExecProcessRequest := false
ExecProcessRequest if { exec == exec_codes } else := false if deny("ExecProcessRequest", known_label, exec_codes - exec, exec_faults)

# CreateSandbox: once, with the storages of the profile.
sandbox_codes := {"E_DNS", "E_FIELD", "E_HOOKS", "E_HOSTNAME", "E_MODULES", "E_PIDNS", "E_SANDBOX", "E_SANDBOX_ID", "E_STORAGE"}
sandbox contains "E_SANDBOX" if object.get(data.pstate, "p:sandbox", null) == null
sandbox contains code if { subset; some code in {"E_SANDBOX", "E_SANDBOX_ID"} }
sandbox contains "E_FIELD" if known("CreateSandboxRequest", input)
sandbox contains "E_HOOKS" if input.guest_hook_path == ""
sandbox contains "E_MODULES" if input.kernel_modules == []
sandbox contains "E_PIDNS" if input.sandbox_pidns == false
sandbox contains "E_HOSTNAME" if hostname_ok(input.hostname)
sandbox contains "E_DNS" if { is_array(input.dns); every line in input.dns { dns_ok(line) } }
dns_ok(line) if { is_string(line); regex.match(`^(nameserver|search|options)( [A-Za-z0-9.:_%/-]+)*$`, line) }
sandbox contains "E_STORAGE" if { count(sandbox_storages) == count(storages); sandbox_storages == set_of(policy_data.sandbox.storages) }
sandbox contains "E_STORAGE" if { subset; sandbox_storages - set_of(policy_data.sandbox.storages) == set() }
# Agents before 2026 have no field `shared`.
sandbox_storages := found if {
	every storage in storages { is_object(storage) }
	found := {object.union({"shared": false}, storage) | some storage in storages}
}
sandbox contains "E_SANDBOX_ID" if { pin_ok("p:sandbox_id", input.sandbox_id); count(input.sandbox_id) == 64; regex.match(`^[a-z0-9]+$`, input.sandbox_id) }
default CreateSandboxRequest := false
CreateSandboxRequest := {"allowed": true, "ops": ops} if {
	sandbox == sandbox_codes
	ops := array.concat([pin("p:sandbox", true)], [pin("p:sandbox_id", input.sandbox_id) | not subset])
} else := false if deny("CreateSandboxRequest", "-", sandbox_codes - sandbox, {})

# Network: the host routes as it likes, but never through or to the loopback interface.
# An address is written in full, so that it is read in one way only.
address := `^((0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){3}|[0-9A-Fa-f]*:[0-9A-Fa-f:]*:([0-9A-Fa-f:]*|[0-9]+(\.[0-9]+){3}))$`
loopback := `^(127\.|[0:]*:0{0,3}1$|[0:]*:0+\.0+\.0+\.0*1$|[0:]*:([Ff]{4}:)?(0:)?127\.|[0:]*:[Ff]{4}:(0:)?7[Ff][0-9A-Fa-f]{2}:)`
address_ok(text) if { is_string(text); regex.match(address, text); not regex.match(loopback, text) }
device_ok(name) if { is_string(name); name != "lo"; regex.match(`^[A-Za-z0-9._@-]+$`, name) }
default UpdateInterfaceRequest := false
UpdateInterfaceRequest if { interface_ok(input.interface) } else := false if deny("UpdateInterfaceRequest", "-", {"E_INTERFACE"}, {})
interface_ok(it) if {
	every name in [it.device, it.name] { device_ok(name) }
	it.raw_flags in {0, 128}; is_string(it.hwAddr)
	regex.match(`^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$`, it.hwAddr); it.hwAddr != "00:00:00:00:00:00"
	is_array(it.IPAddresses); every ip in it.IPAddresses { address_ok(ip.address); is_string(ip.mask); regex.match(`^[0-9]*$`, ip.mask) }
}
default UpdateRoutesRequest := false
UpdateRoutesRequest if { is_array(input.routes.Routes); every route in input.routes.Routes { route_ok(route) } } else := false if deny("UpdateRoutesRequest", "-", {"E_ROUTE"}, {})
route_ok(it) if { device_ok(it.device); network_ok(it.source); network_ok(it.dest); network_ok(it.gateway) }
network_ok(text) if text == ""
network_ok(text) if { is_string(text); regex.match(`^[^/]+(/[0-9]{1,3})?$`, text); address_ok(split(text, "/")[0]) }
default AddARPNeighborsRequest := false
neighbors := input.neighbors.ARPNeighbors if is_array(input.neighbors.ARPNeighbors)
AddARPNeighborsRequest if { every neighbor in neighbors { neighbor_ok(neighbor) } } else := false if deny("AddARPNeighborsRequest", "-", {"E_NEIGHBOR"}, {})
neighbor_ok(it) if {
	device_ok(it.device); address_ok(it.toIPAddress.address)
	it.toIPAddress.mask == ""; it.state in {2, 128}; it.flags in {0, 8, 128, 136}; is_string(it.lladdr); regex.match(`^[0-9A-Fa-f:]*$`, it.lladdr)
}

# CopyFile: <shared>/[watchable/]<id>-<16 characters>-<a name this pod mounts>[/...]. Agents since 2026 give the file
# type and the link target; before, both are in the raw message. Watched volumes change while the container runs.
copy_codes := {"E_FIELD", "E_FILE_TYPE", "E_LATE", "E_MODE", "E_NAME", "E_PATH"}
copy_rest := [rest |
	is_string(input.path)
	some prefix in policy_data.paths.shared; startswith(input.path, prefix)
	rest := trim_prefix(trim_prefix(input.path, prefix), "watchable/")
	regex.match(`^[a-z0-9]+-[a-z0-9]+-[^\x00-\x1f\x7f]+$`, rest)
][0]
copy_top := split(copy_rest, "/")[0]
copy_words := split(copy_top, "-")
copy_name := [name | some name in policy_data.copy.names; copy_top == concat("-", [copy_words[0], copy_words[1], name])][0]
copy contains "E_FIELD" if known("CopyFileRequest", input)
copy contains "E_PATH" if { every part in split(copy_rest, "/") { not part in {"", ".", ".."} }; [count(copy_words[0]), count(copy_words[1])] == [64, 16] }
copy contains "E_NAME" if copy_name
copy contains "E_NAME" if { subset; copy_top }
copy contains "E_LATE" if { copy_top; not is_started(copy_words[0]) }
copy contains "E_LATE" if copy_name in policy_data.copy.watched
copy_kind := input.file_type if { is_string(input.file_type) } else := raw_kind if raw_message
raw_message if { object.get(input, "file_type", null) == null; is_array(input.data); is_number(input.file_mode) }
raw_kind := [kind | some kind, bits in {"Regular": 32768, "Directory": 16384, "Symlink": 40960}; bits.and(input.file_mode, 61440) == bits][0]
copy contains "E_FILE_TYPE" if { copy_kind in {"Regular", "Directory"}; object.get(input, "symlink_target", null) == null }
copy contains "E_FILE_TYPE" if { copy_kind == "Symlink"; copy_rest != copy_top; link_ok }
link_ok if { is_string(input.symlink_target); regex.match(`^[^/\x00]+(/[^\x00]*)?$`, input.symlink_target); not ".." in split(input.symlink_target, "/") }
link_ok if { raw_message; input.data[0] > 0; input.data[0] != 47; not raw_dotdot }
raw_dotdot if { some i, byte in input.data; byte == 46; input.data[i + 1] == 46; link_edge(i - 1); link_edge(i + 2) }
link_edge(i) if i < 0
link_edge(i) if i >= count(input.data)
link_edge(i) if input.data[i] == 47
# No setuid file; the kubelet's volume directories are sticky, and setgid with an fsGroup.
copy contains "E_MODE" if {
	every key in ["file_mode", "dir_mode", "uid", "gid", "file_size", "offset"] { is_number(input[key]); input[key] >= 0 }
	bits.and(input.file_mode, {"Regular": 3584, "Symlink": 0, "Directory": 2048}[copy_kind]) == 0
	bits.and(input.dir_mode, 3584) == 0
}
default CopyFileRequest := false
CopyFileRequest if { copy == copy_codes } else := false if deny("CopyFileRequest", "-", copy_codes - copy, {})
