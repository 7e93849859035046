"""Names of files in the data folder that more than one part of the control plane uses."""

from __future__ import annotations

from typing import Final

KEY_FILE: Final = "admin.key"
URL_FILE: Final = "api.url"
"""The control process writes its real address here: the port may be one that the system chose."""
SWITCH_SOCKET: Final = "switch.sock"
LOCK_FILE: Final = "control.lock"
"""Held by the one control process that works on the folder; the kernel lets it go with the process."""
