#!/bin/bash
# Process 1 of the virtual machine once it has its root: makes control groups as systemd does, and runs tests in them.
set -euo pipefail
echo "Up after $(cut -d ' ' -f 1 /proc/uptime) s: $(uname -sr)"

end() {
  echo "$1" >/run/shared/status
  sync
  echo b >/proc/sysrq-trigger # QEMU ends where the machine would start again
  sleep 60
}
trap 'end $?' EXIT

. /run/shared/settings
cd "$PWD"
. "$VIRTUAL_ENV/bin/activate"
mkdir -m 1777 /run/tmp
export PATH="$PATH:/usr/sbin:/usr/bin:/sbin:/bin" HOME=/run/tmp TMPDIR=/run/tmp COLUMNS=140
export PYTHONPYCACHEPREFIX=/run/shared/compiled PYTHONDONTWRITEBYTECODE=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1

# An ordinary user must get to the interpreter, which may lie in root's home, and to the checkout.
user=1000
python -c 'import os, pathlib, sys
for name in (os.getcwd(), sys.executable, sys.base_prefix, *sys.path[1:]):
  for folder in pathlib.Path(os.path.realpath(name)).parents:
    if folder.stat().st_mode & 0o5 != 0o5:
      folder.chmod(folder.stat().st_mode | 0o5)'

groups=/sys/fs/cgroup
mkdir -p "$groups/service/leaf"
for group in "$groups" "$groups/service"; do
  echo "+cpu +memory +pids" >"$group/cgroup.subtree_control"
done

# inside GROUP UID COMMAND...: runs the command in a group, as a user.
inside() {
  local group="$1" uid="$2"
  shift 2
  (
    echo "$BASHPID" >"$groups/$group/cgroup.procs"
    exec setpriv --reuid="$uid" --regid="$uid" --clear-groups "$@"
  )
}

failed=0
# check GROUP UID TOLD TESTS...: in a group, as a user, that the layer which needs groups is told as TOLD; then the tests.
check() {
  local group="$1" uid="$2" told="$3" layers
  shift 3
  layers="$(inside "$group" "$uid" python -m agentrl.envs.sandbox)" || failed=1
  echo "$layers"
  if ! grep -q "^│ tree_memory_capped *│ $told *│ $told" <<<"$layers"; then
    echo "tree_memory_capped should be told as: $told"
    failed=1
  fi
  if [ $# -gt 0 ]; then
    inside "$group" "$uid" python -m pytest -v --color=no --tb=short --durations=10 -p no:cacheprovider --confcutdir=tests/envs/red_team -rs "$@" || failed=1
  fi
}

# Where much is emulated little can be run: what only a kernel of version 2 can answer, and a hog of the red team.
long=(tests/envs/sandbox/test_cgroup2.py tests/envs/sandbox/test_guest.py tests/envs/red_team/test_floods.py
  -k "test_cgroup2 or alone_is_in_the_group or is_light or (looks_small and shared)")
short=(tests/envs/sandbox/test_cgroup2.py -k "policy_is_told or outlives or leaves_it_empty")
[ ${#arguments[@]} = 0 ] || short=("${arguments[@]}") long=("${arguments[@]}")

echo "== root, in the root group"
check / 0 holds "${long[@]}"
echo "== root, in a group that cannot have groups with controllers: they are made beside it"
check service/leaf 0 holds
echo "== a user to whom these groups are delegated"
chown -R "$user:$user" "$groups/service"
check service/leaf "$user" holds "${short[@]}"
echo "== a user to whom none are delegated"
check / "$user" "not available here"
exit "$failed"
