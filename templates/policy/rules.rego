# Execution policy: what is not expected is denied.
#
# These rules are the same for every pod. In a policy they are followed by the expectations of one pod, which are rules
# of their own with names that begin with `policy_`. A policy has the rules without comments and indentation and with
# short names; its first line has their version and the beginning of this file's SHA-256.
#
# Between `# part: <name>` and `# end of part` stand rules that few pods need. A policy lacks a part if the data says
# that the pod does not need it. Rules outside of a part name nothing that it defines. A part only adds ways in which
# checks succeed, and only with the data in question, so a policy decides alike with and without it.
#
# How to read them:
# - Each request of the Kata agent is a rule of the same name. The request is allowed if the rule is true, or an object
#   with `"allowed": true` and `ops`, the changes of the state.
# - Most requests are decided by a set of codes, such as `create`. Each check adds its code if it succeeds, and the
#   request is allowed if the set has all codes. A check that is false or undefined, for example because a field is
#   missing or has another type, adds nothing, so the request is denied.
# - In functions, `want` is what the policy expects and `got` what the request contains.
# - Types are checked before a builtin is called or a value iterated, because some engines raise an error otherwise.
# - The engines compile a regular expression each time it is used, and take as long for an index behind a call or a
#   literal. So many texts are matched at once, and such values have names.

package agent_policy

import rego.v1

#
# Requests whose answer does not depend on their content
#

# The agent denies a request if the evaluation of the rules fails.
default AllowRequestsFailingPolicy := false

# These would read or change the guest from outside, or the supported runtimes never make them.
AddSwapPathRequest := refuse("AddSwapPathRequest")
AddSwapRequest := refuse("AddSwapRequest")
GetIPTablesRequest := refuse("GetIPTablesRequest")
GetMetricsRequest := refuse("GetMetricsRequest")
ListInterfacesRequest := refuse("ListInterfacesRequest")
ListRoutesRequest := refuse("ListRoutesRequest")
MemAgentCompactConfig := refuse("MemAgentCompactConfig")
MemAgentMemcgConfig := refuse("MemAgentMemcgConfig")
MemHotplugByProbeRequest := refuse("MemHotplugByProbeRequest")
PauseContainerRequest := refuse("PauseContainerRequest")
ReseedRandomDevRequest := refuse("ReseedRandomDevRequest")
ResizeVolumeRequest := refuse("ResizeVolumeRequest")
ResumeContainerRequest := refuse("ResumeContainerRequest")
SetGuestDateTimeRequest := refuse("SetGuestDateTimeRequest")
SetIPTablesRequest := refuse("SetIPTablesRequest")
SetPolicyRequest := refuse("SetPolicyRequest")
StartTracingRequest := refuse("StartTracingRequest")
StopTracingRequest := refuse("StopTracingRequest")
UpdateEphemeralMountsRequest := refuse("UpdateEphemeralMountsRequest")
VolumeStatsRequest := refuse("VolumeStatsRequest")

# These measure, wait for or end the guest, which the host can do anyway.
default DestroySandboxRequest := true
default GetOOMEventRequest := true
default GuestDetailsRequest := true
default OnlineCPUMemRequest := true
default RemoveStaleVirtiofsShareMountsRequest := true
default StatsContainerRequest := true
default TtyWinResizeRequest := true
default WaitProcessRequest := true

# The data may allow these.
CloseStdinRequest := switched("CloseStdinRequest")
GetDiagnosticDataRequest := switched("GetDiagnosticDataRequest")
WriteStreamRequest := switched("WriteStreamRequest")

#
# Denials: one line with codes and names, but no values, because the host can read it
#

# Prints the line: the missing codes, each with the names it concerns; at most 400 characters.
deny(request, container, codes, names) if {
	labels := concat(",", [concat("", [code, listed(object.get(names, code, set()))]) | some code in codes])
	print(substring(concat("", ["DENY ", request, " container=", container, " codes=", labels]), 0, 400))
}

# False, with a denial that says that the request is never allowed.
refuse(request) := false if deny(request, target_label, {"E_REFUSED"}, {})

# True if the data allows the request.
switched(request) if { policy_requests[request] == true } else := refuse(request)

# At most three names in brackets, "" if there are none.
listed(names) := concat("", ["(", concat(" ", first_three(names)), ")"]) if { count(names) > 0 } else := ""

# Three names at most keep a denial short.
first_three(names) := [name | some i, name in [printable(each) | some each in names]; i < 3]

# A name if all of its characters are harmless, otherwise a question mark.
printable(name) := substring(name, 0, 60) if {
	is_string(name)
	regex.match(`^[A-Za-z0-9_./-]+$`, name)
} else := "?"

#
# State, changed by allowed requests: the name of a created container under "c:<id>", that of a started one under
# "r:<id>", true under "s:<name>" after its first start, and what the first request chose for the pod under "p:<what>"
#

# A key of the state; an id that is no text has none.
state_key(prefix, id) := concat("", [prefix, id]) if is_string(id)

# The name of the container that was created with an id.
created_name(id) := data.pstate[state_key("c:", id)]

# Whether the container with an id was created and started.
is_started(id) if data.pstate[state_key("r:", id)] == created_name(id)

# The state keys of the instances of a container that were started and not removed.
running(name) := {key |
	some key, value in data.pstate
	startswith(key, "r:")
	value == name
}

# A container starts after those it waits for: init containers one after another, then the others.
predecessors_started(container) if {
	every name in container.after {
		data.pstate[state_key("s:", name)] == true
	}
}

# A value that the host may choose, but only once for the pod.
pin_agrees(key, value) if {
	is_string(value)
	object.get(data.pstate, key, value) == value
}

# The same for a text of a certain form, which one that was kept has.
chosen_once(key, _, value) if data.pstate[key] == value

chosen_once(key, form, value) if {
	not is_string(data.pstate[key])
	is_string(value)
	regex.match(form, value)
}

# What the first request chose for the pod, "" before it.
pinned(what) := object.get(data.pstate, concat("", ["p:", what]), "")

# The state change that sets a value.
set_state(key, value) := {"op": "add", "path": concat("", ["/pstate/", key]), "value": value}

#
# Containers of the policy
#

# The expectations of the container that was created with an id.
container_of(id) := policy_container(created_name(id))

# The name that a denial has for a container; the pause container has none in the data.
label_of(container) := "pause" if { container.name == "" } else := container.name

# The name that a denial has for the container with the id of the request.
target_label := label_of(container_of(input.container_id)) if {
	is_object(container_of(input.container_id))
} else := "?"

# Lists that are equal in several containers are in the data once.
own_or_shared(container, key) := policy_shared[key] if { container[key] == "shared" } else := container[key]

# The items of a list as a set; undefined for anything else.
set_of(list) := items if {
	is_array(list)
	items := {item | some item in list}
}

# Whether all texts of a list match a pattern, which is given without anchors.
all_match(pattern, texts) if {
	every text in texts {
		is_string(text)
	}
	lines := concat("\n", array.concat(texts, [""]))
	count(split(lines, "\n")) == count(texts) + 1
	regex.match(concat("", ["^(?:(?:", pattern, ")\n)*$"]), lines)
}

# Whether all values of a list are whole numbers that are not negative, as builtins for bits need them.
naturals_ok(values) if {
	every value in values {
		is_number(value)
	}
	all_match("[0-9]+", [sprintf("%v", [value]) | some value in values])
}

#
# Messages of the agent
#

# The message of the request; some agents wrap it.
asked := input if not is_object(input.base)

# The members of the messages of current agents.
known_members := {
	"CreateContainerRequest": concat(" ", [
		"container_id exec_id string_user devices storages OCI sandbox_pidns shared_mounts",
		"stdin_port stdout_port stderr_port",
	]),
	"CreateSandboxRequest": "hostname dns storages sandbox_pidns sandbox_id guest_hook_path kernel_modules",
	"ExecProcessRequest": "container_id exec_id string_user process stdin_port stdout_port stderr_port",
	"UpdateContainerRequest": "container_id resources",
	"UpdateInterfaceRequest": "interface",
	"UpdateRoutesRequest": "routes",
	"AddARPNeighborsRequest": "neighbors",
	"CopyFileRequest": "path file_type symlink_target file_size file_mode dir_mode uid gid offset data symlink_src",
	"OCI": "Version Process Root Hostname Mounts Hooks Annotations Linux Solaris Windows",
	"Process": concat(" ", [
		"Terminal ConsoleSize User Args Env Cwd Capabilities Rlimits",
		"NoNewPrivileges ApparmorProfile OOMScoreAdj SelinuxLabel",
	]),
	"User": "UID GID AdditionalGids Username",
	"Root": "Path Readonly",
	"Namespaces": "Type Path",
	"Mounts": "destination source type_ options",
	"Capabilities": "Bounding Effective Inheritable Permitted Ambient",
	"Devices": "Path Type Major Minor FileMode UID GID",
	"Linux": concat(" ", [
		"UIDMappings GIDMappings Sysctl Resources CgroupsPath Namespaces Devices Seccomp",
		"RootfsPropagation MaskedPaths ReadonlyPaths MountLabel IntelRdt",
	]),
	"Resources": "Devices Memory CPU Pids BlockIO HugepageLimits Network",
	"CPU": "Shares Quota Period RealtimeRuntime RealtimePeriod Cpus Mems",
	"Memory": "Limit Reservation Swap Kernel KernelTCP Swappiness DisableOOMKiller",
	"HugepageLimits": "Pagesize Limit",
	"interface": "device name IPAddresses mtu hwAddr devicePath type_ raw_flags",
	"routes": "Routes",
	"Routes": "dest gateway device source scope family flags mtu",
	"neighbors": "ARPNeighbors",
	"ARPNeighbors": "toIPAddress device lladdr state flags",
	"IPAddresses": "family address mask",
	"devices": "id type_ vm_path container_path options",
	"storages": "driver driver_options source fstype options mount_point fs_group shared",
}

