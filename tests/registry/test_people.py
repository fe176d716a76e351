"""People are encrypted under keys of their own; without the key nobody reads them."""

from pathlib import Path

import pytest

from registry.acts import Done
from registry.errors import RecordError
from registry.journal import Kind, decode_frame
from registry.log import LocalLog
from registry.offices import OFFICES, PERSON, PERSON_KEY
from registry.offline import seed_store
from registry.particulars import Person
from registry.people import Unreadable, encipher, find_person
from registry.replay import replay
from registry.store import Store
from tests.registry.builders import ADMIN, PREFIX, ROOT, STRANGER, admin_value, open_store
from tests.registry.office import (
    NOW_MS,
    OPERATOR,
    REVIEWER,
    act,
    application,
    do,
    problems_of,
    refused,
)

CLEAR = [b"Li Lei", b"Han Meimei", b"lilei@example.cn", b"5550 0100"]


@pytest.fixture
def office(tmp_path: Path) -> Store:
    folder = tmp_path / "office"
    homed = [b"0.NA/0.NA", PREFIX]
    seed_store(folder, {b"0.NA/0.NA": [admin_value(ROOT)], PREFIX: [admin_value()]}, homed,
               now_s=NOW_MS // 1000)  # fmt: skip
    store = open_store(folder)
    do(store, "applications.apply", application(), None)
    return store


def subjects(store: Store) -> list[bytes]:
    with store.read() as view:
        return [key[1:] for key, _ in view.table(OFFICES).items(prefix=PERSON)]


def test_a_reviewer_reads_people_and_that_is_logged(office: Store) -> None:
    outcome = act(office, "applications.show", {"number": 1, "people": True}, REVIEWER)
    assert isinstance(outcome, Done)
    people = outcome.result["people"]
    assert [(each["part"], each["name"]) for each in people] == [
        ("legal person", "Han Meimei"), ("contact", "Li Lei")
    ]  # fmt: skip
    assert people[1]["email"] == "lilei@example.cn"
    assert sorted(outcome.notes) == sorted(
        f"300:88.118/REVIEWER reads person {each['subject']}" for each in people
    )


def test_what_is_shown_without_asking_for_people_is_not_logged_and_says_nothing(
    office: Store,
) -> None:
    outcome = act(office, "applications.show", {"number": 1}, REVIEWER)
    assert isinstance(outcome, Done)
    assert outcome.notes == ()
    assert not [word for word in CLEAR if word.decode() in str(outcome.result)]


def test_journal_and_store_hold_nobody_in_clear(office: Store) -> None:
    with office.read() as view:
        frames = [decode_frame(frame) for _, frame in view.frames()]
        entries = list(view.table(OFFICES).items())
        keys = [value for key, value in entries if key[:1] == PERSON_KEY]
    octets = b"".join(op.payload for frame in frames for op in frame.operations)
    assert any(op.kind == Kind.PERSON for frame in frames for op in frame.operations)
    stored = b"".join(value for _, value in entries)
    assert not [word for word in CLEAR if word in octets or word in stored]
    assert len(keys) == 2
    assert not [key for key in keys if key in octets]
    assert len(set(keys)) == 2


def test_an_erased_person_cannot_be_read_and_the_journal_stays_whole(office: Store) -> None:
    _, subject = subjects(office)
    with office.read() as view:
        before = [frame for _, frame in view.frames()]
        ciphertext = view.table(OFFICES).get(PERSON + subject)
    told = do(office, "people.erase", {"subject": subject.hex()})
    assert told["subject"] == subject.hex()
    with office.read() as view:
        assert find_person(view, subject) is Unreadable.ERASED
        assert view.table(OFFICES).get(PERSON_KEY + subject) is None
        after = [frame for _, frame in view.frames()]
    assert after[: len(before)] == before
    payloads = b"".join(op.payload for frame in before for op in decode_frame(frame).operations)
    assert ciphertext is not None
    assert ciphertext in payloads
    shown = do(office, "applications.show", {"number": 1, "people": True})
    states = {each["subject"]: each.get("state") for each in shown["people"]}
    assert states[subject.hex()] == "erased"
    assert len([state for state in states.values() if state is None]) == 1
    assert do(office, "people.erase", {"subject": subject.hex()}) == told
    assert problems_of(office) == []


def test_a_replay_has_the_ciphertext_and_no_key(office: Store, tmp_path: Path) -> None:
    with open_store(tmp_path / "replica") as replica:
        with office.read() as view, replica.write(journaled=False) as writer:
            for _, frame in view.frames():
                replay(writer, decode_frame(frame).operations)
        for subject in subjects(office):
            with office.read() as view, replica.read() as other:
                key = PERSON + subject
                assert other.table(OFFICES).get(key) == view.table(OFFICES).get(key)
                assert find_person(other, subject) is Unreadable.NO_KEY
    assert problems_of(office) == []


def test_a_sealed_snapshot_rebuilds_the_office(office: Store) -> None:
    do(office, "applications.approve", {"number": 1, "mode": "hosted"})
    do(office, "prefixes.suspend", {"prefix": "88.118.5", "reason": "unpaid"})
    do(office, "quotas.set", {"prefix": "88.118", "requestsPerDay": 9})
    do(office, "people.erase", {"subject": subjects(office)[0].hex()})
    assert problems_of(office) == []
    with office.write() as view:
        log = LocalLog(view)
        sealed = log.seal_snapshot(NOW_MS)
        log.trim(0, sealed.seq)
    assert problems_of(office) == []
    do(office, "prefixes.resume", {"prefix": "88.118.5"})
    assert problems_of(office) == []


def test_a_changed_entry_is_found(office: Store) -> None:
    subject = subjects(office)[0]
    with office.write(journaled=False) as view:
        view.writable(OFFICES).put(PERSON + subject, b"\x93\x01\x00\xc4\x01x")
    assert any("prefix office" in each for each in problems_of(office))


@pytest.mark.parametrize("identity", [None, STRANGER, ADMIN, OPERATOR])
def test_only_reviewers_and_administrators_erase(office: Store, identity: object) -> None:
    subject = subjects(office)[0].hex()
    code, _ = refused(office, "people.erase", {"subject": subject}, identity)  # type: ignore[arg-type]
    assert code == (402 if identity is None else 400)
    with office.read() as view:
        assert isinstance(find_person(view, bytes.fromhex(subject)), Person)


@pytest.mark.parametrize("subject", ["", "zz", "00" * 16, "00" * 15, "00" * 300, 5, None])
def test_nobody_else_is_erased(office: Store, subject: object) -> None:
    assert refused(office, "people.erase", {"subject": subject})[0] in (100, 202)


def test_a_ciphertext_under_another_name_or_changed_is_not_believed(empty: Store) -> None:
    one, two = (encipher(Person(name=name)) for name in ("Li Lei", "Han Meimei"))
    ((_, value),) = one.journaled
    damaged = value[:-1] + bytes([value[-1] ^ 1])
    with empty.write(journaled=False) as view:
        table = view.writable(OFFICES)
        table.put(PERSON + two.subject, value)
        table.put(PERSON_KEY + two.subject, one.own[0][1])
        table.put(PERSON + one.subject, damaged)
        table.put(*one.own[0])
        for subject in (one.subject, two.subject):
            with pytest.raises(RecordError, match="does not decode"):
                find_person(view, subject)
        assert find_person(view, bytes(16)) is None
