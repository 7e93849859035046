"""A baresip in a process of its own: a user's phone that registers over TLS and answers what rings, or calls."""

from __future__ import annotations

import os
import subprocess
import time
import wave
from pathlib import Path

from tests.e2e.peer import Address

CONFIG = """\
poll_method epoll
net_interface {host}
sip_listen {host}:{port}
sip_cafile {root}
rtp_timeout 0
module_path {modules}
module g711.so
module aufile.so
module_tmp account.so
module_app menu.so
audio_source aufile,{folder}/said.wav
audio_player aufile,{folder}/heard.wav
audio_alert aufile,{folder}/alert.wav
"""
SPEECH_S = 20
MODULES = Path("/usr/lib/baresip/modules")


class Baresip:
    """`registrar` is asked over TLS alone. It does not verify, though it reads `root`: Debian's 1.0 cannot."""

    def __init__(
        self, folder: Path, at: Address, user: str, password: str, registrar: Address, root: Path, *commands: str
    ) -> None:
        folder.mkdir()
        modules = next(iter(Path("/usr/lib").glob("*/baresip/modules")), MODULES)
        config = CONFIG.format(host=at[0], port=at[1], root=root, folder=folder, modules=modules)
        (folder / "config").write_text(config)
        account = f"<sip:{user}@{registrar[0]}:{registrar[1]};transport=tls>;auth_pass={password}"
        (folder / "accounts").write_text(f"{account};regint=300;answermode=auto;audio_codecs=PCMA\n")
        (folder / "contacts").write_text("")
        with wave.open(str(folder / "said.wav"), "wb") as said:
            said.setnchannels(1)
            said.setsampwidth(2)
            said.setframerate(8_000)
            said.writeframes(b"\x00\x10\x00\xf0" * 4_000 * SPEECH_S)
        self._log = folder / "baresip.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                ["baresip", "-f", str(folder), "-4", "-v", "-s", *commands],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "HOME": str(folder)},
            )

    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def wait_for(self, text: str, within_s: float = 15.0) -> None:
        ends = time.monotonic() + within_s
        while text not in self.log():
            assert time.monotonic() < ends, f"waited for {text!r}; baresip says:\n{self.log()[-3000:]}"
            time.sleep(0.05)

    def hang_up(self) -> None:
        """It ends its calls at a SIGTERM, and itself."""
        self._process.terminate()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
