#!/bin/sh
# Stands in runc's place: keeps each config.json, lets a process that waits stand for the sandbox, and refuses every
# other container once it is recorded.
here=$(dirname "$0")
verb='' bundle='' pid_file='' id=''
all="$*"
while [ $# -gt 0 ]; do
    case "$1" in
    create | start | state | kill | delete | ps | update | features | --version) verb=${verb:-$1} ;;
    --bundle) bundle=$2 && shift ;;
    --pid-file) pid_file=$2 && shift ;;
    --root | --log | --log-format | --console-socket | --process) shift ;;
    -*) ;;
    *) id=${id:-$1} ;;
    esac
    shift
done
case "$verb" in
create)
    cp "$bundle/config.json" "$here/records/$id.json"
    grep -q '"io.kubernetes.cri.container-type":"sandbox"' "$bundle/config.json" || exit 1
    setsid sleep infinity </dev/null >/dev/null 2>&1 &
    printf %s $! | tee "$here/records/$id.pid" >"$pid_file"
    ;;
kill | delete) [ -f "$here/records/$id.pid" ] && kill -9 "$(cat "$here/records/$id.pid")" 2>/dev/null ;;
state) printf '{"ociVersion":"1.0.2","id":"%s","pid":%s,"status":"running","bundle":""}' "$id" "$(cat "$here/records/$id.pid")" ;;
ps) printf '[]' ;;
start | update) ;;
*) exec runc $all ;;
esac
exit 0