# A member that a newer agent adds must be unset, since these rules do not know its effect.
members_known(message, got) if all_members_known(message, [got])

# The same for each message of a list.
all_members_known(message, got) if {
	is_array(got)
	known := {member | some member in split(known_members[message], " ")}
	every item in got {
		others_unset(known, item)
	}
}

# The same for one of them; a message that is not there has no members.
others_unset(_, got) if got == null

others_unset(known, got) if {
	is_object(got)
	every key in object.keys(got) - known {
		got[key] in [null, "", 0, false, [], {}]
	}
}

# The same for a process and the messages in it.
process_members_known(got) if {
	members_known("Process", got)
	members_known("User", got.User)
	members_known("Capabilities", got.Capabilities)
}

#
# Processes: what CreateContainer and ExecProcess have in common
#

# Whether a text is the expected one: the text itself, one with the pod's identity in it, or one that matches a pattern,
# which may have the identity in it too.
text_ok(want, got, _) if want == got

text_ok(want, got, identity) if got == filled(want.is, identity)

text_ok(want, got, identity) if {
	is_string(got)
	regex.match(pattern_of(want.re, identity), got)
}

# A text with the pod's identity put in.
filled(text, identity) := replace(
	replace(replace(replace(text, "$(name)", identity.name), "$(namespace)", identity.namespace), "$(uid)", identity.uid),
	"$(hostname)", identity.hostname,
)

# The same for a pattern.
pattern_of(pattern, identity) := pattern if { not contains(pattern, "$(") } else := filled(pattern, escaped) if {
	escaped := {part: quoted(text) | some part, text in identity}
}

# A part of the identity, escaped for a pattern; the dot is the only special character that it may contain.
quoted(text) := replace(text, ".", `\.`) if { regex.match(`^[a-z0-9.-]*$`, text) } else := "!"

# The checks of every process, whoever starts it.
process_codes := ["E_CWD", "E_RLIMITS", "E_STDIO", "E_USER"]

# The working directory decides what relative paths mean.
process_ok("E_CWD", want, got) if got.Cwd == want.process.cwd

# No resource limits; how early a process is killed is left to the host.
process_ok("E_RLIMITS", _, got) if {
	got.Rlimits == []
	is_number(got.OOMScoreAdj)
}

# Output may reach the host only through ReadStream, which has a check of its own.
process_ok("E_STDIO", _, _) if [asked.stdin_port, asked.stdout_port, asked.stderr_port] == [0, 0, 0]

# The numbers decide; a name would be looked up in a file of the image. Which groups come with the user depends on
# whether the host sees the files of the image.
process_ok("E_USER", want, got) if {
	[got.User.UID, got.User.Username, asked.string_user] == [want.process.user.uid, "", null]
	some groups in want.process.user.groups
	got.User.GID == groups.gid
	set_of(got.User.AdditionalGids) == set_of(groups.gids)
	count(got.User.AdditionalGids) == count(groups.gids)
}

# As many arguments as expected, and each is the expected one.
args_ok(want, got, identity) if {
	is_array(got)
	count(got) == count(want)
	every i, arg in got {
		text_ok(want[i], arg, identity)
	}
}

# The names of variables that are unexpected, duplicate or missing.
# The list begins with the entries of runtime and image in their order. Those of pod and Services follow in any order.
env_faults(want, got, identity) := (first | wrong) | (twice(names) | missing) if {
	all_strings(got.Env)
	length := count(want.head)
	first := {head_name(entry) | some i, entry in want.head; not head_ok(entry, got.Env[i], identity)}
	rest := [entry | some i, entry in got.Env; i >= length]
	names := [variable_name(entry) | some entry in rest]
	pod := object.keys(want.fixed) | (object.keys(want.optional) | object.keys(want.pattern))
	fixed := {concat("=", [name, value]) | some name, value in want.fixed}
	missing := (object.keys(want.fixed) | {name | some name, each in want.pattern; each.required}) - set_of(names)
	others := [entry | some i, entry in rest; not names[i] in pod]
	wrong := not_of_services(others, own_or_shared(want, "family")) | {name |
		some i, entry in rest
		name := names[i]
		name in pod
		not entry in fixed
		not variable_ok(want, name, entry, identity)
	}
}

# An entry that is no text has no name.
env_faults(_, got, _) := {"?"} if {
	is_array(got.Env)
	not all_strings(got.Env)
}

# Whether a value is a list of texts.
all_strings(list) if {
	is_array(list)
	every item in list {
		is_string(item)
	}
}

# One of the entries at the beginning, or one of several.
head_ok(want, got, identity) if text_ok(want, got, identity)

head_ok(want, got, identity) if {
	some each in want.any
	text_ok(each, got, identity)
}

# The name of such a variable.
head_name(want) := variable_name(want) if { is_string(want) } else := want.of

# Names that occur more than once.
twice(names) := set() if { count(names) == count(set_of(names)) } else := found if {
	sorted := sort(names)
	found := {name | some i, name in sorted; name == sorted[i + 1]}
}

# The name of a variable, which ends at the first equals sign; the whole text if there is none.
variable_name(entry) := parts[0] if parts := split(entry, "=")

# A variable that has one of its permitted values, or matches the pattern of its name.
variable_ok(want, name, entry, _) if {
	some value in want.optional[name]
	entry == concat("=", [name, value])
}

variable_ok(want, name, entry, identity) if text_ok(want.pattern[name], entry, identity)

# The names of variables that the kubelet does not set for Services. All are matched at once; if that fails, one by one
# to find the wrong ones.
not_of_services(entries, family) := set() if { entries == [] } else := set() if {
	all_match(family, entries)
} else := found if {
	found := {variable_name(entry) | some entry in entries; not regex.match(concat("", ["^(?:", family, ")$"]), entry)}
}

#
# CreateSandbox: once, with the storages of the profile
#

# All checks of CreateSandbox.
sandbox_codes := {
	"E_DNS",
	"E_FIELD",
	"E_HOOKS",
	"E_HOSTNAME",
	"E_MODULES",
	"E_PIDNS",
	"E_SANDBOX",
	"E_SANDBOX_ID",
	"E_STORAGE",
}

# The first request of a pod; its storages and ids bind all that follow.
default CreateSandboxRequest := false

CreateSandboxRequest := {"allowed": true, "ops": ops} if {
	sandbox == sandbox_codes
	chosen := {"p:sandbox": true, "p:sandbox_id": input.sandbox_id, "p:hostname": input.hostname}
	ops := [set_state(key, value) | some key, value in chosen]
} else := false if deny("CreateSandboxRequest", "-", sandbox_codes - sandbox, {})

# A pod has one sandbox.
sandbox contains "E_SANDBOX" if object.get(data.pstate, "p:sandbox", null) == null

# Nothing that these rules do not know.
sandbox contains "E_FIELD" if members_known("CreateSandboxRequest", input)

# The host can run no hook in the guest.
sandbox contains "E_HOOKS" if input.guest_hook_path == ""

# No module is loaded into the guest's kernel.
sandbox contains "E_MODULES" if input.kernel_modules == []

# Containers do not share a process namespace by way of the sandbox.
sandbox contains "E_PIDNS" if input.sandbox_pidns == false

# The host name is compared with the pod's name when the pause container is created.
sandbox contains "E_HOSTNAME" if chosen_once("p:hostname", `^[a-z0-9.-]*$`, input.hostname)

# The host chooses the lines of resolv.conf. Only their number, length and characters are checked: the file may come
# from the node, with comments, tabs and empty lines.
sandbox contains "E_DNS" if {
	is_array(input.dns)
	count(input.dns) <= 256
	all_match(`[^\x00-\x08\x0a-\x1f\x7f]*`, input.dns)
	every line in input.dns {
		count(line) <= 4096
	}
}

