"""The layers of DESIGN.md, held: who may import whom, what must stay free of torch, who may name a device.

Also what else is true of every file: none is long, and none needs a system that only some users have.
"""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "gesso"
FILES = sorted(SOURCE.rglob("*.py"))
TESTS = sorted(Path(__file__).parent.rglob("*.py"))

LAYERS = (
    ("__init__",),
    ("launched",),
    ("errors", "progress", "protobuf", "restoring", "runtime"),
    ("files", "exported", "hub"),
    ("recipe",),
    ("recipes",),
    ("devices",),
    ("endings",),
    ("processes",),
    ("launching",),
    ("networks",),
    ("data",),
    ("metrics",),
    ("models",),
    ("engine",),
    ("exporting", "importing", "predicting", "publishing", "serving", "bench"),
    ("parsing",),
    ("commands",),
    ("cli",),
    ("__main__",),
)
DEPTH = {unit: depth for depth, units in enumerate(LAYERS) for unit in units}
DEVICE_KINDS = {"cpu", "cuda", "mps", "xpu", "hpu", "npu", "mlu", "xla", "hip", "rocm"}
LONGEST = 400
# What Windows lacks, as the standard library's documentation says ("Availability: Unix").
UNIX_MODULES = {"crypt", "curses", "fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
UNIX_FUNCTIONS = {
    "os": {"chown", "chroot", "fork", "getegid", "geteuid", "getgid", "getloadavg", "getpgid", "getuid", "killpg"}
    | {"mkfifo", "nice", "openpty", "pread", "pwrite", "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname"},
    "signal": {"SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGQUIT", "SIGUSR1", "SIGUSR2", "alarm", "pause"},
}


def unit_of(path: Path) -> str:
    """The part of the package that a file belongs to: a folder, or the file itself at the top."""
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def imported(tree: ast.AST) -> Iterator[str]:
    """Every module that is imported, also inside functions; `from gesso import x` counts as gesso.x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = "." * node.level + (node.module or "")
            yield from (f"gesso.{name.name}" for name in node.names) if module == "gesso" else (module,)


def misplaced(unit: str, code: str) -> list[str]:
    """The imports in `code`, a file of `unit`, that the layers do not allow."""
    found = []
    for module in imported(ast.parse(code)):
        if module.startswith("."):
            found.append(f"{module}: write the whole name")
        if module.split(".")[0] != "gesso":
            continue
        there = module.split(".")[1] if "." in module else "__init__"
        there = "__init__" if there.startswith("__") else there
        if there not in DEPTH:
            found.append(f"{module}: in no layer")
        elif there != unit and DEPTH[there] >= DEPTH[unit]:
            found.append(f"{module}: not above {unit}")
    return found


def devices_named(code: str) -> list[str]:
    """Where `code` reaches for one kind of device, or asks what kind it has."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and node.attr in DEVICE_KINDS | {"cudnn"}:
            if ast.unparse(node.value) in ("torch", "torch.backends"):
                found.append(ast.unparse(node))
        elif isinstance(node, ast.Compare | ast.match_case) or (
            isinstance(node, ast.Call) and ast.unparse(node.func).endswith((".startswith", ".endswith"))
        ):
            asked = node.pattern if isinstance(node, ast.match_case) else node
            words = {word.value for word in ast.walk(asked) if isinstance(word, ast.Constant)}
            found += [ast.unparse(node)] if words & DEVICE_KINDS else []
    return found


def only_on_unix(code: str) -> list[str]:
    """What `code` takes for granted that Windows lacks. Inside `if sys.platform …` it is not taken for granted."""
    found = []
    waiting: list[ast.AST] = [ast.parse(code)]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "sys.platform" in ast.unparse(node.test):
            continue
        waiting += ast.iter_child_nodes(node)
        if isinstance(node, ast.Import | ast.ImportFrom):
            found += [name for name in imported(node) if name.split(".")[0] in UNIX_MODULES]
        elif isinstance(node, ast.Attribute) and node.attr in UNIX_FUNCTIONS.get(ast.unparse(node.value), ()):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(SOURCE).as_posix())
def test_file_keeps_to_its_layer(path: Path) -> None:
    code = path.read_text()
    assert unit_of(path) in DEPTH, f"{path.name} is in no layer: give it a place in LAYERS"
    assert misplaced(unit_of(path), code) == []
    assert len(code.splitlines()) <= LONGEST
    assert not [module for module in imported(ast.parse(code)) if module.split(".")[0] == "torchvision"]
    assert only_on_unix(code) == []
    if unit_of(path) != "devices":
        assert devices_named(code) == []


@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.relative_to(Path(__file__).parent).as_posix())
def test_tests_are_short_too(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST, "split it by theme"


@pytest.mark.parametrize(
    ("unit", "code"),
    [
        ("data", "from gesso.models import build_model"),
        ("networks", "def f():\n    import gesso.engine.train"),
        ("recipe", "if 1:\n    from gesso import recipes"),
        ("predicting", "from gesso.serving.app import serve"),
        ("errors", "from gesso.progress import Bar"),
        ("engine", "from gesso.helpers import x"),
        ("engine", "from .. import cli"),
    ],
)
def test_checker_flags_an_import_from_below(unit: str, code: str) -> None:
    assert len(misplaced(unit, code)) == 1


def test_checker_allows_imports_from_above_and_beside() -> None:
    code = (
        "import gesso\nfrom gesso import recipe, __version__\nfrom gesso.engine.track import Meter\nimport torch.nn\n"
    )
    assert misplaced("engine", code) == []


@pytest.mark.parametrize(
    "code",
    [
        "torch.cuda.synchronize()",
        "torch.backends.cudnn.benchmark = True",
        "if device.type == 'cuda': pass",
        "x = [d for d in devices if d.type != 'cpu']",
        "y = device.type in ('mps', 'xpu')",
        "str(device).startswith('cuda')",
        "match kind:\n    case 'hpu': pass",
    ],
)
def test_checker_flags_a_device_by_name(code: str) -> None:
    assert len(devices_named(code)) == 1


@pytest.mark.parametrize(
    "code",
    [
        "import resource",
        "def f():\n    from fcntl import flock",
        "import os\nn = len(os.sched_getaffinity(0))",
        "signal.signal(signal.SIGHUP, f)",
    ],
)
def test_checker_flags_what_windows_lacks(code: str) -> None:
    assert len(only_on_unix(code)) == 1


def test_checker_allows_what_windows_lacks_where_the_system_was_asked() -> None:
    guarded = 'if sys.platform != "win32":\n    import resource\n'
    inside = 'def f():\n    if sys.platform == "win32":\n        return 1\n    else:\n        return os.getuid()\n'
    assert only_on_unix(guarded + inside + "signal.SIGTERM\nos.cpu_count()\n") == []


def test_checker_allows_the_host_as_a_place() -> None:
    assert devices_named("torch.load(path, map_location='cpu')\nt.cpu()\nx == 'fp32'") == []


def test_torchvision_is_no_dependency() -> None:
    project = (SOURCE.parents[1] / "pyproject.toml").read_text()
    assert "torchvision" not in project


def test_no_torch_before_a_command_needs_it() -> None:
    modules = "gesso.cli, gesso.errors, gesso.parsing, gesso.progress, gesso.recipe, gesso.recipes"
    heavy = "{'torch', 'numpy', 'PIL', 'accelerate'}"
    code = f"import sys, {modules}; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
