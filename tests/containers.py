"""Runs the containers of compose and Kubernetes files as plain processes, in mount namespaces.

Each gets a root of its own with this machine's programs in it, the mounts, the user, the
capabilities and the environment that the file says, and a network or none. What a kubelet or a
container engine makes of volumes is made here, with the modes that they give them.

Not here: images, name servers, restarts.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import ROOT

BIN = Path(sys.prefix) / "bin"
SCRIPT = """
set -e
mount --make-rprivate /
mkdir -p "$BOX"
mount -t tmpfs -o mode=755 none "$BOX"
cd "$BOX"
mkdir -p usr proc dev etc tmp srv
chmod 1777 tmp
for link in bin sbin lib lib64; do [ ! -L "/$link" ] || ln -s "$(readlink "/$link")" "$link"; done
mount --rbind /usr usr
mount --rbind /proc proc
mount --rbind /dev dev
for file in passwd group nsswitch.conf ld.so.cache hosts; do
  cp "/etc/$file" etc/ 2>/dev/null || true
done
bind() {
  if [ -d "$1" ]; then mkdir -p ".$2"; else mkdir -p "$(dirname ".$2")"; touch ".$2"; fi
  mount --bind "$1" ".$2"
  [ "$3" != ro ] || mount -o remount,bind,ro ".$2"
}
for place in $PROGRAMS; do bind "$place" "$place" ro; done
while read -r source target mode; do bind "$source" "$target" "$mode"; done <<END
$MOUNTS
END
[ -z "$READ_ONLY" ] || mount -o remount,ro "$BOX"
exec chroot . setpriv --reuid "$USER_ID" --regid "$USER_ID" --clear-groups --no-new-privs \
  $CAPABILITIES -- sh -c 'cd /srv && exec env -i "$@"' sh "$@"
