#!/bin/busybox sh
# The virtual machine's first process: builds its root out of the host's, and starts guest.sh there.
set -e
/bin/busybox --install -s /bin
mkdir -p /proc /host /memory /root
mount -t proc none /proc
modprobe -a virtio_pci 9pnet_virtio 9p overlay
over_9p=trans=virtio,version=9p2000.L,msize=512000
mount -t 9p -o "$over_9p,cache=loose,ro" host /host
mount -t tmpfs none /memory
mkdir /memory/upper /memory/work
mount -t overlay -o lowerdir=/host,upperdir=/memory/upper,workdir=/memory/work none /root
mount -t proc none /root/proc
mount -t sysfs none /root/sys
mount -t devtmpfs none /root/dev
mkdir -p /root/dev/shm
mount -t tmpfs none /root/dev/shm
mount -t tmpfs none /root/run
mount -t cgroup2 -o nsdelegate,memory_recursiveprot none /root/sys/fs/cgroup
mkdir /root/run/shared
mount -t 9p -o "$over_9p" shared /root/run/shared
ip link set lo up
exec switch_root /root /bin/bash /run/shared/guest.sh
