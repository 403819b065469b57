"""A machine for tests: systemd itself, booted in namespaces with a root of its own.

It shares the kernel, the network and, read-only, /usr with the one that runs the tests; its /etc,
/run, /var and processes are its own and gone at the end.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from support import ROOT, wait_until

SYSTEMD = Path("/lib/systemd/systemd")

OUTSIDE = """
set -e
mount -t cgroup2 none "$WORK/cgroup"
mkdir "$WORK/cgroup/$NAME"
echo $$ > "$WORK/cgroup/$NAME/cgroup.procs"
exec unshare --mount --pid --fork --ipc --uts --cgroup --kill-child sh -c "$INSIDE"
"""
INSIDE = """
set -e
mount --make-rprivate /
root="$WORK/root"
mount -t tmpfs -o mode=755 none "$root"
cd "$root"
mkdir -p usr proc sys dev run tmp var/lib var/log var/tmp root srv old etc
chmod 1777 tmp var/tmp
for link in bin sbin lib lib64; do [ ! -L "/$link" ] || ln -s "$(readlink "/$link")" "$link"; done
mount --rbind /usr usr
mount -o remount,bind,ro usr
for place in $BINDS; do mkdir -p "./$place"; mount --bind "$place" "./$place"; done
for file in passwd group nsswitch.conf ld.so.cache ld.so.conf hosts; do
  cp "/etc/$file" etc/ 2>/dev/null || true
done
cp -a "$WORK/files/." .
chown -R 0:0 etc
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 none sys/fs/cgroup
mount --rbind /dev dev
mount -t tmpfs -o mode=755 none run
pivot_root . old
umount -l old
mount --make-rshared /
export container=scatter
exec /lib/systemd/systemd --system --unit=test.target --log-target=console --show-status=no
"""
TARGET = "[Unit]\nDescription=What tests start\nAllowIsolate=yes\nRequires=basic.target\n"


def needs_machine() -> None:
    """Skip the test where no machine can be booted, and say why."""
    if os.geteuid():
        pytest.skip("only root can boot systemd in namespaces")
    if os.environ.get("CI") and not os.environ.get("SCATTER_TEST_BOOT"):
        pytest.skip("systemd is not booted in CI, unless SCATTER_TEST_BOOT=1 says so")
    for program in ("unshare", "nsenter", "pivot_root", "systemctl"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    if not SYSTEMD.exists():
        pytest.skip(f"systemd is not installed: there is no {SYSTEMD}")
    tried = subprocess.run(
        ["unshare", "--mount", "--pid", "--fork", "--ipc", "--uts", "--cgroup", "sh", "-c",
         "mount --make-rprivate / && mount -t tmpfs none /mnt && mount -t cgroup2 none /mnt"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"namespaces and mounts are not allowed here: {tried.stderr.strip()}")


class Machine:
    """A booted machine."""

    def __init__(self, work: Path, files: Mapping[str, str], binds: Mapping[Path, str]) -> None:
        """Boot.

        Args:
            work: An empty directory on a short path.
            files: Path on the machine → text; what is in `/etc/credstore` is for root alone.
            binds: Directory of this machine → where it is on that one.

        """
        self.work = work
        for folder in ("root", "cgroup", "files"):
            (work / folder).mkdir(parents=True, exist_ok=True)
        self._write({"etc/machine-id": "0" * 31 + "1\n", **files})
        self._write({"etc/systemd/system/test.target": TARGET})
        for source, place in binds.items():
            shutil.copytree(source, work / "files" / place.lstrip("/"), dirs_exist_ok=True)
        self._name = f"scatter-test-{os.getpid()}"
        self._log = work / "console.log"
        seen = {ROOT, Path(sys.prefix), Path(sys.base_prefix)}
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["sh", "-c", OUTSIDE],
                env={
                    "PATH": os.environ["PATH"],
                    "WORK": str(work),
                    "NAME": self._name,
                    "INSIDE": INSIDE,
                    "BINDS": " ".join(map(str, sorted(seen))),
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._pid = wait_until(self._find, "systemd's process", 20)
            wait_until(self._is_up, "systemd to be up", 30)
        except AssertionError as error:
            error.add_note(self._log.read_text("utf-8", "replace")[-3000:])
            self.close()
            raise

    def _write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.work / "files" / name.lstrip("/")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            file.chmod(0o600 if "credstore" in name else 0o644)

    def _find(self) -> int:
        if self._process.poll() is not None:
            raise AssertionError("the machine ended")
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == "systemd":
                return int(pid)
        return 0

    def _is_up(self) -> bool:
        state = self.run("systemctl", "is-system-running").stdout.strip()
        return state in ("running", "degraded")

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the machine."""
        enter = ["nsenter", "-t", str(self._pid), "-m", "-p", "-i", "-u", "-C", "--"]
        return subprocess.run(
            [*enter, *command], check=False, capture_output=True, text=True, timeout=60
        )

    def write(self, path: str, text: str) -> None:
        """Write a file of the machine, for all to read, and have systemd read its units again."""
        script = 'mkdir -p "$(dirname "$1")" && printf %s "$2" > "$1" && systemctl daemon-reload'
        done = self.run("sh", "-c", script, "sh", path, text)
        assert done.returncode == 0, done.stderr

    def ask(self, unit: str, what: str) -> str:
        """Return a property of a unit."""
        return self.run("systemctl", "show", "-P", what, unit).stdout.strip()

    def start(self, unit: str) -> None:
        """Start a unit; a failure shows what it wrote."""
        done = self.run("systemctl", "start", unit)
        if done.returncode:
            status = self.run("systemctl", "status", "--no-pager", unit).stdout
            raise AssertionError(f"{done.stderr}\n{status}\n{self.said()}")

    def said(self) -> str:
        """Return what units wrote, as far as they write to `/run/*.out`, and the console's end."""
        units = self.run("sh", "-c", "tail -n 50 /run/*.out").stdout
        return units + self._log.read_text("utf-8", "replace")[-5000:]

    def close(self) -> None:
        """End everything on the machine."""
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        cgroup = self.work / "cgroup"
        if os.path.ismount(cgroup):
            try:
                wait_until(lambda: _is_removed(cgroup / self._name), "its processes to be gone")
            finally:
                subprocess.run(["umount", "--lazy", str(cgroup)], check=True)


def _is_removed(cgroup: Path) -> bool:
    """Remove a control group with all below it; return whether it is gone."""
    for folder in [*sorted(cgroup.rglob("*/"), reverse=True), cgroup]:
        try:
            folder.rmdir()
        except FileNotFoundError:
            pass
        except OSError:  # processes of it are still there
            return False
    return True