# Exactly the storages of the profile, each once.
sandbox contains "E_STORAGE" if {
	count(sandbox_storages) == count(storages)
	sandbox_storages == set_of(policy_sandbox.storages)
}

# The storages of the request; agents before 2026 have no field `shared`.
sandbox_storages := found if {
	every storage in storages {
		is_object(storage)
	}
	found := {object.union({"shared": false}, storage) | some storage in storages}
}

# The id becomes part of paths, and must be that of all later requests.
sandbox contains "E_SANDBOX_ID" if {
	chosen_once("p:sandbox_id", `^[a-z0-9]+$`, input.sandbox_id)
	count(input.sandbox_id) == 64
}

#
# UpdateInterface, UpdateRoutes, AddARPNeighbors: the host may route as it likes, except through or to the loopback
# interface, on which the containers of the pod trust each other
#

# An interface may get any address but a loopback one.
default UpdateInterfaceRequest := false

UpdateInterfaceRequest if {
	members_known("UpdateInterfaceRequest", input)
	interface_ok(input.interface)
} else := false if deny("UpdateInterfaceRequest", "-", {"E_INTERFACE"}, {})

# Its names, flags, hardware address and addresses are well-formed, and none is the loopback interface's.
interface_ok(got) if {
	members_known("interface", got)
	naturals_ok([got.mtu])
	device_path_ok(got)
	word_ok(got.type_)
	every name in [got.device, got.name] {
		device_name_ok(name)
	}
	got.raw_flags in {0, 128}
	is_string(got.hwAddr)
	regex.match(`^([0-9A-Fa-f]{2}:){5}[0-9A-Fa-f]{2}$`, got.hwAddr)
	got.hwAddr != "00:00:00:00:00:00"
	is_array(got.IPAddresses)
	every ip in got.IPAddresses {
		ip_ok(ip)
		regex.match(`^[0-9]*$`, ip.mask)
	}
}

# The interface is no device of the host.
device_path_ok(got) if got.devicePath == ""

# A route may lead anywhere but to the loopback interface and its addresses.
default UpdateRoutesRequest := false

UpdateRoutesRequest if {
	members_known("UpdateRoutesRequest", input)
	members_known("routes", input.routes)
	is_array(input.routes.Routes)
	every route in input.routes.Routes {
		route_ok(route)
	}
} else := false if deny("UpdateRoutesRequest", "-", {"E_ROUTE"}, {})

# Source, destination and gateway are networks outside loopback, or empty.
route_ok(got) if {
	members_known("Routes", got)
	naturals_ok([got.family, got.flags, got.scope])
	route_mtu_ok(got)
	device_name_ok(got.device)
	network_ok(got.source)
	network_ok(got.dest)
	network_ok(got.gateway)
}

# The size of packets on a route.
route_mtu_ok(got) if naturals_ok([got.mtu])

# A neighbor may be any but one on the loopback interface.
default AddARPNeighborsRequest := false

AddARPNeighborsRequest if {
	members_known("AddARPNeighborsRequest", input)
	members_known("neighbors", input.neighbors)
	is_array(input.neighbors.ARPNeighbors)
	every neighbor in input.neighbors.ARPNeighbors {
		neighbor_ok(neighbor)
	}
} else := false if deny("AddARPNeighborsRequest", "-", {"E_NEIGHBOR"}, {})

# Address, state, flags and link address are well-formed, and nothing is the loopback interface's.
neighbor_ok(got) if {
	members_known("ARPNeighbors", got)
	device_name_ok(got.device)
	ip_ok(got.toIPAddress)
	got.toIPAddress.mask == ""
	got.state in {2, 128}
	got.flags in {0, 8, 128, 136}
	is_string(got.lladdr)
	regex.match(`^[0-9A-Fa-f:]*$`, got.lladdr)
}

# An address of one of the two families, with a mask in text.
ip_ok(got) if {
	members_known("IPAddresses", got)
	got.family in {0, 1}
	is_string(got.mask)
	address_ok(got.address)
}

# The name of an interface other than loopback.
device_name_ok(name) if {
	name != "lo"
	word_ok(name)
	name != ""
}

# A word without special characters, or nothing.
word_ok(text) if {
	is_string(text)
	regex.match(`^[A-Za-z0-9._@-]*$`, text)
}

# An address with or without a prefix length, or nothing.
network_ok(text) if text == ""

network_ok(text) if {
	is_string(text)
	parts := split(text, "/")
	regex.match(`^(/[0-9]{1,3})?$`, trim_prefix(text, parts[0]))
	address_ok(parts[0])
}

# An IPv4 or IPv6 address outside loopback.
address_ok(text) if {
	is_string(text)
	regex.match(concat("", ["^(", ipv4, "|", ipv6, ")$"]), text)
	not regex.match(loopback, text)
}

# Addresses must be complete, so that all readers agree on them.
ipv4 := `(0|[1-9][0-9]*)(\.(0|[1-9][0-9]*)){3}`

# Hexadecimal groups with colons, the last perhaps in the form of an IPv4 address.
ipv6 := `[0-9A-Fa-f]*:[0-9A-Fa-f:]*:([0-9A-Fa-f:]*|[0-9]+(\.[0-9]+){3})`

# 127.0.0.0/8 and ::1, also as IPv4 addresses embedded in IPv6 ones.
loopback := concat("", [
	`^(127\.|[0:]*:0{0,3}1$|[0:]*:0+\.0+\.0+\.0*1$`,
	`|[0:]*:([Ff]{4}:)?(0:)?127\.|[0:]*:[Ff]{4}:(0:)?7[Ff][0-9A-Fa-f]{2}:)`,
])

#
# CopyFile: <shared>/[watchable/]<id>-<16 characters>-<a name this pod mounts>[/...]
#

# All checks of CopyFile.
copy_codes := {"E_FIELD", "E_FILE_TYPE", "E_LATE", "E_MODE", "E_NAME", "E_PATH"}

# The host writes the files of ConfigMaps, Secrets and the like, and nothing else.
default CopyFileRequest := false

CopyFileRequest if { copy == copy_codes } else := false if deny("CopyFileRequest", "-", copy_codes - copy, {})

# Nothing that these rules do not know.
copy contains "E_FIELD" if members_known("CopyFileRequest", input)

# The path below the shared folder has no parts that lead elsewhere, and no control characters.
copy contains "E_PATH" if {
	every part in split(copied_path, "/") {
		not part in {"", ".", ".."}
	}
	count(copied_words[1]) == 16
	all_match("[a-z0-9]+", [copied_words[0], copied_words[1]])
	not regex.match(`[\x00-\x1f\x7f]`, copied_path)
}

# The path below the shared folder, which begins with an id of 64 characters; undefined if it is elsewhere.
copied_path := rest if {
	is_string(input.path)
	some prefix in policy_paths.shared
	startswith(input.path, prefix)
	rest := trim_prefix(trim_prefix(input.path, prefix), "watchable/")
	indexof(rest, "-") == 64
}

# Its first part, which names the container's id and the volume.
copied_top := parts[0] if parts := split(copied_path, "/")

# The words of the first part: id, key, name.
copied_words := split(copied_top, "-")

# Only what a container of this pod mounts may be written.
copy contains "E_NAME" if copied_name

# The name that the pod mounts, as the data has it.
copied_name := name if {
	some name in policy_copy.names
	copied_top == concat("-", [copied_words[0], copied_words[1], name])
}

# Files must not change after their container has started, except in watched volumes.
copy contains "E_LATE" if {
	copied_top
	not is_started(copied_words[0])
}

copy contains "E_LATE" if copied_name in policy_copy.watched

# Files and directories, which have no target.
copy contains "E_FILE_TYPE" if {
	copied_kind in {"Regular", "Directory"}
	object.get(input, "symlink_target", null) == null
	object.get(input, "symlink_src", "") == ""
}

# A link is inside a copied directory and must not lead out of it.
copy contains "E_FILE_TYPE" if {
	copied_kind == "Symlink"
	copied_path != copied_top
	link_ok
}

# Its type, which agents since 2026 tell.
copied_kind := input.file_type if is_string(input.file_type)

# The types by the bits of the mode, as in stat(2).
file_kinds := {"Regular": 32768, "Directory": 16384, "Symlink": 40960}

# The target is relative, and no part of it leads upwards.
link_ok if {
	object.get(input, "symlink_src", "") == ""
	target_ok(input.symlink_target)
}

# A target as text.
target_ok(target) if {
	is_string(target)
	regex.match(`^[^/\x00]+(/[^\x00]*)?$`, target)
	not ".." in split(target, "/")
}

