"""Attempts to reach what is outside of a guest: networks, files, descriptors."""

import pytest

from tests.envs.red_team.conftest import AWAY, EPERM, READ_ONLY, SECRET, Attempt

ATTEMPTS = {
  # ---- network
  "tcp": Attempt("attempt(socket.create_connection, ('127.0.0.1', HOST['tcp']), 1)", EPERM, "^did"),
  "udp": Attempt("attempt(lambda: socket.socket(type=2).sendto(b'x', ('127.0.0.1', HOST['udp'])))", EPERM, "^did 1"),
  "listen": Attempt("attempt(socket.create_server, ('127.0.0.1', 0))", EPERM, "^did"),
  "unix socket": Attempt("attempt(lambda: socket.socket(socket.AF_UNIX).connect(HOST['unix']))", EPERM, "^did"),
  "abstract socket": Attempt("attempt(lambda: socket.socket(socket.AF_UNIX).connect(HOST['abstract']))", EPERM, "^did"),
  "netlink": Attempt("attempt(socket.socket, socket.AF_NETLINK, socket.SOCK_RAW, 0)", EPERM, "^did"),
  "packets": Attempt("attempt(socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 0)", EPERM, "^did", root=True),
  "names": Attempt("attempt(socket.getaddrinfo, 'example.com', 80)", r"^refused (-\d+|EPERM)$"),
  "vsock": Attempt("attempt(socket.socket, 40, socket.SOCK_STREAM)", EPERM),
  "datagram pair": Attempt(
    "attempt(lambda: socket.socketpair(type=socket.SOCK_DGRAM)[0].sendto(b'x', HOST['datagrams']))", EPERM, "^did 1"
  ),
  "datagram pair that does not wait": Attempt(
    "attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)", EPERM, "^did"
  ),
  "packet pair": Attempt("attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_SEQPACKET)", EPERM, "^did"),
  "raw pair": Attempt("attempt(socket.socketpair, socket.AF_UNIX, socket.SOCK_RAW)", EPERM, "^did"),
  "pair of another family": Attempt("attempt(socket.socketpair, 30)", EPERM),
  "stream pair, connected elsewhere": Attempt(
    "attempt(socket.socketpair()[0].connect, HOST['unix'])", EPERM, "^refused EISCONN$"
  ),
  "stream pair, bound": Attempt("attempt(socket.socketpair()[0].bind, WORK + '/bound')", EPERM, "^did"),
  "stream pair, sent elsewhere": Attempt(
    "attempt(lambda: socket.socketpair()[0].sendto(b'x', HOST['unix']))", "^refused (EISCONN|EOPNOTSUPP)$"
  ),
  # ---- reading
  "/etc/passwd": Attempt("attempt(read, '/etc/passwd')", AWAY, "^did"),
  "/etc/shadow": Attempt("attempt(read, '/etc/shadow')", AWAY, "^did", root=True),
  "home": Attempt("attempt(os.listdir, HOST['home'])", AWAY, "^did"),
  "host file": Attempt("attempt(read, HOST['secret'])", AWAY, f"^did b'{SECRET}"),
  "host file, upwards": Attempt("attempt(read, '/tmp/../..' + HOST['secret'])", AWAY, f"^did b'{SECRET}"),
  "our environment": Attempt("attempt(lambda: os.stat('/' if 'AGENTRL_SECRET' in os.environ else '/-'))", AWAY, "^did"),
  "other's environment": Attempt("attempt(read, '/proc/%d/environ' % HOST['victim'])", AWAY, "^did"),
  "processes": Attempt("attempt(os.listdir, '/proc')", AWAY, "^did"),
  "/proc/1/root": Attempt("attempt(read, '/proc/%d/root/etc/passwd' % HOST['victim'])", AWAY, "^did"),
  "/proc/self/exe": Attempt("attempt(open, '/proc/self/exe', 'rb')", AWAY, "^did"),
  "/sys": Attempt("attempt(os.listdir, '/sys')", AWAY, "^did"),
  "kernel messages": Attempt("attempt(open, '/dev/kmsg', 'rb')", AWAY),
  "kernel messages, by call": Attempt("call(libc.klogctl, 10, None, 0)", EPERM, "^did", root=True),
  "mounts, by call": Attempt("system_call(458, 458, 0, 0, 0, 0)", EPERM),
  "terminal": Attempt("attempt(open, '/dev/tty', 'r+b', 0)", r"^refused (ENXIO|EACCES|ENOENT)$"),
  "inherited descriptors": Attempt(
    """
found = []
for fd in range(64):
  try:
    found.append(os.pread(fd, 100, 0))
  except OSError:
    pass
print("did" if HOST['content'].encode() in b"".join(found) else "refused", len(found))
""",
    r"^refused \d",
    "^did",
  ),
  # ---- writing
  "host folder": Attempt("attempt(write, HOST['folder'] + '/written')", AWAY, "^did"),
  "/usr": Attempt("attempt(write, '/usr/written')", READ_ONLY),
  "interpreter": Attempt("attempt(write, '/usr/bin/python3')", READ_ONLY),
  "library": Attempt("attempt(os.remove, os.__file__)", READ_ONLY),
  "preload": Attempt("attempt(write, '/etc/ld.so.preload')", READ_ONLY),
  "shared memory": Attempt("attempt(write, '/dev/shm/agentrl_red_team')", READ_ONLY),
  "root folder": Attempt("attempt(os.mkdir, '/made')", READ_ONLY),
  "own memory by /proc": Attempt("attempt(open, '/proc/self/mem', 'r+b')", AWAY, "^did"),
  "kernel settings": Attempt("attempt(open, '/proc/sys/kernel/hostname', 'r+')", AWAY, "^did", root=True),
  "memory pressure score": Attempt("attempt(open, '/proc/self/oom_score_adj', 'r+')", AWAY, "^did"),
  "control groups": Attempt("attempt(os.listdir, '/sys/fs/cgroup')", AWAY),
  "symlink": Attempt(
    "os.symlink(HOST['secret'], WORK + '/link'); attempt(read, WORK + '/link')", AWAY, f"^did b'{SECRET}"
  ),
  "symlink race": Attempt(
    """
own, swapped, stop = WORK + "/own", WORK + "/swapped", []
write(own)
def swap():
  while not stop:
    for target in (own, HOST['secret']):
      os.symlink(target, swapped + "~")
      os.rename(swapped + "~", swapped)
os.symlink(own, swapped)
thread = threading.Thread(target=swap)
thread.start()
seen, reads, until = set(), 0, time.monotonic() + 3
while reads < 2000 or (len(seen) < 2 and time.monotonic() < until):
  reads += 1
  try:
    seen.add(read(swapped))
  except OSError as error:
    seen.add(errno.errorcode[error.errno])
stop.append(1)
thread.join()
print("did" if HOST['content'].encode() in seen else "refused", seen)
""",
    r"^refused .*'ENOENT'",
    "^did",
  ),
  "hardlink to the host": Attempt("attempt(os.link, HOST['secret'], WORK + '/hard')", AWAY, "^did"),
  "hardlink to the system": Attempt(
    "attempt(os.link, '/usr/bin/env', WORK + '/hard')", r"^refused (EXDEV|EPERM|EROFS|EACCES)$"
  ),
  "device node": Attempt("attempt(os.mknod, WORK + '/node', 0o20666, os.makedev(1, 1))", EPERM, "^did", root=True),
}


@pytest.mark.parametrize("name", ATTEMPTS)
def test_contained(contain, name):
  contain(ATTEMPTS[name])


@pytest.mark.parametrize("name", [name for name, attempt in ATTEMPTS.items() if attempt.control])
def test_unconfined_it_gets_through(let_through, name):
  let_through(ATTEMPTS[name])


def test_stream_pairs_and_what_needs_them_work(host, patient_pool):
  code = """
import asyncio
one, other = socket.socketpair(type=socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
one.send(b"through a pair")
print(other.recv(100))
async def answer():
  await asyncio.sleep(0)
  return "from a loop of events"
print(asyncio.run(answer()))
"""
  assert patient_pool.run(host.payload(code)).stdout == "b'through a pair'\nfrom a loop of events\n"
