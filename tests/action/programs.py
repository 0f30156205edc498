"""What stands in for Python, pip and hfscan in the steps of the action."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cli.support import QUICK_TEST

PYTHON = """#!/usr/bin/env bash
set -e
[ "$1 $2 $3" = "-I -m venv" ]
mkdir -p "$4/bin"
printf '#!/usr/bin/env bash\\nprintf "%%s\\\\n" "$*" >> "{log}"\\n' > "$4/bin/pip"
ln -s "{program}" "$4/bin/hfscan"
ln -s "{hf}" "$4/bin/hf"
chmod +x "$4/bin/pip"
"""
"""A Python whose virtual environments have a pip that only writes its arguments down."""

CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as server:
    server.connect({address!r})
    said = json.dumps([sys.argv, os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(said).to_bytes(8, "big")], [0, 1, 2])
    server.sendall(said)
    code = int(server.recv(16) or b"99")
os.kill(os.getpid(), -code) if code < 0 else sys.exit(code)
"""
"""hfscan that asks a `Warm` one."""

FAKE = """#!{python}
import json, os, sys
from pathlib import Path
with Path({record!r}).open("a") as record:
    hidden = {{"INPUT_TOKEN", "GITHUB_TOKEN"}} & set(os.environ)
    print(json.dumps([sys.argv[1:], os.environ.get("HF_TOKEN"), sorted(hidden)]), file=record)
if sys.argv[1] == "action":
    from hfscan.cli import main
    main()
known = json.loads(Path({says!r}).read_text())
says = known.get(sys.argv[-1], known[sys.argv[1]])
sys.stdout.write(says.get("out", ""))
sys.stdout.flush()
sys.stderr.write(says.get("err", ""))
for argument in sys.argv:
    form, _, file = argument.removeprefix("--output=").partition("=")
    if argument.startswith("--output=") and form in says.get("files", {{}}):
        Path(file).write_text(says["files"][form])
for file, text in says.get("writes", {{}}).items():
    Path(file).parent.mkdir(exist_ok=True)
    Path(file).write_text(text)
if says["code"] < 0:
    os.kill(os.getpid(), -says["code"])
sys.exit(says["code"])
"""
"""hfscan whose audits and repairs do what a file says; ``hfscan action`` is the real one."""


def script(path: Path, text: str) -> Path:
    """Write a program."""
    path.write_text(text)
    path.chmod(0o755)
    return path


def scripts() -> Path:
    """Where the programs of this Python are."""
    return Path(sysconfig.get_path("scripts"))


def fake_python(folder: Path, program: Path) -> Path:
    """A Python that installs ``program`` as hfscan; pip's arguments are in ``pip.log``."""
    text = PYTHON.format(log=folder / "pip.log", program=program, hf=scripts() / "hf")
    return script(folder / "python3", text)


def fake_hfscan(folder: Path, says: Mapping[str, Any]) -> Path:
    """A hfscan that does what it is told; its calls are in ``calls``."""
    (folder / "says.json").write_text(json.dumps(says))
    record, said = str(folder / "calls"), str(folder / "says.json")
    return script(folder / "hfscan", FAKE.format(python=sys.executable, record=record, says=said))


SERVER = """
import json, os, signal, socket, sys
import hfscan.cli.loading, hfscan.data, hfscan.hub.push, hfscan.pipeline, hfscan.pipeline.testing, hfscan.report
from hfscan.cli import main
from hfscan.model_tests import MaximumMargin

address, (starts, steps), more = json.loads(sys.argv[1])
hfscan.pipeline.testing.TESTS = {"maximum-margin": lambda _: MaximumMargin(starts=starts, steps=steps)}

def serve(client):
    head, descriptors, _, _ = socket.recv_fds(client, 8, 3)
    said = client.recv(int.from_bytes(head, "big"), socket.MSG_WAITALL)
    arguments, folder, environment = json.loads(said)
    if child := os.fork():
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        client.sendall(str(code).encode())
        os._exit(0)
    for number, descriptor in enumerate(descriptors):
        os.dup2(descriptor, number)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv = [*arguments[:2], *more.get(arguments[1], []), *arguments[2:]]
    try:
        main()
    except SystemExit as exit:
        sys.stdout.flush()
        os._exit(exit.code)

server = socket.socket(socket.AF_UNIX)
server.bind(address)
server.listen()
print("ready", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    client, _ = server.accept()
    if os.fork() == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        serve(client)
    client.close()
"""


@contextmanager
def warm_hfscan(
    folder: Path, environment: Mapping[str, str], more: Mapping[str, Sequence[str]]
) -> Iterator[Path]:
    """A hfscan that has imported everything already: each of its runs is a copy of one process.

    Args:
        folder: Where to put it.
        environment: At import, where the Hub's clients read theirs.
        more: Command -> further arguments.
    """
    address = str(folder / "socket")
    said = json.dumps([address, [QUICK_TEST.starts, QUICK_TEST.steps], more])
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, said], env=environment, stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        assert server.stdout.readline() == "ready\n"
        yield script(folder / "hfscan", CLIENT.format(python=sys.executable, address=address))
    finally:
        server.kill()
        server.wait()
        server.stdout.close()
