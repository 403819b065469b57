"""The examples of containers are what compose and Kubernetes take, and what a mirror needs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from scatter_agent.commands.app import cli
from support import ROOT

from scatter.config import _ENVIRONMENT, check_url

FOLDER = ROOT / "examples" / "containers"
KINDS = {"Deployment", "DaemonSet"}
OTHERS = {"SCATTER_STATE"}
"""Variables that are no setting."""


def documents(name: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((FOLDER / name).read_text("utf-8")))


def pods() -> Iterator[tuple[str, dict[str, Any]]]:
    for name in ("daemonset.yaml", "sidecar.yaml"):
        for document in documents(name):
            yield f"{name}:{document['metadata']['name']}", document


PODS = dict(pods())
SERVICES: dict[str, dict[str, Any]] = documents("compose.yaml")[0]["services"]


def containers(document: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = document["spec"]["template"]["spec"]["containers"]
    return found


def commands() -> list[list[str]]:
    every = [service.get("command", []) for service in SERVICES.values()]
    return every + [c["command"] for document in PODS.values() for c in containers(document)]


def environments() -> list[dict[str, str]]:
    every = [service.get("environment", {}) for service in SERVICES.values()]
    return every + [
        {one["name"]: one["value"] for one in container["env"]}
        for document in PODS.values()
        for container in containers(document)
    ]


@pytest.mark.parametrize("name", PODS)
def test_kubernetes_finds_what_it_asks_for(name: str) -> None:
    document = PODS[name]
    assert (document["apiVersion"], document["kind"] in KINDS) == ("apps/v1", True)
    template = document["spec"]["template"]
    assert document["spec"]["selector"]["matchLabels"] == template["metadata"]["labels"]
    assert containers(document)
    for container in containers(document):
        assert container["name"]
        assert container["image"]


@pytest.mark.parametrize("name", PODS)
def test_every_mount_has_its_volume_and_every_volume_its_mount(name: str) -> None:
    spec = PODS[name]["spec"]["template"]["spec"]
    every = [*spec["containers"], *spec.get("initContainers", [])]
    mounted = {mount["name"] for container in every for mount in container["volumeMounts"]}
    assert mounted == {volume["name"] for volume in spec["volumes"]}


def test_compose_finds_what_its_services_name() -> None:
    (document,) = documents("compose.yaml")
    assert document.keys() == {"services", "networks"}
    for service in SERVICES.values():
        assert service["image"]
        assert set(service["networks"]) <= document["networks"].keys()
        assert set(service.get("depends_on", [])) <= SERVICES.keys()
    assert not set(SERVICES["app"]["networks"]) & set(SERVICES["redis"]["networks"])


def test_who_follows_cannot_write_but_into_reports() -> None:
    volumes = [volume for volume in SERVICES["app"]["volumes"] if isinstance(volume, str)]
    assert all(volume.endswith(":ro") for volume in volumes)
    (reports,) = [volume for volume in SERVICES["app"]["volumes"] if isinstance(volume, dict)]
    assert reports["target"] == reports["source"] == "/var/lib/scatter/shop/reports"
    assert reports["bind"] == {"create_host_path": False}, "it would be root's"
    (shop,) = containers(PODS["daemonset.yaml:shop"])
    writable = [m["mountPath"] for m in shop["volumeMounts"] if not m.get("readOnly")]
    assert writable == ["/var/lib/scatter/shop/reports"]


def test_the_commands_of_scatter_are_such() -> None:
    ours = [command for command in commands() if command[:1] == ["scatter-agent"]]
    assert len(ours) == 3
    for _, name, *arguments in ours:
        command = cli.get_command(click.Context(cli), name)
        assert command is not None
        command.make_context(name, arguments)


def test_the_variables_of_scatter_are_such_and_addresses_are_good() -> None:
    known = {variable for names in _ENVIRONMENT.values() for variable in names} | OTHERS
    for environment in environments():
        assert {name for name in environment if name.startswith("SCATTER_")} <= known
        for name in ("SCATTER_STORE", "SCATTER_REDIS_URL"):
            if name in environment:
                check_url(environment[name])


def test_every_example_is_listed() -> None:
    readme = (FOLDER / "README.md").read_text("utf-8")
    for file in FOLDER.glob("*.yaml"):
        assert f"`{file.name}`" in readme
        assert Path("examples", "containers", file.name).as_posix() in (
            ROOT / "docs" / "how-to" / "containers.md"
        ).read_text("utf-8")