# No setuid, setgid or sticky files. The kubelet's volume directories are sticky, and setgid with an fsGroup.
copy contains "E_MODE" if {
	naturals_ok([input.file_mode, input.dir_mode, input.uid, input.gid, input.file_size, input.offset])
	bits.and(input.file_mode, 61440) == file_kinds[copied_kind]
	bits.and(input.file_mode, special_bits[copied_kind]) == 0
	bits.and(input.dir_mode, 3584) == 0
}

# The bits that a file of each type must not have.
special_bits := {"Regular": 3584, "Symlink": 0, "Directory": 2048}

#
# CreateContainer: the answer
#

# All checks of CreateContainer.
create_codes := {
	"E_ANNOTATION",
	"E_ARGS",
	"E_CAPS",
	"E_CGROUP",
	"E_CWD",
	"E_DEVICE",
	"E_ENV",
	"E_FIELD",
	"E_HOOKS",
	"E_HOSTNAME",
	"E_ID",
	"E_IDMAP",
	"E_IMG_COUNT",
	"E_IMG_MOUNT",
	"E_IMG_OPTS",
	"E_IMG_REF",
	"E_LINUX",
	"E_LSM",
	"E_MASKED",
	"E_MOUNT_DUP",
	"E_MOUNT_EXTRA",
	"E_MOUNT_MISSING",
	"E_MOUNT_OPTS",
	"E_MOUNT_ORDER",
	"E_MOUNT_SRC",
	"E_MOUNT_TYPE",
	"E_NAMESPACES",
	"E_NETNS",
	"E_NNP",
	"E_ORDER",
	"E_OS",
	"E_PIDNS",
	"E_POD_NAME",
	"E_POD_NAMESPACE",
	"E_PROPAGATION",
	"E_READONLY",
	"E_RESOURCES",
	"E_RLIMITS",
	"E_ROOT_PATH",
	"E_ROOT_RO",
	"E_SANDBOX_ID",
	"E_SELECT",
	"E_SHARED_MOUNTS",
	"E_STDIO",
	"E_STORAGE",
	"E_SYSCTL",
	"E_TTY",
	"E_TYPE",
	"E_USER",
	"E_VERSION",
}

# A container is created as the pod describes it; what the host chose for the pod is kept in the state.
default CreateContainerRequest := false

CreateContainerRequest := {"allowed": true, "ops": ops} if {
	create == create_codes
	ops := [set_state(each[0], each[1]) | some each in kept]
} else := false if deny("CreateContainerRequest", expected_label, create_codes - create, create_faults)

# What is kept of the request.
kept contains [key, value] if {
	some key, value in {
		"p:hostname": hostname,
		"p:name": sandbox_name,
		"p:namespace": sandbox_namespace,
		"p:sandbox_id": sandbox_id,
		"p:uid": sandbox_uid,
		state_key("c:", asked.container_id): expected.name,
	}
}

# The names that a denial mentions.
create_faults := object.union(mount_faults, {"E_ENV": env_wrong, "E_ANNOTATION": annotations_wrong}) if {
	env_wrong
	mount_faults
} else := {}

#
# CreateContainer: which container is requested
#

# The annotation only selects the expectations; everything else is then compared with them.
expected := policy_container(object.get(annotations, "io.kubernetes.cri.container-name", ""))

# The name that a denial has for the requested container.
expected_label := label_of(expected) if { is_object(expected) } else := "?"

# The pod has a container of that name.
create contains "E_SELECT" if is_object(expected)

# Parts of the request that many rules use; each is undefined if it has another type.
annotations := asked.OCI.Annotations if is_object(asked.OCI.Annotations)
linux := asked.OCI.Linux if is_object(asked.OCI.Linux)
process := asked.OCI.Process if is_object(asked.OCI.Process)
mounts := asked.OCI.Mounts if is_array(asked.OCI.Mounts)
storages := asked.storages if is_array(asked.storages)
namespaces := linux.Namespaces if is_array(linux.Namespaces)

# Nothing that these rules do not know, in any message of the request.
create contains "E_FIELD" if {
	members_known("CreateContainerRequest", asked)
	members_known("OCI", asked.OCI)
	members_known("Root", asked.OCI.Root)
	members_known("Linux", linux)
	members_known("Resources", linux.Resources)
	process_members_known(process)
	all_members_known("Mounts", mounts)
	all_members_known("storages", storages)
	all_members_known("devices", asked.devices)
	all_members_known("Namespaces", namespaces)
	all_members_known("Devices", linux.Devices)
}

# An id is used once and becomes part of paths.
create contains "E_ID" if {
	id_ok(asked.container_id)
	asked.exec_id == asked.container_id
	not created_name(asked.container_id)
}

# Characters that are safe in a path, and no leading dot.
id_ok(id) if {
	is_string(id)
	count(id) <= 128
	regex.match(`^[A-Za-z0-9][A-Za-z0-9._-]+$`, id)
}

# The pause container is created as the sandbox, every other as a container; containerd and Kata say so.
create contains "E_TYPE" if {
	types := [annotations["io.kubernetes.cri.container-type"], annotations["io.katacontainers.pkg.oci.container_type"]]
	types == types_of(expected.kind)
}

# What both say.
types_of(kind) := ["sandbox", "pod_sandbox"] if { kind == "pause" } else := ["container", "pod_container"]

# No container is created before those it waits for were started.
create contains "E_ORDER" if predecessors_started(expected)

#
# CreateContainer: the pod's identity, annotations
#

# A value that is a text; undefined otherwise.
text_of(value) := value if is_string(value)

# The identity of the pod, as the request has it.
sandbox_name := text_of(annotations["io.kubernetes.cri.sandbox-name"])
sandbox_namespace := text_of(annotations["io.kubernetes.cri.sandbox-namespace"])
sandbox_id := text_of(annotations["io.kubernetes.cri.sandbox-id"])
sandbox_uid := text_of(object.get(annotations, "io.kubernetes.cri.sandbox-uid", ""))

# The identity to which patterns refer.
asking_pod := {
	"name": sandbox_name,
	"namespace": sandbox_namespace,
	"uid": sandbox_uid,
	"hostname": hostname,
}

# The host chooses the pod's name once, in the form that its controller gives it.
create contains "E_POD_NAME" if chosen_once("p:name", policy_pod.name_re, sandbox_name)

# A policy without a namespace leaves the first choice to the host.
create contains "E_POD_NAMESPACE" if {
	chosen_once("p:namespace", `^[a-z0-9][a-z0-9-]*$`, sandbox_namespace)
	policy_pod.namespace in {null, sandbox_namespace}
}

# Every container belongs to the sandbox and the pod of the first request.
create contains "E_SANDBOX_ID" if {
	count(sandbox_id) == 64
	chosen_once("p:sandbox_id", `^[a-z0-9]+$`, sandbox_id)
	pin_agrees("p:uid", sandbox_uid)
	sandbox_is_pause
}

# The pause container has the id of the sandbox.
sandbox_is_pause if expected.kind != "pause"

sandbox_is_pause if asked.container_id == sandbox_id

# The agent acts on annotations, so all of them must be known.
create contains "E_ANNOTATION" if {
	annotations
	count(annotations_wrong) == 0
}

# The keys of annotations that have another value, are unknown, or are missing.
annotations_wrong contains key if {
	some key, value in annotations
	not key in checked_annotations
	not annotation_text_ok(key, value)
}

annotations_wrong contains key if {
	some key in {"io.kubernetes.cri.sandbox-uid", "io.katacontainers.pkg.oci.bundle_path"}
	not annotations[key]
}

# Every value is a text.
annotation_text_ok(key, value) if {
	is_string(value)
	annotation_ok(key, value)
}

# Types and the identity of the pod have checks of their own.
checked_annotations := {
	"io.kubernetes.cri.container-type",
	"io.katacontainers.pkg.oci.container_type",
	"io.kubernetes.cri.sandbox-name",
	"io.kubernetes.cri.sandbox-namespace",
	"io.kubernetes.cri.sandbox-id",
}

# Each of the others has what the policy expects, or a value without effect in the guest.
# First, the folder of the container on the host.
annotation_ok("io.katacontainers.pkg.oci.bundle_path", value) if {
	value == concat("", ["/run/containerd/io.containerd.runtime.v2.task/k8s.io/", container_id])
}

# The name that selected the expectations; the pause container has none.
annotation_ok("io.kubernetes.cri.container-name", value) if {
	expected.kind != "pause"
	value == expected.name
}

# The image, in one of the spellings in which the guest may pull it.
annotation_ok("io.kubernetes.cri.image-name", value) if {
	expected.kind != "pause"
	value in expected.image
}

# The file with the container's last words.
annotation_ok("io.kubernetes.container.terminationMessagePath", value) if {
	expected_mounts[object.get(written_mounts, value, value)].src.kind == "file"
}

