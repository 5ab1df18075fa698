#!/usr/bin/env bash
# Ends what radosgw-up.sh started, by the pids that it left. Usage: radosgw-down.sh DIR
set -u
dir=${1:?usage: radosgw-down.sh DIR}
for name in client.rgw osd.0 mon.a; do
  pid=$(cat "$dir/run/$name.pid" 2>/dev/null) || continue
  kill "$pid" 2>/dev/null
  timeout 20 tail --pid="$pid" -f /dev/null
done
rm -rf "$dir"
