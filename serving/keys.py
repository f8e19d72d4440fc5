"""Every Redis key of the product; no other file spells one.

One user's keys share a hash tag, so that they lie in one slot of a cluster: their events are applied in one atomic
step. The keys of several users, of a list's items, and the streams lie where they fall.
"""

from __future__ import annotations

from functools import cached_property


def tag(user_id: str) -> str:
    """A user id that can stand between the braces of a hash tag: no braces inside, and not empty."""
    return user_id.replace("%", "%25").replace("{", "%7B").replace("}", "%7D") or "%"


class Keys:
    """The keys of one tenant.

    Every key begins with the tenant's root and a colon, and no tenant's name holds a colon, so the keys of two tenants
    never meet; in a Redis ACL, `~rs@NAME:*` is all of one tenant's.

    Args:
        tenant: its name; "": the service has one shop.
    """

    def __init__(self, tenant: str = "") -> None:
        self.root = f"rs@{tenant}" if tenant else "rs"

    @cached_property
    def current(self) -> str:
        """String: the version that workers answer from."""
        return f"{self.root}:current"

    @cached_property
    def versions(self) -> str:
        """Set: every version that has keys and no expiry."""
        return f"{self.root}:versions"

    @cached_property
    def publishing(self) -> str:
        """String with expiry: who is publishing; two cannot at once. In one slot with `current`, which only who holds
        this may write.
        """
        return f"{self.root}:publishing:{{{self.current}}}"

    @cached_property
    def restoring(self) -> str:
        """String with expiry: the worker that has a lost version published again."""
        return f"{self.root}:restoring"

    @cached_property
    def history(self) -> str:
        """Hash: until when Redis remembers, and what was put back that it had lost; see `serving/history/`."""
        return f"{self.root}:history"

    @cached_property
    def returning(self) -> str:
        """String with expiry: the near-line worker that puts back what Redis has lost of users and counters."""
        return f"{self.root}:returning"

    @cached_property
    def returned(self) -> str:
        """Hash with expiry: how far it has come."""
        return f"{self.root}:returned"

    @cached_property
    def shadow(self) -> str:
        """Hash: the version that is tried on live traffic, the share of requests, since when."""
        return f"{self.root}:shadow"

    @cached_property
    def events(self) -> str:
        """Stream: every accepted event."""
        return f"{self.root}:events"

    @cached_property
    def impressions(self) -> str:
        """Stream: every answer, with the probability of each slot."""
        return f"{self.root}:impressions"

    @cached_property
    def forgotten(self) -> str:
        """Stream: users whose live state was deleted, so that every worker drops its copy."""
        return f"{self.root}:forgotten"

    @cached_property
    def rules(self) -> str:
        """Hash: the rule sets of the shop, every version, and which is active; see `serving/documents.py`."""
        return f"{self.root}:rules"

    @cached_property
    def experiments(self) -> str:
        """Hash: the experiments, likewise."""
        return f"{self.root}:experiments"

    @cached_property
    def stopped(self) -> str:
        """Hash: experiments that a guard-rail has stopped, with what it found, JSON."""
        return f"{self.root}:experiments:stopped"

    @cached_property
    def erasing(self) -> str:
        """Sorted set: users whose entries are still to be deleted from the streams, by the millisecond of asking."""
        return f"{self.root}:erasing"

    @cached_property
    def erasing_lock(self) -> str:
        """String with expiry: a worker is at it."""
        return f"{self.root}:erasing:lock"

    @cached_property
    def items(self) -> str:
        """Set: items that were changed since some model was trained."""
        return f"{self.root}:{{items}}"

    @cached_property
    def item_changes(self) -> str:
        """Stream: which items changed, so that every worker takes it in."""
        return f"{self.root}:{{items}}:changes"

    def added(self, key: str, writer: str) -> str:
        """String with expiry: the last batch of a worker that was added to a key; in one slot with it."""
        return f"{self.root}:added:{{{key}}}:{writer}"

    def counters(self, experiment: str, arm: str) -> str:
        """Hash: what an arm showed and what came of it, numbers."""
        return f"{self.root}:counters:{experiment}:{arm}"

    def shadow_tally(self, version: str) -> str:
        """Hash: how a shadowed version compares, sums by surface and name; it expires with the version."""
        return f"{self.root}:{version}:shadow"

    def shadow_items(self, version: str, side: str) -> str:
        """HyperLogLog: the items that the shadowed ("shadow") and the current version ("live") showed."""
        return f"{self.root}:{version}:shadow:{side}"

    def attributed(self, experiment: str, arm: str) -> str:
        """Hash: what an arm showed and which clicks came of just that; in one slot with the impressions."""
        return f"{self.root}:attributed:{{{self.impressions}}}:arm:{experiment}:{arm}"

    def shown(self, recommendation_id: str) -> str:
        """String with expiry: an answer that clicks may name, JSON."""
        return f"{self.root}:attributed:{{{self.impressions}}}:shown:{recommendation_id}"

    def clicked(self, recommendation_id: str, item_id: str) -> str:
        """String with expiry: this click has been counted; "" for any of the answer."""
        return f"{self.root}:attributed:{{{self.impressions}}}:clicked:{recommendation_id}:{item_id}"

    @cached_property
    def appeal(self) -> str:
        """Hash: how each item does where it is shown, by scenario, packed counts; in one slot with the impressions."""
        return f"{self.root}:appeal:{{{self.impressions}}}:items"

    @cached_property
    def appeal_changed(self) -> str:
        """Sorted set: fields of `appeal` that changed, by the millisecond of the last change; where the clock was put
        back, by that of the change before it.
        """
        return f"{self.root}:appeal:{{{self.impressions}}}:changed"

    @cached_property
    def appeal_about(self) -> str:
        """String: how they are counted, JSON."""
        return f"{self.root}:appeal:{{{self.impressions}}}:about"

    def item_now(self, item_id: str) -> str:
        """Hash: what was said of an item since some model was trained, field by field, and the vectors made of it."""
        return f"{self.root}:{{items}}:now:{item_id}"

    def item_picture(self, item_id: str) -> str:
        """String: an item's picture, as it was sent."""
        return f"{self.root}:{{items}}:picture:{item_id}"

    def rate(self, key_name: str) -> str:
        """Hash with expiry: the tokens left of an API key, and as of when."""
        return f"{self.root}:rate:{key_name}"

    def meta(self, version: str) -> str:
        """Hash: bundle path, number of items, previous version, time of publishing."""
        return f"{self.root}:{version}:meta"

    def loaded(self, version: str) -> str:
        """Hash, while a version is being loaded: block of items or users → what its values hash to."""
        return f"{self.root}:{version}:loaded"

    def similar(self, version: str, item_id: str) -> str:
        """String: the packed list of similar items."""
        return f"{self.root}:{version}:sim:{item_id}"

    def item(self, version: str, item_id: str) -> str:
        """String: the item as the API shows it, JSON."""
        return f"{self.root}:{version}:item:{item_id}"

    def feed(self, version: str, user_id: str) -> str:
        """String: the packed list published for a user known from training."""
        return f"{self.root}:{version}:feed:{user_id}"

    def vectors(self, version: str) -> str:
        """Vector set: the items' vectors, by row number; see `serving/vectors.py`."""
        return f"{self.root}:{version}:vectors"

    def of_version(self, version: str) -> str:
        """Pattern of every key of a version."""
        return f"{self.root}:{version}:*"

    def recent(self, user_id: str) -> str:
        """List: a user's recent events, newest first, JSON."""
        return f"{self.root}:user:{{{tag(user_id)}}}:recent"

    def seen(self, user_id: str) -> str:
        """Sorted set: items the user had to do with, by time."""
        return f"{self.root}:user:{{{tag(user_id)}}}:seen"

    def bought(self, user_id: str) -> str:
        """Sorted set: items the user bought, by time."""
        return f"{self.root}:user:{{{tag(user_id)}}}:bought"

    def profile(self, user_id: str) -> str:
        """Hash: what the shop says of a user, attribute to values, JSON."""
        return f"{self.root}:user:{{{tag(user_id)}}}:profile"

    def stamp(self, user_id: str) -> str:
        """String: another one after each change of what is kept of a user."""
        return f"{self.root}:user:{{{tag(user_id)}}}:stamp"

    def forgotten_until(self, user_id: str) -> str:
        """String with expiry: ms by Redis' clock up to which nothing of a user may be put back."""
        return f"{self.root}:user:{{{tag(user_id)}}}:forgotten"

    def event(self, user_id: str, event_id: str) -> str:
        """String with expiry: this event has been applied."""
        return f"{self.root}:user:{{{tag(user_id)}}}:event:{event_id}"
