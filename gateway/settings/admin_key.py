"""The admin key: configured, or made at the first start. There is no default one."""

from __future__ import annotations

from typing import Final

from gateway.policy_file.document import DocumentFault, Fault
from gateway.settings.key_file import KeyUnusable, read_key
from gateway.settings.shape import Secret, Settings

_FILE: Final = "admin.key"
_ADVICE: Final = "the admin key can't be kept here: set SCOPEGATE_ADMIN__KEY, or another store.data_dir"


def ensure_admin_key(settings: Settings) -> Secret:
    """The admin key: of the settings, else of ``data_dir/admin.key``, which is made with mode 0600 if it is not there.

    DocumentFault with one plain line if it can't be read or made, if it is too short, or if every user of the machine may read it.
    """
    if settings.admin.key is not None:
        return settings.admin.key
    try:
        return read_key(settings.store.data_dir / _FILE, _ADVICE, make=True)
    except KeyUnusable as why:
        raise DocumentFault([Fault(str(why.path), 0, 0, why.message)]) from None
