"""Modules that an import loads, and lazy names, which work like all others."""

from __future__ import annotations

import pickle
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

import pytest

import aiowery
from aiowery import betterwaifu, weryai
from aiowery.weryai import TextToImage
from tests.tables import lazy_names

LAZY = (aiowery, betterwaifu, weryai)
LOADED = """
import sys
before = set(sys.modules)
{code}
print(*set(sys.modules) - before)
"""
IMPORT = {
    "aiowery",
    "aiowery._base",
    "aiowery._base.public_names",
}
REQUEST = {
    "aiowery._base.snapshot",
    "aiowery._base.text",
    "aiowery._core",
    "aiowery._core.fields",
    "aiowery._core.media",
    "aiowery._core.request",
    "aiowery._core.result",
    "aiowery.errors",
    "aiowery.weryai",
    "aiowery.weryai.requests",
    "aiowery.weryai.requests._base",
    "aiowery.weryai.requests._choices",
    "aiowery.weryai.requests._images",
}
TRANSPORT = {
    "aiowery.transport",
    "aiowery.transport._connection",
    "aiowery.transport._dial",
    "aiowery.transport._errors",
    "aiowery.transport._excerpt",
    "aiowery.transport._httpx",
    "aiowery.transport._pool",
    "aiowery.transport._reader",
    "aiowery.transport._request",
    "aiowery.transport._tls",
    "aiowery.transport._trace",
}
OF_REQUESTS = {"_audio", "_image_tools", "_images", "_video_tools", "_videos"}
CONCURRENT = """
import sys, threading
from aiowery import weryai
sys.setswitchinterval(1e-6)
barrier, found = threading.Barrier(8), []

def get(name):
    barrier.wait()
    found.append(getattr(weryai, name))

names = ["WeryAI", "TextToVideo", "Chat", "REQUESTS", "Music", "WeryAI", "TextToVideo", "Chat"]
threads = [threading.Thread(target=get, args=(name,)) for name in names]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(found), len(set(map(id, found))))
"""


def fresh(code: str) -> str:
    """Return the output of the code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def loaded(code: str) -> tuple[set[str], set[str]]:
    """Return the modules of aiowery that the code loads, and the other packages outside the standard library.

    The result includes asyncio, because its import takes as long as that of attrs.
    """
    modules = set(fresh(LOADED.format(code=code)).split())
    own = {name for name in modules if name.partition(".")[0] == "aiowery"}
    return own, {name.partition(".")[0] for name in modules - own} - (sys.stdlib_module_names - {"asyncio"})


def test_import_aiowery_loads_nothing_else() -> None:
    """`import aiowery` loads no other package and no module of its own but the loader of names."""
    assert loaded("import aiowery") == (IMPORT, set())


def test_import_transport_loads_nothing_else_of_the_package() -> None:
    """`aiowery.transport` stands alone: of aiowery, it loads the loader of names only."""
    own, others = loaded("import aiowery.transport")
    assert own == IMPORT | TRANSPORT
    assert others >= {"httpx", "httptools", "aiohappyeyeballs"}
    assert "attr" not in others


def test_script_for_httpx_users_loads_only_the_transport(tmp_path: Path) -> None:
    """The script of the transport's page is answered, and of the package it loads the transport alone.

    `nox -s wheel` runs it where nothing but the wheel is installed.
    """
    script = Path(__file__).parent / "transport" / "standalone.py"
    ended = subprocess.run([sys.executable, script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout) == (0, "200\n"), ended.stderr


def test_import_request_class_loads_only_its_module() -> None:
    """Importing one request class loads its module, not those of all classes, and no decoder."""
    assert loaded("from aiowery.weryai import TextToImage") == (IMPORT | REQUEST, {"attr", "attrs"})


def test_import_client_class_loads_no_http_library() -> None:
    """The HTTP library is loaded when a client is made, not when its class is imported."""
    code = "from aiowery import BetterWaifu, WeryAI"
    assert loaded(code)[1].isdisjoint({"anyio", "httpx", "httptools"})
    assert loaded(f"{code}; WeryAI('sk')")[1] >= {"anyio", "httpx", "httptools"}


@pytest.mark.parametrize(
    ("arguments", "classes"), [("'sk'", set()), ("'sk', ledger='jobs.db'", OF_REQUESTS)], ids=["memory", "file"]
)
def test_client_with_ledger_file_loads_all_requests(arguments: str, classes: set[str]) -> None:
    """A ledger file may hold any request, so its client loads all classes. Another client loads only those in use."""
    own, _ = loaded(f"import aiowery; aiowery.WeryAI({arguments})")
    assert {name for name in OF_REQUESTS if f"aiowery.weryai.requests.{name}" in own} == classes


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_lazy_names_are_exported_and_load_from_their_modules(package: ModuleType) -> None:
    """Each name of a package's tables is exported, and is the object of that name in its module."""
    for module, names in lazy_names(package.__name__).items():
        assert set(names) <= set(package.__all__)
        for name in names:
            assert getattr(package, name) is getattr(import_module(f"{package.__name__}.{module}".rstrip(".")), name)


@pytest.mark.parametrize("package", LAZY, ids=lambda package: package.__name__)
def test_lazy_names_are_in_dir_and_in_star_imports(package: ModuleType) -> None:
    """In a fresh interpreter `dir` lists all names, a star imports them, and an unknown name raises AttributeError."""
    name = package.__name__
    shown = fresh(f"import {name} as package; print(*set(package.__all__) - set(dir(package)))")
    assert not shown.strip()
    starred = fresh(f"from {name} import *; import {name} as package; print(*set(package.__all__) - set(globals()))")
    assert not starred.strip()
    with pytest.raises(AttributeError, match=f"^module '{name}' has no attribute 'TextToImages'$"):
        _ = package.TextToImages


def test_providers_are_attributes_of_the_package() -> None:
    """After `import aiowery` alone, `aiowery.weryai` and `aiowery.betterwaifu` are attributes."""
    code = "import aiowery; print(aiowery.weryai.__name__, aiowery.betterwaifu.__name__)"
    assert fresh(code).split() == ["aiowery.weryai", "aiowery.betterwaifu"]


def test_request_unpickles_without_a_prior_import() -> None:
    """Another process unpickles a request without having imported its module, and the repr is the same."""
    request = TextToImage(prompt="a cat")
    code = f"import pickle; print(repr(pickle.loads({pickle.dumps(request)!r})))"
    assert fresh(code).strip() == repr(request)


def test_lazy_names_are_loaded_once_by_concurrent_threads() -> None:
    """Eight threads get five unloaded names: each gets its own, and equal names are one object."""
    assert fresh(CONCURRENT).split() == ["8", "5"]


def test_requests_table_has_every_request_class_by_type_name() -> None:
    """The table of request classes is true, and includes each class that the package exports."""
    assert {name: cls.type_name for name, cls in weryai.REQUESTS.items()} == {name: name for name in weryai.REQUESTS}
    offered = {value for name in weryai.__all__ if hasattr(value := getattr(weryai, name), "type_name")}
    assert offered == set(weryai.REQUESTS.values())
    assert repr(weryai.REQUESTS) == repr(dict(weryai.REQUESTS))
