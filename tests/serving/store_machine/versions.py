"""Which versions there are, against a dictionary of what each replaced."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis.stateful import initialize, invariant, precondition, rule

from features.errors import InputError
from serving.publishing import Publisher
from tests.serving.store_machine.items import SaidItems
from tests.serving.store_machine.machine import KEEP


class Versions(SaidItems):
    """Versions are published, tried, rolled back and broken."""

    @initialize()
    def begin(self) -> None:
        self.publish(0)

    @rule(which=st.integers(0, 2))
    def publish(self, which: int) -> None:
        version = self.models[which].version
        done = self.publisher.publish(self.models[which])
        if version == self.current:
            assert done.n_keys == 0
            return
        assert done.previous == self.current
        self.before[version] = self.current
        self.current = version
        self.retire()
        self.tried = None if self.tried == version else self.tried
        self.prune([one for one in self.models if one.version in self.whole])

    @rule()
    def roll_back(self) -> None:
        to = self.before.get(self.current or "")
        if to not in self.before:
            with pytest.raises(InputError):
                self.publisher.rollback()
        else:
            assert self.publisher.rollback() == (self.current, to)
            self.current = to
            self.tried = None if self.tried == to else self.tried

    @rule(which=st.integers(0, 2))
    def try_a_version(self, which: int) -> None:
        version = self.models[which].version
        if version == self.current:
            with pytest.raises(InputError, match="current already"):
                self.publisher.shadow(self.models[which], 0.5)
        else:
            self.publisher.shadow(self.models[which], 0.5)
            if self.tried not in (None, version):
                self.retire()
            self.tried = version

    @rule()
    def end_the_trial(self) -> None:
        if self.tried is None:
            with pytest.raises(InputError, match="nothing to stop"):
                self.publisher.end_shadow()
        else:
            assert self.publisher.end_shadow() == self.tried
            self.retire()
            self.tried = None

    @precondition(lambda self: len(self.before) > 1)
    @rule()
    def roll_back_to_a_broken_version(self) -> None:
        to = self.before.get(self.current or "")
        if to not in self.before:
            return
        name = self.keys.similar(to, "i0")
        value = self.client.getdel(name)
        with pytest.raises(InputError, match="lacks keys"):
            self.publisher.rollback()
        self.client.set(name, value)

    @rule(which=st.integers(0, 2))
    def publish_into_a_server_without_room(self, which: int) -> None:
        if self.models[which].version not in (self.current, self.tried):
            with pytest.raises(InputError, match="budget"):
                Publisher(self.client, state_dir=self.folder, keep=KEEP, memory_budget=1).publish(self.models[which])

    @invariant()
    def versions_are_whole_or_gone(self) -> None:
        assert self.publisher.current() == self.current
        assert self.client.smembers(self.keys.versions) == {version.encode() for version in self.whole}
        stored = {
            name: self.client.get(name)
            for kind in ("sim", "item", "feed")
            for name in self.client.scan_iter(f"rs:*:{kind}:*", count=1000)
        }
        kept = [(one, made) for one, made in zip(self.models, self.made, strict=True) if one.version in self.whole]
        assert stored == {name.encode(): value for _, made in kept for name, value in made.items()}

    @invariant()
    def a_worker_reads_what_is_current(self) -> None:
        version, forgotten = self.run(self.store.probe("0-0"))
        assert version == self.current
        assert [user for _, user in forgotten] == self.forgotten
        made = next(made for one, made in zip(self.models, self.made, strict=True) if one.version == version)
        assert self.run(self.store.similar(version, "i0")) == made[self.keys.similar(version, "i0")]
        assert self.run(self.store.user("u0", version)).published == made[self.keys.feed(version, "u0")]

    @property
    def whole(self) -> set[str]:
        """Versions that have keys: those that a rollback may return to, and the one that is tried."""
        return set(self.before) | ({self.tried} - {None})

    def retire(self) -> None:
        """What a rollback has left goes with the next version that goes."""
        kept = [self.current, self.before[self.current or ""]][: KEEP + 1]
        self.before = {one: of for one, of in self.before.items() if one in kept}
