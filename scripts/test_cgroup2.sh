#!/usr/bin/env bash
# Runs the sandbox's tests on version 2 of control groups, whatever version this machine has: in a virtual machine with
# Debian's kernel, whose root is this machine's, read-only, below a layer in memory. Nothing of it is left on the host
# but the kernel in .cache.
#
#   scripts/test_cgroup2.sh               emulated, so that it runs wherever QEMU does
#   ACCEL=kvm scripts/test_cgroup2.sh     where /dev/kvm really works
#   scripts/test_cgroup2.sh TEST...       arguments go to pytest, inside, instead of its own choice
#   VM_SECONDS=5400 ...                   when to give up; half an hour without
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

. scripts/setup_env.sh
install_sandbox
install_program qemu-system-x86_64 "it runs the kernel that the sandbox is tested on" qemu-system-x86
[ -n "${VIRTUAL_ENV:-}" ] || setup_env dev

# fetch_kernel FOLDER: a kernel with its modules for 9p, and busybox to start it with, as Debian packages have them.
fetch_kernel() {
  local folder="$1" image
  image="$(apt-cache depends linux-image-amd64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)"
  if [ -z "$image" ]; then
    echo "apt-get offers no linux-image-amd64: the virtual machine needs a Debian on x86-64" >&2
    return 1
  fi
  echo "Fetching $image ..."
  rm -rf "$folder.part"
  mkdir -p "$folder.part/packages"
  (cd "$folder.part/packages" && apt-get download -qq "$image" busybox-static 2>/dev/null)
  for package in "$folder.part/packages"/*.deb; do
    dpkg -x "$package" "$folder.part/all"
  done
  (
    cd "$folder.part"
    mkdir -p initramfs/bin
    mv all/boot/vmlinuz-* vmlinuz
    mv all/bin/busybox initramfs/bin/
    find all/lib/modules -name '*.ko.xz' -exec xz -d {} +
    (cd all && find lib/modules -regex '.*/\(virtio\|9p\|fscache\|netfs\|overlayfs\)/.*' -name '*.ko') |
      tar -c -C all -T - | tar -x -C initramfs
    initramfs/bin/busybox depmod -b "$PWD/initramfs" "$(ls initramfs/lib/modules)"
    rm -r all packages
  )
  mv "$folder.part" "$folder"
}

kernel="$PWD/.cache/cgroup2"
[ -d "$kernel" ] || fetch_kernel "$kernel"

shared="$(mktemp -d)"  # the one folder that both machines write
chmod 755 "$shared"  # an ordinary user reads there too
trap 'rm -rf "$shared"' EXIT
mkdir "$shared/initramfs"
cp -r "$kernel/initramfs/." "$shared/initramfs"
install -m 755 scripts/cgroup2/init.sh "$shared/initramfs/init"
(cd "$shared/initramfs" && find . | bin/busybox cpio -o -H newc 2>/dev/null) >"$shared/initramfs.cpio"
cp scripts/cgroup2/guest.sh "$shared"
# Compiled here what is imported there: emulated, that would be most of the work.
(
  export PYTHONDONTWRITEBYTECODE="" PYTHONPYCACHEPREFIX="$shared/compiled" PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
  python -m pytest -q --collect-only -p no:cacheprovider --confcutdir=tests/envs/red_team \
    tests/envs/sandbox tests/envs/red_team >/dev/null
  python -m agentrl.envs.sandbox --help >/dev/null
)
arguments=("$@")
declare -p VIRTUAL_ENV PWD arguments >"$shared/settings"

# Emulated, its clock counts instructions, a thousand million in two seconds: limits in seconds mean the same on a busy host.
accel=(-accel tcg -icount shift=1)
[ -z "${ACCEL:-}" ] || accel=(-accel "$ACCEL" -smp 2)
timeout --kill-after=5 "${VM_SECONDS:-1800}" qemu-system-x86_64 "${accel[@]}" -cpu max -m 2048 \
  -nodefaults -no-reboot -display none -monitor none -serial stdio \
  -kernel "$kernel/vmlinuz" -initrd "$shared/initramfs.cpio" -append "console=ttyS0 loglevel=1 panic=-1" \
  -virtfs local,path=/,mount_tag=host,security_model=none,multidevs=remap,readonly=on \
  -virtfs local,path="$shared",mount_tag=shared,security_model=none </dev/null ||
  { echo "the virtual machine did not end by itself within ${VM_SECONDS:-1800} s" >&2; exit 1; }

if [ "$(cat "$shared/status" 2>/dev/null)" != 0 ]; then
  echo "The sandbox's tests on version 2 of control groups failed." >&2
  exit 1
fi
echo "The sandbox's tests on version 2 of control groups passed."
