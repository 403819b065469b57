"""The helpers for frameworks: what an application calls is tracked, and stays the same object."""

from __future__ import annotations

import asyncio
import http.client
import json
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from integrations.web import Running, Site, site
from support import Edited, needs, wait_until

import scatter
from scatter.ext.reach import track_app
from scatter.registry import REGISTRY

__all__ = ["site"]

DEPENDENCIES = """
def asked():
    return 1

def annotated():
    return 2

def of_router():
    return 3

def of_include():
    return 4

def of_app():
    return 5

def never_used_by_the_application():
    return 6
"""

ENDPOINTS = """
import functools
from typing import Annotated
from fastapi import APIRouter, Depends
from DEPS import annotated, asked, of_router

router = APIRouter(dependencies=[Depends(of_router)])

def shout(function):
    @functools.wraps(function)
    async def loud(*args, **kwargs):
        return (await function(*args, **kwargs)).upper()
    return loud

@router.get("/hello")
@shout
async def hello(one: Annotated[int, Depends(annotated)], other: int = Depends(asked)):
    return "hello"
"""

Make = Callable[[str], Edited]


def tracked(*modules: Edited) -> set[str]:
    names = {module.name for module in modules}
    return {n.partition(":")[2] for n in REGISTRY.slots() if n.partition(":")[0] in names}


async def call(app: Any, path: str, kind: str = "http") -> bytes:
    """Call an ASGI application as a server does; return the body."""
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    scope = {"type": kind, "method": "GET", "path": path, "raw_path": path.encode(), "headers": []}
    await app({**scope, "query_string": b"", "http_version": "1.1", "root_path": ""}, receive, send)
    return b"".join(message.get("body", b"") for message in sent)


def test_endpoints_and_dependencies_of_included_routers_are_tracked(edited: Make) -> None:
    needs("fastapi")
    from fastapi import Depends, FastAPI

    dependencies = edited(DEPENDENCIES)
    endpoints = edited(ENDPOINTS.replace("DEPS", dependencies.name))
    app = FastAPI(dependencies=[Depends(dependencies.of_app)])
    app.include_router(endpoints.router, dependencies=[Depends(dependencies.of_include)])

    names = scatter.integrate_app(app)

    assert tracked(endpoints) == {"shout", "hello"}
    assert {"asked", "annotated", "of_router", "of_include", "of_app"} <= tracked(dependencies)
    assert all(name.startswith("edited_") for name in names)
    assert asyncio.run(call(app, "/hello")) == b'"HELLO"'
    assert asyncio.run(call(app, "/hello")) == b'"HELLO"'


def test_a_dependency_in_a_module_of_its_own_is_enough_to_track_it(edited: Make) -> None:
    needs("fastapi")
    from fastapi import APIRouter, Depends, FastAPI

    places = {name: edited(f"def check():\n    return {name!r}\n") for name in "abcd"}
    endpoints = edited("from fastapi import Depends\n\ndef page():\n    return 1\n")
    router = APIRouter(dependencies=[Depends(places["a"].check)])
    router.get("/page", dependencies=[Depends(places["b"].check)])(endpoints.page)
    app = FastAPI(dependencies=[Depends(places["c"].check)])
    app.include_router(router, dependencies=[Depends(places["d"].check)])

    scatter.integrate_app(app)

    assert {name: tracked(module) for name, module in places.items()} == {
        name: {"check"} for name in "abcd"
    }


def test_a_router_that_is_included_later_is_tracked_when_the_application_is_first_called(
    edited: Make,
) -> None:
    needs("fastapi")
    from fastapi import FastAPI

    dependencies = edited(DEPENDENCIES)
    endpoints = edited(ENDPOINTS.replace("DEPS", dependencies.name))
    app = FastAPI()
    assert scatter.integrate_app(app) == ()
    app.include_router(endpoints.router)
    assert tracked(endpoints) == set()

    assert asyncio.run(call(app, "/hello")) == b'"HELLO"'

    assert "hello" in tracked(endpoints)
    assert "asked" in tracked(dependencies)