# The folder of the pod's logs on the host, which repeats the pod's identity.
annotation_ok("io.kubernetes.cri.sandbox-log-directory", value) if {
	expected.kind == "pause"
	words := split(value, "_")
	count(words[2]) == 36
	regex.match(`^[0-9a-f-]*$`, words[2])
	sandbox_uid in {"", words[2]}
	value == concat("", ["/var/log/pods/", sandbox_namespace, "_", sandbox_name, "_", words[2]])
}

# The network namespace on the host.
annotation_ok("nerdctl/network-namespace", value) if {
	expected.kind == "pause"
	regex.match(`^/var/run/netns/cni-[0-9a-f-]+$`, value)
}

# What the last words are, if there are none.
annotation_ok("io.kubernetes.container.terminationMessagePolicy", value) if value in {"File", "FallbackToLogsOnError"}

# The unique id of the pod.
annotation_ok("io.kubernetes.cri.sandbox-uid", value) if {
	chosen_once("p:uid", `^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`, value)
}

# Values that the host chooses, in a harmless form.
annotation_ok(key, value) if regex.match(annotation_patterns[key], value)

# Annotations of the pod that the runtime passes on.
annotation_ok(key, value) if value == policy_pod.annotations[key]

# The ID block, which the firmware compared before the guest started; the agent does not act on it.
annotation_ok(key, value) if {
	startswith(key, id_prefix)
	regex.match(`^(id_block|id_auth|guest_policy)_(Milan|Genoa)$`, trim_prefix(key, id_prefix))
	regex.match(`^[A-Za-z0-9+/]+={0,2}$`, value)
}

# How its keys begin.
id_prefix := "io.katacontainers.config.hypervisor.snp_"

# The forms of values that the host chooses.
annotation_patterns := {
	"io.kubernetes.cri.podsandbox.image-name": `^[A-Za-z0-9._:/@-]+$`,
	"io.kubernetes.cri.sandbox-cpu-period": `^-?[0-9]+$`,
	"io.kubernetes.cri.sandbox-cpu-quota": `^-?[0-9]+$`,
	"io.kubernetes.cri.sandbox-cpu-shares": `^-?[0-9]+$`,
	"io.kubernetes.cri.sandbox-memory": `^-?[0-9]+$`,
}

#
# CreateContainer: where the image of the container is
#

# The id of the container, if it is a text.
container_id := text_of(asked.container_id)

# Where the guest mounts the image of the container.
root_path := concat("", [policy_paths.root, container_id, root_end])

# What follows an id in the paths of root file systems.
root_end := object.get(policy_paths, "root_end", "/rootfs")

# Whether a storage is an image that the guest pulls.
is_of_image(_, storage) if storage.driver == "image_guest_pull"

#
# CreateContainer: members that have one value, each with what is expected first
#

# A member that is missing leaves all of these codes out.
create contains code if {
	some code, pair in {
		# The root file system is the image.
		"E_ROOT_PATH": [root_path, asked.OCI.Root.Path],
		# It is read-only if the pod says so.
		"E_ROOT_RO": [expected.rootfs_ro, asked.OCI.Root.Readonly],
		# A terminal if the pod has one; its size comes with TtyWinResize.
		"E_TTY": [[expected.process.tty, null], [process.Terminal, process.ConsoleSize]],
		# Whether the process may gain privileges, as by a setuid file.
		"E_NNP": [expected.process.nnp, process.NoNewPrivileges],
		# No mount is shared with another container.
		"E_SHARED_MOUNTS": [[], asked.shared_mounts],
		# Nothing for other operating systems.
		"E_OS": [[null, null], [asked.OCI.Solaris, asked.OCI.Windows]],
		# The host can run no hook in the guest.
		"E_HOOKS": [null, asked.OCI.Hooks],
		# Users of the container are users of the guest.
		"E_IDMAP": [[[], []], [linux.UIDMappings, linux.GIDMappings]],
		# No system call filter, cache allocation or mount label.
		"E_LINUX": [[null, null, ""], [linux.Seccomp, linux.IntelRdt, linux.MountLabel]],
		# Whether mounts reach other containers is as the pod says.
		"E_PROPAGATION": [expected.propagation, linux.RootfsPropagation],
		# The containers share a process namespace if the pod says so.
		"E_PIDNS": [expected.pidns, asked.sandbox_pidns],
	}
	pair[0] == pair[1]
}

#
# CreateContainer: the process
#

# The checks of every process.
create contains code if {
	some code in process_codes
	process_ok(code, expected, process)
}

# Every variable is expected, and none is missing.
create contains "E_ENV" if env_wrong == set()

# The names of variables for which that is not so.
env_wrong := env_faults(expected.env, process, asking_pod)

# The command of pod and image.
create contains "E_ARGS" if args_ok(expected.process.args, process.Args, asking_pod)

# The capabilities of pod and runtime, no more and no less.
create contains "E_CAPS" if {
	every kind in ["Ambient", "Inheritable"] {
		process.Capabilities[kind] == []
	}
	every names in {process.Capabilities.Bounding, process.Capabilities.Effective, process.Capabilities.Permitted} {
		capability_names(names) == set_of(own_or_shared(expected.process, "caps"))
		count(names) == count(set_of(names))
	}
}

# Some runtimes write the prefix CAP_, others do not.
capability_names(list) := names if {
	all_strings(list)
	names := {trim_prefix(name, "CAP_") | some name in list}
}

# The guest has no AppArmor; containerd names the host's profile.
create contains "E_LSM" if {
	process.SelinuxLabel == ""
	is_string(process.ApparmorProfile)
	regex.match(`^[A-Za-z0-9._/-]*$`, process.ApparmorProfile)
}

#
# CreateContainer: mounts
#

# The codes for mounts, each with the destinations that fail the check.
mount_faults := {
	"E_MOUNT_EXTRA": {dst | some dst in mount_destinations; not expected_mounts[dst]},
	"E_MOUNT_MISSING": object.keys(expected_mounts) - mount_destinations,
	"E_MOUNT_OPTS": {places[i] |
		some i, want in wanted_mounts
		not mounts[i].options in want.opts
		not options_of_kernel(want, mounts[i].options)
	},
	"E_MOUNT_ORDER": mounts_hidden,
	"E_MOUNT_SRC": {places[i] |
		some i, want in wanted_mounts
		not source_ok(want.src.kind, want.src.arg, mounts[i].source)
	},
	"E_MOUNT_TYPE": {places[i] | some i, want in wanted_mounts; not mounts[i].type_ == want.type},
}

# The expectations of the mounts in the request, by index.
wanted_mounts := {i: expected_mounts[place] | some i, place in places}

# A code for mounts is added if no destination fails its check.
create contains code if {
	mounts
	some code, faults in mount_faults
	faults == set()
}

# No destination is mounted twice.
create contains "E_MOUNT_DUP" if count(mount_destinations) == count(mounts)

# containerd 1.6 has the shared memory of the pause container twice, which the runtime makes equal.
create contains "E_MOUNT_DUP" if {
	expected.kind == "pause"
	twins := [mount | some i, mount in mounts; places[i] == "/dev/shm"]
	[count(twins), twins[0], count(mount_destinations) + 1] == [2, twins[1], count(mounts)]
}

# The mounts that the container must have, by destination.
expected_mounts := {mount.dst: mount | some mount in array.concat(common_mounts(expected), expected.mounts)}

# The mounts that the runtime adds to every container.
common_mounts(container) := policy_shared.mounts.all if {
	container.kind == "pause"
} else := array.concat(policy_shared.mounts.all, policy_shared.mounts.containers)

# The destinations in the request, in their order and as a set.
places := [mount_destination(mount) | some mount in mounts]
mount_destinations := set_of(places)

# The destination of a mount in its shortest form, "?" if it is no text.
mount_destination(mount) := object.get(written_mounts, mount.destination, mount.destination) if {
	is_string(mount.destination)
} else := "?"

# The shortest form of destinations that the pod writes in another, which the runtime passes on.
written_mounts := {mount.written: mount.dst | some mount in expected.mounts; mount.written}

# A parent that is mounted after its child would hide it.
mounts_hidden := {pair[1] |
	some pair in array.concat(policy_shared.nested, expected.nested)
	some i, child in places
	child == pair[1]
	some j, parent in places
	parent == pair[0]
	j > i
}

# The options of a mount are one of the lists that runtimes write. Newer kernels add some to the cgroup mount.
options_of_kernel(want, got) if {
	is_array(got)
	[option | some option in got; not option in want.extra] in want.opts
}

# A fixed text, such as the name of a file system.
source_ok("eq", want, got) if got == want

# A directory in the guest's memory, created for the volume of that name.
source_ok("ephemeral", want, got) if got == concat("", [policy_paths.ephemeral, want])

