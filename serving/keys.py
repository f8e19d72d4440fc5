"""Every Redis key of the product; no other file spells one.

One user's keys share a hash tag, so that they lie in one slot of a cluster: their events are applied in one atomic
step. The keys of several users, of a list's items, and the streams lie where they fall.
"""

from __future__ import annotations

CURRENT = "rs:current"
"""String: the version that workers answer from."""
VERSIONS = "rs:versions"
"""Set: every version that has keys and no expiry."""
PUBLISHING = "rs:publishing"
"""String with expiry: who is publishing; two cannot at once."""
EVENTS = "rs:events"
"""Stream: every accepted event."""
IMPRESSIONS = "rs:impressions"
"""Stream: every answer, with the probability of each slot."""
FORGOTTEN = "rs:forgotten"
"""Stream: users whose live state was deleted, so that every worker drops its copy."""
RULES = "rs:rules"
"""Hash: the rule sets of the shop, every version, and which is active; see `serving/documents.py`."""
EXPERIMENTS = "rs:experiments"
"""Hash: the experiments, likewise."""
STOPPED = "rs:experiments:stopped"
"""Hash: experiments that a guard-rail has stopped, with what it found, JSON."""


def counters(experiment: str, arm: str) -> str:
    """Hash: what an arm showed and what came of it, numbers."""
    return f"rs:counters:{experiment}:{arm}"


ERASING = "rs:erasing"
"""Sorted set: users whose entries are still to be deleted from the streams, by the millisecond they asked for it."""
ERASING_LOCK = "rs:erasing:lock"
"""String with expiry: a worker is at it."""
ITEMS = "rs:{items}"
"""Set: items that were changed since some model was trained."""
ITEM_CHANGES = "rs:{items}:changes"
"""Stream: which items changed, so that every worker takes it in."""


def item_now(item_id: str) -> str:
    """Hash: what was said of an item since some model was trained, field by field, and the vectors made of it."""
    return f"rs:{{items}}:now:{item_id}"


def item_picture(item_id: str) -> str:
    """String: an item's picture, as it was sent."""
    return f"rs:{{items}}:picture:{item_id}"


def tag(user_id: str) -> str:
    """A user id that can stand between the braces of a hash tag: no braces inside, and not empty."""
    return user_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"


def meta(version: str) -> str:
    """Hash: bundle path, number of items, previous version, time of publishing."""
    return f"rs:{version}:meta"


def similar(version: str, item_id: str) -> str:
    """String: the packed list of similar items."""
    return f"rs:{version}:sim:{item_id}"


def item(version: str, item_id: str) -> str:
    """String: the item as the API shows it, JSON."""
    return f"rs:{version}:item:{item_id}"


def feed(version: str, user_id: str) -> str:
    """String: the packed list published for a user known from training."""
    return f"rs:{version}:feed:{user_id}"


def of_version(version: str) -> str:
    """Pattern of every key of a version."""
    return f"rs:{version}:*"


def recent(user_id: str) -> str:
    """List: a user's recent events, newest first, JSON."""
    return f"rs:user:{{{tag(user_id)}}}:recent"


def seen(user_id: str) -> str:
    """Sorted set: items the user had to do with, by time."""
    return f"rs:user:{{{tag(user_id)}}}:seen"


def bought(user_id: str) -> str:
    """Sorted set: items the user bought, by time."""
    return f"rs:user:{{{tag(user_id)}}}:bought"


def profile(user_id: str) -> str:
    """Hash: what the shop says of a user, attribute to values, JSON."""
    return f"rs:user:{{{tag(user_id)}}}:profile"


def event(user_id: str, event_id: str) -> str:
    """String with expiry: this event has been applied."""
    return f"rs:user:{{{tag(user_id)}}}:event:{event_id}"
