"""Every key of the store, by name. A token's own keys share a hash tag, ``{id}``, and so a slot: one script changes both."""

from __future__ import annotations


class Keys:
    """Key names below one prefix (``store.prefix``, "sg:" unless set)."""

    __slots__ = (
        "audit",
        "awaited",
        "confirmed",
        "decisions",
        "due",
        "ends",
        "ids",
        "last_used",
        "last_used_from",
        "live_prefix",
        "meta",
        "notices",
        "prefix",
        "reuse",
        "swept",
        "workers",
    )

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.meta = f"{prefix}meta"  # string: the store's id, made at the first start
        self.ids = f"{prefix}ids"  # sorted set: token id by time of creation
        self.workers = f"{prefix}workers"  # sorted set: NODE/WORKER by the time until which it may trust its cache
        self.confirmed = f"{prefix}confirmed"  # channel: "ID VERSION NODE/WORKER" when a worker has dropped what a change made wrong
        self.audit = f"{prefix}audit"  # stream: the audit log, each entry with its number, text, hash, signature and key
        self.decisions = f"{prefix}decisions"  # stream: the last refused requests, each by its request id, and why
        self.live_prefix = f"{prefix}live:"
        self.last_used = f"{prefix}use:last"  # sorted set: token id by time of last use
        self.last_used_from = f"{prefix}use:from"  # hash: token id -> address of the last use
        self.reuse = f"{prefix}use:reuse"  # hash: token id -> the last use of a secret that had ended
        self.awaited = f"{prefix}use:awaited"  # hash: token id -> the notice that its first use is worth
        self.ends = f"{prefix}ends"  # sorted set: token id by expiry
        self.due = f"{prefix}notice:due"  # sorted set: notice id by the time from which it is to be seen to
        self.notices = f"{prefix}notice:what"  # hash: notice id -> what it is about
        self.swept = f"{prefix}notice:swept"  # hash: days before an expiry -> up to when such notices were made

    def live(self, token_id: str) -> str:
        """String: what a decision needs, until the token's end."""
        return f"{self.prefix}live:{{{token_id}}}"

    def info(self, token_id: str) -> str:
        """Hash: the whole record, until 90 days past the end."""
        return f"{self.prefix}info:{{{token_id}}}"

    def owner(self, subject: str) -> str:
        """Sorted set: ids of an owner's tokens by time of creation."""
        return f"{self.prefix}owner:{subject}"

    def session(self, name: str) -> str:
        """String: a browser session (``session:DIGEST``), an unused sign-in link (``link:DIGEST``), or what may be once (``once:DIGEST``), until its end."""
        return f"{self.prefix}{name}"

    def sessions(self, subject: str) -> str:
        """Sorted set: the names of a subject's sessions and links by the time of their end."""
        return f"{self.prefix}sessions:{subject}"

    def used(self, token_id: str, day: int) -> str:
        """Hash: one day's (days since 1970, UTC) counts of a token, kept 35 days."""
        return f"{self.prefix}use:day:{token_id}:{day}"

    def refused(self, token_id: str) -> str:
        """List: the last refusals of a token, newest first, kept 7 days."""
        return f"{self.prefix}use:refused:{token_id}"

    def reused(self, token_id: str, address: str) -> str:
        """String: such a reuse was told of within the last minute."""
        return f"{self.prefix}use:reused:{token_id}:{address}"

    def limit(self, name: str) -> str:
        """String: the state of one rate limit, gone once it is full again."""
        return f"{self.prefix}limit:{name}"

    def once(self, digest: str) -> str:
        """String: the call that was begun with an idempotency key, for 24 hours."""
        return f"{self.prefix}once:{digest}"