"""


def needs_namespaces() -> None:
    """Skip the test where there are no mount namespaces, and say why."""
    if os.geteuid():
        pytest.skip("only root can mount")
    for program in ("unshare", "setpriv", "chroot"):
        if not shutil.which(program):
            pytest.skip(f"{program} is not installed")
    words = ["unshare", "--mount", "--net", "sh", "-c"]
    tried = subprocess.run(
        [*words, "mount --make-rprivate / && mount -t tmpfs none /mnt"],
        check=False, capture_output=True, text=True,
    )  # fmt: skip
    if tried.returncode:
        pytest.skip(f"namespaces and mounts are not allowed here: {tried.stderr.strip()}")


@dataclass(frozen=True, kw_only=True)
class Container:
    """What a file says of one container.

    Attributes:
        command: What it runs.
        environment: All of it.
        mounts: (source, target, `ro` or `rw`), in order.
        user: Id of its user.
        capabilities: None: those that its user has; else these alone.
        is_read_only: Its root cannot be written.

    """

    command: Sequence[str]
    environment: Mapping[str, str]
    mounts: Sequence[tuple[Path, str, str]]
    user: int
    capabilities: Sequence[str] | None = None
    is_read_only: bool = False

    def start(
        self, work: Path, log: Path, *, network: bool, **environment: str
    ) -> subprocess.Popen[bytes]:
        """Start it.

        Args:
            work: A directory of its own, on which its root is mounted.
            log: Where its output goes.
            network: It has this machine's network; else none at all.
            **environment: What is otherwise here than in the file.

        """
        given = {"PATH": f"{BIN}:/usr/bin", **self.environment, **environment}
        words = [*(f"{name}={value}" for name, value in given.items()), *self.command]
        isolated = ["unshare", "--mount", *([] if network else ["--net"])]
        with log.open("ab") as output:
            return subprocess.Popen(
                [*isolated, "sh", "-c", SCRIPT, "sh", *words],
                env={"PATH": os.environ["PATH"], "BOX": str(work), **self._told()},
                stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            )  # fmt: skip

    def _told(self) -> dict[str, str]:
        programs = sorted({ROOT, Path(sys.prefix), Path(sys.base_prefix)})
        caps = self.capabilities
        kept = "".join(f",+{name.lower()}" for name in caps or ())
        return {
            "PROGRAMS": " ".join(map(str, programs)),
            "MOUNTS": "\n".join(
                f"{source} {target} {mode}" for source, target, mode in self.mounts
            ),
            "USER_ID": str(self.user),
            "CAPABILITIES": "" if caps is None else f"--bounding-set=-all{kept} --inh-caps=-all",
            "READ_ONLY": "yes" * self.is_read_only,
        }


@dataclass(kw_only=True)
class Node:
    """A machine on which such files are run.

    Attributes:
        root: What is `/` in the paths of the files.
        files: Secret or ConfigMap → file → text.
        volumes: Empty directories that a pod has, by name.

    """

    root: Path
    files: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    volumes: dict[str, Path] = field(default_factory=dict)

    def on_host(self, path: str) -> Path:
        return self.root / path.lstrip("/")

    # compose -----------------------------------------------------------------------------

    def service(self, service: dict[str, Any], project: Path) -> Container:
        """Return a service of compose; `project` is where its file is."""
        return Container(
            command=service["command"],
            environment=service.get("environment", {}),
            mounts=[self._mount(volume, project) for volume in service["volumes"]],
            user=int(service["user"].partition(":")[0]),
        )

    def _mount(self, volume: str | dict[str, Any], project: Path) -> tuple[Path, str, str]:
        if isinstance(volume, str):
            source, target, mode = [*volume.split(":"), "rw"][:3]
            volume = {"source": source, "target": target, "read_only": mode == "ro", "bind": {}}
        source = volume["source"]
        place = project / source if source.startswith(".") else self.on_host(source)
        if volume["bind"].get("create_host_path", True) and not place.exists():
            place.mkdir(parents=True)  # as root, as engines do
        assert place.exists(), f"{source} is not made, and was not there"
        return place, volume["target"], "ro" if volume.get("read_only") else "rw"

    # Kubernetes --------------------------------------------------------------------------

    def pods_container(self, pod: dict[str, Any], container: dict[str, Any]) -> Container:
        """Return a container of a pod's specification."""
        context = {**pod.get("securityContext", {}), **container.get("securityContext", {})}
        volumes = {volume["name"]: self._volume(volume) for volume in pod["volumes"]}
        capabilities = context.get("capabilities", {})
        return Container(
            command=container["command"],
            environment={one["name"]: one["value"] for one in container.get("env", [])},
            mounts=[
                (volumes[m["name"]], m["mountPath"], "ro" if m.get("readOnly") else "rw")
                for m in container["volumeMounts"]
            ],
            user=context["runAsUser"],
            capabilities=capabilities.get("add", []) if "drop" in capabilities else None,
            is_read_only=context.get("readOnlyRootFilesystem", False),
        )

    def _volume(self, volume: dict[str, Any]) -> Path:
        if "hostPath" in volume:
            path = self.on_host(volume["hostPath"]["path"])
            if volume["hostPath"]["type"] == "DirectoryOrCreate":
                path.mkdir(parents=True, exist_ok=True, mode=0o755)
            assert path.is_dir(), f"a kubelet waits for {path}"
            return path
        name = volume["name"]
        if name not in self.volumes:
            self.volumes[name] = place = self.root / "kubelet" / name
            place.mkdir(parents=True)
            if "secret" in volume:
                self._fill(place, volume["secret"]["secretName"], volume["secret"])
                place.chmod(0o1777)  # a tmpfs
            elif "configMap" in volume:
                self._fill(place, volume["configMap"]["name"], volume["configMap"])
                place.chmod(0o777)  # kubernetes/kubernetes#125876
            else:
                place.chmod(0o1777 if volume["emptyDir"].get("medium") == "Memory" else 0o777)
        return self.volumes[name]

    def _fill(self, place: Path, name: str, how: dict[str, Any]) -> None:
        """Write files as a kubelet does: links to links."""
        inner = place / "..2026_01_01"
        inner.mkdir(mode=0o755)
        (place / "..data").symlink_to(inner.name)
        for file, text in self.files[name].items():
            (inner / file).write_text(text)
            (inner / file).chmod(how.get("defaultMode", 0o644))
            (place / file).symlink_to(f"..data/{file}")