# A directory of the guest, next to the copied files, for the volume of that name.
source_ok("local", want, got) if got in local_paths(want)

# Copied files are at <shared>/[watchable/]<id>-<16 characters>-<base name of the destination>.
source_ok("file", want, got) if {
	is_string(got)
	some prefix in policy_paths.shared
	startswith(got, prefix)
	rest := trim_prefix(trim_prefix(got, prefix), "watchable/")
	key := trim_suffix(trim_prefix(rest, concat("", [container_id, "-"])), concat("", ["-", want]))
	count(key) == 16
	rest == concat("-", [container_id, key, want])
	regex.match(`^[a-z0-9]+$`, key)
}

# The paths that such a directory may have.
local_paths(volume) := {path |
	some prefix in policy_paths.shared
	path := concat("", [prefix, sandbox_id, root_end, "/local/", volume])
}

#
# CreateContainer: storages other than the image, devices
#

# Each storage belongs to a volume, and each volume has as many storages as its mounts need.
create contains "E_STORAGE" if {
	every got in volume_storages {
		some want in expected.storages
		storage_ok(want, got)
	}
	every want in expected.storages {
		count([1 | some got in volume_storages; storage_ok(want, got)]) in want.counts
	}
}

# The storages that are no images.
volume_storages := [storage | some i, storage in storages; not is_of_image(i, storage)]

# A storage has the options of its volume, and leads to a directory of the guest.
storage_ok(want, got) if {
	[got.options, got.driver_options, got.fs_group] == [want.options, [], null]
	object.get(got, "shared", false) == false
	[got.driver, got.source, got.fstype, got.mount_point] in storage_places(want.kind, want.volume)
}

# Driver, source, file system and place of a directory in memory.
storage_places("ephemeral", volume) := {["ephemeral", "tmpfs", "tmpfs", path]} if {
	path := concat("", [policy_paths.ephemeral, volume])
}

# The same for a directory next to the copied files.
storage_places("local", volume) := {["local", "local", "local", path] | some path in local_paths(volume)}

# No device for a pod that has none.
create contains "E_DEVICE" if [asked.devices, linux.Devices, expected.devices, expected.gpus] == [[], [], [], 0]

#
# CreateContainer: the rest of the OCI specification
#

# A version 1 of the OCI specification.
create contains "E_VERSION" if {
	is_string(asked.OCI.Version)
	regex.match(`^1\.[0-9]+\.[0-9]+(-dev|-rc\.[0-9]+)?([+]dev)?$`, asked.OCI.Version)
}

# The host name of the pod; only the pause container's request has it.
create contains "E_HOSTNAME" if {
	pin_agrees("p:hostname", hostname)
	hostname_ok(policy_pod.hostname)
	hostname_is_where_it_belongs
}

# Other containers get it by way of the pause container.
hostname_is_where_it_belongs if expected.kind == "pause"

hostname_is_where_it_belongs if asked.OCI.Hostname == ""

# The host name in the request of the pause container, which is kept for the others.
hostname := text_of(asked.OCI.Hostname) if expected.kind == "pause"

hostname := pinned("hostname") if expected.kind != "pause"

# A host name that the pod sets, or of which it sets the form.
hostname_ok(want) if text_ok(want, hostname, asking_pod)

# The name of the pod, cut to 63 characters and without dashes and dots at the end.
hostname_ok(want) if {
	want == null
	hostname == sandbox_name
	count(hostname) <= 63
}

hostname_ok(want) if {
	want == null
	[count(sandbox_name) > 63, count(hostname) <= 63, startswith(sandbox_name, hostname)] == [true, true, true]
	regex.match(`^[^.-]$`, substring(hostname, count(hostname) - 1, 1))
	regex.match(`^[.-]*$`, substring(sandbox_name, count(hostname), 63 - count(hostname)))
}

# Each namespace once, and a new one.
create contains "E_NAMESPACES" if {
	count(set_of(namespace_kinds)) == count(namespaces)
	every namespace in namespaces {
		namespace.Path == ""
	}
	set_of(namespace_kinds) - {"cgroup", "network"} == {"ipc", "mount", "uts"}
}

# The kinds of the namespaces; runtimes call the mount namespace by either name.
namespace_kinds := [object.get({"mnt": "mount"}, each.Type, each.Type) | some each in namespaces]

# The containers use the network of the guest, so they share it. An entry would give one a network of its own.
create contains "E_NETNS" if {
	namespaces
	not "network" in namespace_kinds
}

# Paths of the kernel that are masked: those that all runtimes mask, and newer ones only if they are known. Masking
# one of the container's own files would change its behaviour.
create contains "E_MASKED" if masked_ok(own_or_shared(expected, "masked"), linux.MaskedPaths)

# A privileged container sees all paths.
masked_ok(want, got) if {
	want == []
	got == []
}

masked_ok(want, got) if {
	count(want) > 0
	set_of(want) - set_of(got) == set()
	count(got) == count(set_of(got))
	others := (set_of(got) - set_of(want)) - {"/proc/asound", "/proc/interrupts", "/sys/devices/virtual/powercap"}
	masked_by_some(others)
}

# The paths that only some runtimes mask: one of each processor.
masked_by_some(paths) if paths == set()

masked_by_some(paths) if {
	paths != set()
	all_match(`/sys/devices/system/cpu/cpu[0-9]+/thermal_throttle`, [path | some path in paths])
}

# Paths of the kernel that are read-only; runtimes have /proc/asound in one of the two lists.
create contains "E_READONLY" if readonly_ok(own_or_shared(expected, "readonly"), linux.ReadonlyPaths)

# The same for those.
readonly_ok(want, got) if {
	got == []
	want == got
}

readonly_ok(want, got) if {
	count(want) > 0
	set_of(got) - {"/proc/asound"} == set_of(want)
	count(got) == count(set_of(got))
	"/proc/asound" in set_of(got) | set_of(linux.MaskedPaths)
}

# Kernel parameters are set with the pause container: those of the pod, and perhaps the defaults of the runtime.
create contains "E_SYSCTL" if {
	expected.kind != "pause"
	linux.Sysctl == {}
}

create contains "E_SYSCTL" if {
	expected.kind == "pause"
	is_object(linux.Sysctl)
	want := policy_pod.sysctls
	known := object.union(default_sysctls, want)
	every key, value in want {
		linux.Sysctl[key] == value
	}
	every key, value in linux.Sysctl {
		value == known[key]
	}
}

# What newer runtimes set unless the pod does.
default_sysctls := {
	"net.ipv4.ip_unprivileged_port_start": "0",
	"net.ipv4.ping_group_range": "0 2147483647",
}

# The host may choose limits, but no devices.
create contains "E_RESOURCES" if resources_ok(linux.Resources)

# Limits of processor and memory.
resources_ok(got) if {
	[got.Devices, got.Pids, got.BlockIO, got.Network] == [[], null, null, null]
	limits_ok("CPU", got.CPU)
	limits_ok("Memory", got.Memory)
	is_array(got.HugepageLimits)
	every limit in got.HugepageLimits {
		limits_ok("HugepageLimits", limit)
	}
}

# A message that has only numbers, switches, and lists of processors or the like.
limits_ok(message, got) if {
	members_known(message, got)
	every value in got {
		limit_ok(value)
	}
}

limits_ok(_, got) if got == null

# One of them.
limit_ok(value) if is_number(value)

limit_ok(value) if value in {true, false, ""}

limit_ok(value) if {
	is_string(value)
	value != ""
	regex.match(`^[0-9A-Za-z,-]*$`, value)
}

# The path of the control group does not lead upwards.
create contains "E_CGROUP" if {
	is_string(linux.CgroupsPath)
	not ".." in split(linux.CgroupsPath, "/")
}

#
# StartContainer, SignalProcess, ReadStream, RemoveContainer: the life of a container. A second running instance is
# denied; a restart removes the first instance before it creates the next
#

# All checks of StartContainer.
start_codes := {"E_ID", "E_INSTANCE", "E_ORDER"}

# A created container is started, once.
default StartContainerRequest := false

StartContainerRequest := {"allowed": true, "ops": ops} if {
	start == start_codes
	name := created_name(input.container_id)
	ops := [set_state(state_key("r:", input.container_id), name), set_state(state_key("s:", name), true)]
} else := false if deny("StartContainerRequest", target_label, start_codes - start, {})

# It was created, and not started before.
start contains "E_ID" if {
	created_name(input.container_id)
	not is_started(input.container_id)
}

# Those it waits for were started.
start contains "E_ORDER" if predecessors_started(container_of(input.container_id))

# No other instance of it runs.
start contains "E_INSTANCE" if count(running(created_name(input.container_id))) == 0