def test_a_module_that_cannot_be_tracked_breaks_no_request(
    edited: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needs("fastapi")
    from fastapi import FastAPI

    def fail(_: object) -> None:
        raise ZeroDivisionError("a fault")

    app = FastAPI()
    deps = edited(DEPENDENCIES)
    app.get("/")(deps.asked)
    monkeypatch.setattr("scatter.whole.track_module", fail)
    assert track_app(app) == ()
    assert "scatter.not_tracked" in caplog.text
    monkeypatch.setattr("scatter.ext.reach._functions", fail)
    assert track_app(app) == ()


def test_nothing_of_a_framework_or_of_the_standard_library_is_tracked(edited: Make) -> None:
    needs("fastapi")
    from fastapi import FastAPI

    app = FastAPI()
    app.get("/where")(lambda: 1)
    app.get("/json")(json.dumps)
    before = set(REGISTRY.slots())

    scatter.integrate_app(app)

    new = set(REGISTRY.slots()) - before
    assert not [name for name in new if name.startswith(("fastapi", "starlette", "json"))]


def test_views_and_handlers_of_flask_are_tracked_also_those_of_later_blueprints(
    edited: Make,
) -> None:
    needs("flask")
    from flask import Blueprint, Flask

    from scatter.ext.flask import integrate_app

    early = edited("def view():\n    return 'early'\n\ndef before():\n    pass\n")
    late = edited("def view():\n    return 'late'\n")
    handler = edited("def lost(error):\n    return 'lost', 404\n")
    app = Flask("shop")
    app.add_url_rule("/early", view_func=early.view, endpoint="early")
    app.register_error_handler(404, handler.lost)

    names = integrate_app(app)

    assert set(names) == {early.full("view"), early.full("before"), handler.full("lost")}
    blueprint = Blueprint("late", "late")
    blueprint.add_url_rule("/late", view_func=late.view)
    app.register_blueprint(blueprint)
    client = app.test_client()
    assert [client.get("/late").text, client.get("/late").text] == ["late", "late"]
    assert tracked(late) == {"view"}
    early.push("def view():\n    return 'newer'\n\ndef before():\n    pass\n", "view")
    assert client.get("/early").text == "newer"


def test_a_command_of_djangos_that_serves_nothing_has_no_agent(site: Site) -> None:
    needs("django")
    Path(site.folder, "site_settings.py").write_text(
        "SECRET_KEY = 'x'\nINSTALLED_APPS = ['scatter.ext.django.ScatterConfig']\n"
    )
    code = "import scatter_agent, os; os._exit(scatter_agent.status().state == 'stopped')"
    command = [sys.executable, "-m", "django", "shell", "--settings", "site_settings", "-c", code]

    done = subprocess.run(command, cwd=site.folder, env=site.environment, timeout=30, check=False)
    assert done.returncode == 1

    serving = f"import sys, django; sys.argv = ['gunicorn']; django.setup()\n{code}"
    done = subprocess.run(
        [sys.executable, "-c", serving],
        cwd=site.folder,
        env=site.environment | {"DJANGO_SETTINGS_MODULE": "site_settings"},
        timeout=30,
        check=False,
    )
    assert done.returncode == 0


# the frameworks' own examples ----------------------------------------------------------------


def unpacked(package: str, inside: str, folder: Path) -> Path:
    """Return a folder of the source of a package, of the version that is installed here."""
    import importlib.metadata

    wanted = f"{package}=={importlib.metadata.version(package)}"
    options = ["--quiet", "--no-deps", "--no-binary", package, "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", "download", *options, wanted],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"the sdist of {wanted} cannot be had here: {done.stderr[-300:]}")
    (archive,) = folder.glob("*.tar.gz")
    with tarfile.open(archive) as tar:
        safely: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}  # 3.11.4
        tar.extractall(folder, **safely)
    (found,) = folder.glob(f"*/{inside}")
    return found


def fetch(server: Running, method: str, path: str, body: str = "") -> str:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    try:
        connection.request(method, path, body, kind)
        return connection.getresponse().read().decode()
    except OSError:
        return ""
    finally:
        connection.close()


def edit(site: Site, file: Path, module: str, name: str, old: str, new: str) -> None:
    text = file.read_text("utf-8")
    assert old in text
    site.push_text(text.replace(old, new), module, name, track_all=True)


@pytest.mark.slow
def test_fastapis_own_bigger_application_is_edited_while_it_runs(site: Site) -> None:
    needs("fastapi")
    source = unpacked("fastapi", "docs_src/bigger_applications/app", site.folder)
    source.rename(site.folder / "app")
    Path(site.folder, "run.py").write_text(
        "import scatter, scatter_agent\nfrom app.main import app\n"
        "scatter.integrate_app(app)\nscatter_agent.start()\n"
    )
    server = site.run("uvicorn --port PORT run:app".split())
    users = "/users/?token=jessica"
    wait_until(lambda: "Rick" in fetch(server, "GET", users), "the application")

    routers = site.folder / "app" / "routers"
    edit(site, routers / "users.py", "app.routers.users", "read_users", "Rick", "Summer")
    wait_until(lambda: "Summer" in fetch(server, "GET", users), "the new endpoint")

    dependencies = site.folder / "app" / "dependencies.py"
    edit(site, dependencies, "app.dependencies", "get_query_token", '"jessica"', '"anna"')
    wait_until(lambda: "Summer" in fetch(server, "GET", "/users/?token=anna"), "the dependency")
    assert "Summer" not in fetch(server, "GET", users)


@pytest.mark.slow
def test_flasks_own_tutorial_is_edited_while_it_runs(site: Site) -> None:
    needs("flask")
    unpacked("flask", "examples/tutorial/flaskr", site.folder).rename(site.folder / "flaskr")
    Path(site.folder, "run.py").write_text(
        "import scatter_agent\nfrom flaskr import create_app\n"
        "from scatter.ext.flask import integrate_app\n"
        "app = create_app()\nintegrate_app(app)\nscatter_agent.start()\n"
    )
    server = site.run("gunicorn -b 127.0.0.1:PORT -w 2 --preload run:app".split())
    form = ("POST", "/auth/register", "username=&password=")
    wait_until(lambda: "Username is required." in fetch(server, *form), "the application")

    auth = site.folder / "flaskr" / "auth.py"
    edit(site, auth, "flaskr.auth", "register", "Username is required.", "Who are you?")
    wait_until(
        lambda: all("Who are you?" in fetch(server, *form) for _ in range(10)), "the new view"
    )
