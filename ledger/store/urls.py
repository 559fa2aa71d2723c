"""Connection strings: libpq's `key=value` words or `postgresql://` URLs, as the configuration gives them."""

from __future__ import annotations

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.store.errors import DatabaseMisconfigured


def connection_string(url: str, **settings: str | int) -> str:
    """The connection string with these settings added; `options` come after those that it has.

    Raises DatabaseMisconfigured for what libpq does not understand, without quoting it: it may hold a
    password.
    """
    try:
        if "options" in settings:
            given = conninfo_to_dict(url).get("options")
            settings["options"] = " ".join(str(one) for one in (given, settings["options"]) if one)
        return make_conninfo(url, **settings)
    except psycopg.ProgrammingError:
        raise DatabaseMisconfigured("libpq does not understand the connection string") from None