# All checks of UpdateContainer.
update_codes := {"E_FIELD", "E_ID", "E_RESOURCES"}

# The host may change the limits that it chose, and nothing else.
default UpdateContainerRequest := false

UpdateContainerRequest if {
	update == update_codes
} else := false if deny("UpdateContainerRequest", target_label, update_codes - update, {})

# The container exists.
update contains "E_ID" if created_name(input.container_id)

# Nothing that these rules do not know.
update contains "E_FIELD" if {
	members_known("UpdateContainerRequest", input)
	members_known("Resources", input.resources)
}

# Limits, as when the container was created.
update contains "E_RESOURCES" if {
	input.resources != null
	resources_ok(input.resources)
}

# The host may send signals to containers that exist, as it may stop the guest. Runtimes kill containers that have
# ended, init containers too, before they remove them.
default SignalProcessRequest := false

SignalProcessRequest if {
	created_name(input.container_id)
} else := false if deny("SignalProcessRequest", "?", {"E_ID"}, {})

# The host must not read the output of containers that handle secrets.
default ReadStreamRequest := false

ReadStreamRequest if {
	container_of(input.container_id).logs
} else := false if deny("ReadStreamRequest", target_label, {"E_LOGS"}, {})

# Removal is always allowed; the state forgets the container.
default RemoveContainerRequest := true

RemoveContainerRequest := {"allowed": true, "ops": ops} if {
	keys := {state_key("c:", input.container_id), state_key("r:", input.container_id)}
	ops := [{"op": "remove", "path": concat("", ["/pstate/", key])} | some key in keys; data.pstate[key]]
}

#
# ExecProcess: a process in a container that was started
#

# Only commands that the pod has as probes or hooks may be run.
default ExecProcessRequest := false

ExecProcessRequest if {
	exec == exec_codes
} else := false if deny("ExecProcessRequest", target_label, exec_codes - exec, {"E_ENV": exec_env_wrong})

# All checks of ExecProcess. The second holds for no container without such commands.
exec_codes contains code if some code in ["E_ID", "E_REFUSED"]

# The names of variables that a denial mentions.
exec_env_wrong contains "?" if not is_array(input.process.Env)

# The container was started, and the process has an id of its own.
exec contains "E_ID" if {
	is_started(input.container_id)
	id_ok(input.exec_id)
	input.exec_id != input.container_id
}

# part: raw
#
# CopyFile: agents before 2026, which do not tell the type of a file
#

# It is that of the mode.
copied_kind := kind if {
	is_raw
	naturals_ok([input.file_mode])
	some kind, bits in file_kinds
	bits.and(input.file_mode, 61440) == bits
}

# Whether the request is one of such an agent.
is_raw if is_bytes

is_raw if is_link_text

# Most of them show the bytes of the file.
is_bytes if {
	policy_copy.form == "bytes"
	object.get(input, "file_type", null) == null
	is_array(input.data)
}

# Those of guests whose layers are attached show the target of a link, and nothing else of the file.
is_link_text if {
	policy_copy.form == "link"
	object.keys(input) & {"file_type", "symlink_target", "data"} == set()
	is_string(input.symlink_src)
}

# Such a target is checked as any other.
link_ok if {
	is_link_text
	target_ok(input.symlink_src)
}

# One in bytes is not empty, begins with no slash, and has no part that leads upwards.
link_ok if {
	is_bytes
	object.get(input, "symlink_src", "") == ""
	input.data[0] > 0
	input.data[0] != 47
	not raw_parent
}

# Two dots between slashes, or at an end of the target.
raw_parent if {
	some i, byte in input.data
	byte == 46
	input.data[i + 1] == 46
	is_link_edge(i - 1)
	is_link_edge(i + 2)
}

# Whether a place is outside the target, or a slash (47).
is_link_edge(i) if i < 0

is_link_edge(i) if i >= count(input.data)

is_link_edge(i) if input.data[i] == 47
# end of part

# part: exec
#
# ExecProcess: probes and hooks
#

# The checks of a command.
exec_codes contains code if {
	some code in array.concat(process_codes, ["E_ARGS", "E_CAPS", "E_ENV", "E_FIELD", "E_LSM", "E_NNP", "E_TTY"])
}

# The container has commands.
exec contains "E_REFUSED" if count(exec_container.exec) > 0

# The expectations of the container in which the process is to run.
exec_container := container_of(input.container_id)

# The process of the request, if it is an object.
exec_process := input.process if is_object(input.process)

# The identity in the request that created the container.
created_pod := {
	"name": pinned("name"),
	"namespace": pinned("namespace"),
	"uid": pinned("uid"),
	"hostname": pinned("hostname"),
}

# The checks of every process.
exec contains code if {
	some code in process_codes
	process_ok(code, exec_container, exec_process)
}

# Nothing that these rules do not know.
exec contains "E_FIELD" if {
	members_known("ExecProcessRequest", input)
	process_members_known(exec_process)
}

# The command is one of the probes or hooks.
exec contains "E_ARGS" if {
	some command in exec_container.exec
	args_ok(command, exec_process.Args, created_pod)
}

# Every variable is expected, and none is missing.
exec contains "E_ENV" if env_faults(exec_container.env, exec_process, created_pod) == set()

# The names of variables for which that is not so.
exec_env_wrong contains name if some name in env_faults(exec_container.env, exec_process, created_pod)

# A terminal only where the container has one, and without a size.
exec contains "E_TTY" if {
	exec_process.Terminal in {false, exec_container.process.tty}
	exec_process.ConsoleSize == null
}

# The Go runtime drops the container's setting, others keep it.
exec contains "E_NNP" if exec_process.NoNewPrivileges in {false, exec_container.process.nnp}

# Null: the agent uses the capabilities of the container.
exec contains "E_CAPS" if exec_process.Capabilities == null

exec contains "E_CAPS" if {
	every kind in ["Ambient", "Bounding", "Effective", "Inheritable", "Permitted"] {
		exec_process.Capabilities[kind] == []
	}
}

# No label or profile for the process.
exec contains "E_LSM" if [exec_process.SelinuxLabel, exec_process.ApparmorProfile] == ["", ""]
# end of part

# part: pulls
#
# CreateContainer: images that the guest pulls
#

# The images that the guest is to pull.
pulls := found if {
	not policy_paths.layers
	found := [storage | some i, storage in storages; is_of_image(i, storage)]
}

# One image for each container.
create contains "E_IMG_COUNT" if count(pulls) == 1

# By digest, so that the registry cannot substitute another image.
create contains "E_IMG_REF" if {
	every pull in pulls {
		pull.source in expected.image
	}
}

# The image is mounted where the root file system is expected.
create contains "E_IMG_MOUNT" if {
	every pull in pulls {
		pull.mount_point == root_path
	}
}

# The image is pulled and mounted without options that change its meaning.
create contains "E_IMG_OPTS" if {
	every pull in pulls {
		[pull.fstype, pull.options, pull.fs_group, object.get(pull, "shared", false)] == ["overlay", [], null, false]
		pull_options_ok(pull.driver_options)
	}
}

# Agents that need no metadata get none.
pull_options_ok(options) if options == []

# A JSON text, checked as text: its only member is metadata, in which the runtime repeats all annotations of the
# container. The agent reads from it whether this is the sandbox. Quotes in values are escaped, so the separators are
# unique; keys of annotations have none.
pull_options_ok(options) if {
	options == [options[0]]
	is_string(options[0])
	startswith(options[0], pull_prefix)
	endswith(options[0], `"}}`)
	members := split(trim_suffix(trim_prefix(options[0], pull_prefix), `"}}`), `","`)
	count(members) == count(set_of(members))
	repeated := {concat(`":"`, [key, json_text(value)]) | some key, value in annotations}
	repeated - set_of(members) == set()
	every member in set_of(members) - repeated {
		regex.match(snapshot_member, member)
	}
}

# How that text begins.
pull_prefix := `image_guest_pull={"metadata":{"`

# What a snapshotter of the host adds; the agent does not read it.
snapshot_member := `^containerd\.io/snapshot[A-Za-z0-9./_-]*":"[A-Za-z0-9./_:@,+-]*$`

