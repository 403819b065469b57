"""Builds the pages as a site: `python docs/build_site.py` writes ../site, strictly.

Pages link to files of the repository, such as examples; a site has its pages alone. So the pages
are put together in a folder of their own first: what `docs/` has stays where it is, and every other
file that a page leads to goes below `project/`, with the links between them set right.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from os.path import normpath, relpath
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"(\]\()([^)#\s]+)((?:#[^)\s]*)?\))")
FIRST = ("CHANGELOG.md", "CONTRIBUTING.md")


def build(site: Path) -> int:
    """Build into a folder that is then new; return zensical's exit status."""
    with tempfile.TemporaryDirectory() as folder:
        stage(Path(folder, "docs"))
        shutil.copyfile(ROOT / "mkdocs.yml", Path(folder, "mkdocs.yml"))
        command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
        status = subprocess.run(command, cwd=folder, check=False).returncode
        if status == 0:
            shutil.rmtree(site, ignore_errors=True)
            shutil.move(Path(folder, "site"), site)
        return status


def stage(target: Path) -> None:
    """Put the pages, and what they lead to, into a folder."""
    todo = [ROOT / name for name in FIRST]
    todo += [f for f in (ROOT / "docs").rglob("*") if f.is_file() and f.suffix != ".py"]
    done: set[Path] = set()
    while todo:
        file = todo.pop()
        if file in done or "__pycache__" in file.parts:
            continue
        done.add(file)
        here = target / place(file)
        here.parent.mkdir(parents=True, exist_ok=True)
        if file.suffix == ".md":
            text = file.read_text("utf-8")
            here.write_text(LINK.sub(lambda link, file=file: moved(link, file), text), "utf-8")  # type: ignore[misc]
            todo += [found for found in links(text, file) if found.is_file()]
        else:
            shutil.copyfile(file, here)


def links(text: str, file: Path) -> list[Path]:
    """Return the files that a page leads to."""
    found = [link[2] for link in LINK.finditer(text)]
    return [Path(normpath(file.parent / link)) for link in found if is_relative(link)]


def moved(link: re.Match[str], file: Path) -> str:
    """Return a link as it is to be in the site; what it leads to may have gone elsewhere."""
    if not is_relative(link[2]):
        return link[0]
    to = Path(normpath(file.parent / link[2]))
    return f"{link[1]}{relpath(place(to), place(file).parent)}{link[3]}"


def is_relative(link: str) -> bool:
    """Return whether a link leads to a file beside its page."""
    return "://" not in link and not link.startswith(("mailto:", "/"))


def place(file: Path) -> Path:
    """Return where a file of the repository is in the site; a folder is its page."""
    inside = file.relative_to(ROOT)
    if file.is_dir():
        inside /= "README.md"
    if inside.parts[0] == "docs":
        return inside.relative_to("docs")
    return Path("project") / inside


if __name__ == "__main__":
    sys.exit(build(ROOT / "site"))
