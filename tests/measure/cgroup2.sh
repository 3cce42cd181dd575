#!/usr/bin/env bash
# Starts a farm in a virtual machine whose system has control groups of version 2 alone, and shows how each kind of slave
# ends what hits a limit.
#
#   tests/measure/cgroup2.sh KERNEL [PROGRAM]
#
# KERNEL is an image with cgroup 2 and namespaces built in, such as the vmlinuz of Debian's linux-image-cloud-amd64;
# PROGRAM is by default that of the release build. It needs qemu-system-x86, busybox-static, setpriv, cpio and a C compiler. It
# takes minutes; ACCELERATOR=kvm is quicker where that works, and LIMIT says after how many seconds it is given up. All it makes is in a temporary directory, and goes at the end.
#
# Printed is, for a slave that is root (levels limits and user, with run_as) and for one that has but a group of its
# own, as by systemd's Delegate=yes: the end of a build that needs too much memory, of one that starts too many processes,
# and of one that leaves a daemon; and how many processes of the last are left.
set -euo pipefail

kernel=$1
here=$(cd "$(dirname "$0")/../.." && pwd)
program=${2:-$here/target/release/clusterrunner}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
root=$work/root

mkdir -p "$root"/{bin,dev,etc,lib,lib64,proc,project,root,run,sys,tmp,usr,var/tmp,home/ci}
cp /bin/busybox "$root/bin/busybox"
cp "$program" "$root/bin/clusterrunner"
strip "$root/bin/clusterrunner"
cc -static -O1 "$here/tests/cluster/isolation/table/canary.c" -o "$root/project/canary"
cp "$(command -v setpriv)" "$root/bin/setuser"
for library in $(ldd "$program" "$root/bin/setuser" | grep -v ':$' | grep -o '/[^ ]*'); do
    mkdir -p "$root$(dirname "$library")"
    cp -L "$library" "$root$library"
done
printf 'root:x:0:0::/root:/bin/sh\nci:x:1000:1000::/home/ci:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n' > "$root/etc/passwd"
printf 'root:x:0:\nci:x:1000:\nnogroup:x:65534:\n' > "$root/etc/group"
echo '127.0.0.1 localhost vm' > "$root/etc/hosts"
cat > "$root/project/clusterrunner.yaml" <<'JOBS'
memory:
  commands: ['/project/canary memory 200; exit 3']
  atomizers: [{N: 'echo 1'}]
  memory: 64 MiB
processes:
  commands: ['/project/canary processes 80; exit 3']
  atomizers: [{N: 'echo 1'}]
  pids: 40
enough:
  commands: ['/project/canary memory 20; /project/canary processes 8; id -u']
  atomizers: [{N: 'echo 1'}]
  memory: 64 MiB
  pids: 40
daemon:
  commands: ['(setsid env -i sleep 98765 < /dev/null > /dev/null 2>&1 &)']
  atomizers: [{N: 'echo 1'}]
JOBS

cat > "$root/farm" <<'FARM'
#!/bin/busybox sh
# farm NAME SETTINGS: one slave with these settings; a build of each job. $AS starts the slave.
export HOME=/tmp/$1
mkdir -p $HOME/.clusterrunner
conf=$HOME/.clusterrunner/clusterrunner.conf
printf '[general]\nsecret = 9f8e7d6c5b4a39281706f5e4d3c2b1a0\nlog_level = ERROR\n[master]\nport = 43000\n[slave]\nport = 43001\n%b' "$2" > $conf
chmod 600 $conf
[ -z "$AS" ] || chown -R ci:ci $HOME
echo "== $1"
$AS clusterrunner master > $HOME/master.log 2>&1 &
master=$!
$ENTER $AS clusterrunner slave --master-url localhost:43000 > $HOME/slave.log 2>&1 &
slave=$!
for job in memory processes enough daemon; do
    echo "-- $job"
    clusterrunner build directory --master-url localhost:43000 --project-directory /project --job-name $job --no-results 2>&1 | tail -n 12
done
sleep 3
echo "left of the daemon: $(grep -l '9876[5]' /proc/[0-9]*/cmdline | wc -l)"
echo "groups left: $(find /sys/fs/cgroup -name 'clusterrunner-atoms*' | wc -l)"
kill $slave $master; wait $slave $master
tail -n 5 $HOME/slave.log
FARM

cat > "$root/delegated" <<'DELEGATED'
#!/bin/busybox sh
# Runs a command in a group that belongs to the user ci, as systemd starts a unit with Delegate=yes.
echo $$ > "$UNIT/cgroup.procs"
exec "$@"
DELEGATED

cat > "$root/init" <<'INIT'
#!/bin/busybox sh
/bin/busybox --install -s /bin
export PATH=/bin HOME=/root
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
mkdir -p /dev/shm; mount -t tmpfs shm /dev/shm; mount -t tmpfs tmp /tmp; chmod 1777 /tmp /var/tmp
ln -s /proc/self/fd /dev/fd
mount -t cgroup2 cgroup /sys/fs/cgroup
ifconfig lo up; hostname vm; chmod -R a+rwX /project
echo "Linux $(uname -r); $(cat /sys/fs/cgroup/cgroup.controllers)"
/farm root-limits 'isolation = limits\n'
/farm root-user 'isolation = user\nrun_as = nobody\n'
echo '+memory +pids +cpu' > /sys/fs/cgroup/cgroup.subtree_control
for level in limits user; do
    export UNIT=/sys/fs/cgroup/unit-$level
    mkdir $UNIT
    chown ci $UNIT $UNIT/cgroup.procs $UNIT/cgroup.subtree_control
    AS='setuser --reuid=ci --regid=ci --clear-groups' ENTER=/delegated /farm delegated-$level "isolation = $level\n"
done
echo END
poweroff -f
INIT
chmod +x "$root/init" "$root/farm" "$root/delegated"
# Without root for the archive, what is in it belongs to whoever starts this: the kernel takes the numbers as they are.
(cd "$root" && find . | cpio --quiet -o -H newc -R 0:0 | gzip -1) > "$work/initrd"
timeout "${LIMIT:-3000}" qemu-system-x86_64 -accel "${ACCELERATOR:-tcg}" -cpu max -smp 1 -m 2048 -nographic -nic none -no-reboot \
    -kernel "$kernel" -initrd "$work/initrd" -append 'console=ttyS0 quiet loglevel=1 panic=-1 rdinit=/init' < /dev/null