# A text as the runtime writes it in JSON.
json_text(text) := replace(replace(replace(lines, "<", `\u003c`), ">", `\u003e`), "&", `\u0026`) if {
	is_string(text)
	quotes := replace(replace(text, `\`, `\\`), `"`, `\"`)
	lines := replace(replace(replace(quotes, "\n", `\n`), "\r", `\r`), "\t", `\t`)
}
# end of part

# part: layers
#
# Guests whose node attaches the layers of images, and the two generations of their agents
#

# The message, which these agents wrap to create a container. No message has a member of that name itself.
asked := input.base if {
	policy_paths.layers
	is_object(input.base.OCI)
	object.keys(input) == {"base", "env_map"}
}

# The older generation knows no ports,
process_ok("E_STDIO", _, _) if {
	policy_paths.layers
	{"stdin_port", "stdout_port", "stderr_port"} & object.keys(asked) == set()
}

# and has another name for the path of a device.
device_path_ok(got) if {
	policy_paths.layers
	object.keys(got) & {"devicePath", "pciPath"} == {"pciPath"}
	got.pciPath == ""
}

# Neither knows the size of packets on a route.
route_mtu_ok(got) if {
	policy_paths.layers
	not "mtu" in object.keys(got)
}

# The layers of the image, the top one first, each with its name and root hash; undefined where the guest pulls.
layers := expected.layers if policy_paths.layers

# Their storages and the overlay of them come first.
is_of_image(i, _) if i <= count(layers)

# A storage for each layer and one for the overlay.
create contains "E_IMG_COUNT" if {
	count(storages) > count(layers)
	every storage in storages {
		not storage.driver == "image_guest_pull"
	}
}

# Each layer in its place, with the root hash against which the guest checks what it reads, on a disk of its own.
create contains "E_IMG_REF" if {
	every i, layer in layers {
		storage_members(storages[i]) == ["blk", "tar", layer_options(layer), layer_path(layer)]
		regex.match(`^000[1-9]:00:[01][0-9a-f]\.0$`, text_of(storages[i].source))
	}
	count({storages[i].source | some i, _ in layers}) == count(layers)
}

# The overlay is mounted where the root file system is expected.
create contains "E_IMG_MOUNT" if {
	storages[count(layers)].mount_point == root_path
}

# It has the layers in their order, and nothing else.
create contains "E_IMG_OPTS" if {
	overlay := storages[count(layers)]
	overlay.source == "none"
	storage_members(overlay) == ["overlayfs", "fuse3.kata-overlay", overlay.options, overlay.mount_point]
	folder := text_of(overlay.options[0])
	overlay.options == array.concat([folder], overlay_options)
	startswith(folder, layer_folder_option)
	regex.match(policy_paths.layers, trim_prefix(folder, layer_folder_option))
}

# The members of a storage that say what is mounted where, if the others are unset.
storage_members(storage) := [storage.driver, storage.fstype, storage.options, storage.mount_point] if {
	[storage.driver_options, storage.fs_group, object.get(storage, "shared", false)] == [[], null, false]
}

# The option with the folder of the layers on the node, which has no effect in the guest.
layer_folder_option := "io.katacontainers.fs-opt.layer-src-prefix="

# The options of a layer's storage.
layer_options(layer) := [
	"ro",
	"io.katacontainers.fs-opt.block_device=file",
	"io.katacontainers.fs-opt.is-layer",
	concat("", ["io.katacontainers.fs-opt.root-hash=", layer[1]]),
]

# Where the guest mounts a layer.
layer_path(layer) := concat("", ["/run/kata-containers/sandbox/layers/", layer[0]])

# The options of the overlay behind the first: its layers, that it is writable, and their names again.
overlay_options := array.concat(
	[option |
		some layer in layers
		described := base64.encode(concat(",", array.concat([layer[0], "tar"], layer_options(layer))))
		option := concat("", ["io.katacontainers.fs-opt.layer=", described])
	],
	[
		"io.katacontainers.fs-opt.overlay-rw",
		concat("", ["lowerdir=", concat(":", [layer[0] | some layer in layers])]),
	],
)
# end of part

# part: disks
#
# CreateContainer: empty disks on which the guest encrypts volumes
#

# The place of a disk; the storages say of which one.
source_ok("block", want, got) if got in block_places(want)

# An empty disk, which the guest encrypts with a key of its own. The mounts of its volume, and no others, lead to it.
storage_ok(want, got) if {
	want.kind == "block"
	disk_ok(state_key("v:", want.volume), got.source)
	[got.options, got.driver_options, got.fs_group] == [want.options, block_options, want.fs_group]
	[got.fstype, got.shared] == ["ext4", true]
	regex.match(block_sources[got.driver], text_of(got.source))
	block_places(want.volume) == {got.mount_point}
	regex.match(`^/run/kata-containers/sandbox/storage/[A-Za-z0-9_-]+=*$`, text_of(got.mount_point))
}

# What makes the guest encrypt and format a disk.
block_options := ["encryption_key=ephemeral", "create_filesystem"]

# The addresses of disks, by the driver that finds them.
block_sources := {"scsi": "^[0-9]+:[0-9]+$", "blk": "^[0-9a-f][0-9a-f](/[0-9a-f][0-9a-f])*$"}

# The places to which the mounts of a volume lead.
block_places(volume) := {got.source |
	some got in mounts
	expected_mounts[mount_destination(got)].src == {"kind": "block", "arg": volume}
}

# The disks of the volumes: a volume has the same disk in all containers.
disks contains [state_key("v:", want.volume), storage.source] if {
	some want in expected.storages
	want.kind == "block"
	some storage in volume_storages
	storage.mount_point in block_places(want.volume)
}

# They are kept.
kept contains disk if some disk in disks

# Those of the request and those that were kept.
used_disks := disks | {[key, value] | some key, value in data.pstate; startswith(key, "v:")}

# A volume has one disk, and a disk is of one volume.
disk_ok(volume, source) if {
	{disk[1] | some disk in used_disks; disk[0] == volume} == {source}
	{disk[0] | some disk in used_disks; disk[1] == source} == {volume}
}
# end of part

# part: devices
#
# CreateContainer: block devices and passed-through GPUs
#

# Block devices of volumes, at the paths that the pod specifies.
create contains "E_DEVICE" if {
	is_array(asked.devices)
	is_array(linux.Devices)
	gpus_ok
	block := [device | some device in asked.devices; not is_gpu(device)]
	every device in block {
		device.type_ in {"blk", "scsi"}
		[device.options, device.vm_path] == [[], ""]
		regex.match(`^[0-9A-Za-z:/._-]*$`, text_of(device.id))
	}
	count(block) == count(expected.devices)
	{device.container_path | some device in block} == set_of(expected.devices)
	every device in linux.Devices {
		device_node_ok(device)
	}
	set_of(expected.devices) - {device.Path | some device in linux.Devices} == set()
	count({device.Path | some device in linux.Devices}) == count(linux.Devices)
}

# A node of an expected block device, or of a passed-through GPU.
device_node_ok(device) if {
	device.Path in expected.devices
	device.Type == "b"
	device_numbers_ok(device)
}

device_node_ok(device) if {
	device.Type == "c"
	device_numbers_ok(device)
	some gpu in gpus
	gpu.container_path == device.Path
}

# The numbers of the host's device; the guest puts in its own.
device_numbers_ok(device) if naturals_ok([device.Major, device.Minor, device.FileMode, device.UID, device.GID])

# Passed-through GPUs: each has an annotation with its number, and a device unless the guest was started with it.
gpus_ok if {
	[count(gpu_marks), count({value | some _, value in gpu_marks})] == [expected.gpus, expected.gpus]
	count(gpus) in {0, expected.gpus}
	every gpu in gpus {
		gpu_ok(gpu, trim_prefix(gpu.container_path, gpu_path))
	}
	count({gpu.container_path | some gpu in gpus}) == count(gpus)
}

# Where the guest has passed-through devices.
gpu_path := "/dev/vfio/devices/vfio"

# Whether a device is passed through.
is_gpu(device) if {
	is_string(device.container_path)
	startswith(device.container_path, gpu_path)
}

# The passed-through devices of the request.
gpus := [device | some device in asked.devices; is_gpu(device)]

# The annotations that announce them, by number.
gpu_marks := {trim_prefix(key, "cdi.k8s.io/vfio"): value |
	some key, value in annotations
	startswith(key, "cdi.k8s.io/vfio")
}

# A device that is announced, with addresses of host and guest as its only options.
gpu_ok(gpu, number) if {
	gpu_marks[number]
	[gpu.type_, gpu.vm_path, gpu.id] == ["vfio-pci-gk", "", concat("", ["vfio", number])]
	is_array(gpu.options)
	count(gpu.options) > 0
	every option in gpu.options {
		is_string(option)
		regex.match(gpu_option, option)
	}
}

# A PCI address of the host and one of the guest.
gpu_option := `^[0-9A-Fa-f]{4}:[0-9A-Fa-f]{2}:[0-9A-Fa-f]{2}\.[0-7]=[0-9A-Fa-f]{2}/[0-9A-Fa-f]{2}$`

# The annotations of GPUs; their number is checked with the devices.
annotation_ok(key, value) if {
	expected.gpus > 0
	regex.match(`^cdi\.k8s\.io/vfio[0-9]+$`, key)
	regex.match(`^nvidia\.com/gpu=[0-9]+$`, value)
}
# end of part
