"""How often somebody may be wrong, or have a mail sent, before they must wait: counted in the cache, for a while."""

import contextlib
import logging
from dataclasses import dataclass
from hashlib import sha256

import redis
from django.core.cache import cache

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limit:
    """So many attempts of one kind within so many seconds. An attempt counts as it begins: many at once count, too.

    While the cache is away nothing is counted: passwords are then let through, codes of six digits are not (`strict`).
    """

    what: str
    times: int
    seconds: int
    strict: bool = False

    @property
    def minutes(self) -> int:
        return self.seconds // 60

    def take(self, *who: object) -> bool:
        """Count one attempt; whether it may be made."""
        try:
            cache.add(self._key(who), 0, self.seconds)
            return int(cache.incr(self._key(who))) <= self.times
        except ValueError:  # the count ended between the two
            return True
        except redis.RedisError:
            log.warning("attempts can't be counted: the cache does not answer", extra={"limit": self.what})
            return not self.strict

    def give_back(self, *who: object) -> None:
        """The attempt was right, so it does not count."""
        with contextlib.suppress(redis.RedisError, ValueError):
            cache.decr(self._key(who))

    def _key(self, who: tuple[object, ...]) -> str:
        return f"{self.what}:{sha256(repr([str(part) for part in who]).encode()).hexdigest()}"


PASSWORDS = Limit("wrong-password", 8, 15 * 60)  # by name and address
CODES = Limit("wrong-code", 8, 15 * 60, strict=True)  # by person, from wherever
PASSKEYS = Limit("wrong-passkey", 20, 15 * 60)  # by address
RESETS_ASKED = Limit("reset-asked", 10, 60 * 60)  # by address
SIGN_UPS = Limit("sign-up", 10, 60 * 60)  # by address
MAILS = Limit("mail", 3, 60 * 60)  # by mailbox: nobody's is filled with ours
LINKS_TRIED = Limit("mailed-link", 20, 15 * 60)  # by address
