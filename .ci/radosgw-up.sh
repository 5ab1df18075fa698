#!/usr/bin/env bash
# Starts Ceph on the loopback interface for tests: one monitor, one OSD with its objects in memory, and radosgw.
# Usage: radosgw-up.sh DIR   Listens on 127.0.0.1:${RGW_PORT:-7480}. Users: admin, alice and bob with ADMINKEY:ADMINSECRET
# and so on.
# ${OSD_BYTES:-4294967296} is what it holds. Debian packages: radosgw ceph-osd ceph-mon curl
set -eu
dir=${1:?usage: radosgw-up.sh DIR}
port=${RGW_PORT:-7480}
monitor=${MON_PORT:-6789}
mkdir -p "$dir"/{mon,osd,run,log,rgw}
export CEPH_CONF=$dir/ceph.conf
fsid=$(cat /proc/sys/kernel/random/uuid)
osd=$(cat /proc/sys/kernel/random/uuid)

cat >"$CEPH_CONF" <<EOF
[global]
fsid = $fsid
mon_initial_members = a
mon_host = [v2:127.0.0.1:$((monitor + 10)),v1:127.0.0.1:$monitor]
public_network = 127.0.0.0/8
cluster_network = 127.0.0.0/8
public_addr = 127.0.0.1
ms_bind_ipv6 = false
keyring = $dir/keyring
auth_allow_insecure_global_id_reclaim = false
run_dir = $dir/run
admin_socket = $dir/run/\$name.asok
pid_file = $dir/run/\$name.pid
log_file = $dir/log/\$name.log
crash_dir = $dir/run
osd_pool_default_size = 1
osd_pool_default_min_size = 1
osd_pool_default_pg_num = 8
osd_pool_default_pg_autoscale_mode = off
osd_crush_chooseleaf_type = 0
mon_allow_pool_size_one = true
mon_max_pg_per_osd = 1000
mon_data_avail_crit = 1
mon_data_avail_warn = 2
[mon]
mon_data = $dir/mon
paxos_propose_interval = 0.05
paxos_min_wait = 0.02
[osd]
osd_data = $dir/osd
osd_objectstore = memstore
memstore_device_bytes = ${OSD_BYTES:-4294967296}
[client.rgw]
rgw_data = $dir/rgw
rgw_frontends = beast endpoint=127.0.0.1:$port tcp_nodelay=1
rgw_dns_name = localhost
rgw_gc_obj_min_wait = 1
rgw_gc_processor_period = 2
EOF

keys() { ceph-authtool "$dir/keyring" "$@" >/dev/null; }
monmaptool --create --clobber --fsid "$fsid" --addv a "[v2:127.0.0.1:$((monitor + 10)),v1:127.0.0.1:$monitor]" "$dir/monmap" >/dev/null
keys --create-keyring --gen-key -n mon. --cap mon 'allow *'
keys --gen-key -n client.admin --cap mon 'allow *' --cap osd 'allow *' --cap mgr 'allow *'
keys --gen-key -n osd.0 --cap mon 'allow profile osd' --cap osd 'allow *'
keys --gen-key -n client.rgw --cap mon 'allow rw' --cap osd 'allow rwx'

ceph-mon --mkfs -i a --monmap "$dir/monmap" --keyring "$dir/keyring"
ceph-mon -i a
ceph --connect-timeout 20 osd new "$osd" >/dev/null
ceph-osd -i 0 --mkfs --osd-uuid "$osd" >"$dir/log/osd-mkfs.txt" 2>&1
ceph-osd -i 0 >"$dir/log/osd-start.txt" 2>&1
timeout 60 sh -c 'until ceph osd stat 2>/dev/null | grep -q "1 up"; do sleep 0.2; done'
radosgw -n client.rgw
timeout 60 sh -c "until curl -s -o /dev/null http://127.0.0.1:$port/; do sleep 0.2; done"
for user in admin alice bob; do
  radosgw-admin --admin-socket= -n client.rgw user create --uid="$user" --display-name="$user" \
    --access-key="${user^^}KEY" --secret="${user^^}SECRET" >/dev/null
done
