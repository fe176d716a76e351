import pytest

from protocol.bodies import ErrorAnswer, ReferralAnswer, ValuesRequest
from protocol.value import Reference
from registry.answers import INDEXES_MAX, TYPES_MAX, Answer, Question, resolve
from registry.outcomes import NOTHING_FOREIGN, Foreign, Need
from registry.prefixes import ancestors, find_referral, is_responsible, prefix_marker
from registry.schema import Record
from registry.store import Store
from tests.registry.builders import (
    ADMIN,
    HANDLE,
    POLICY,
    PREFIX,
    ROOT,
    STRANGER,
    admin_value,
    group,
    hidden,
    put,
    site_value,
    url,
)


@pytest.fixture
def stored(store: Store) -> Store:
    """With 88.118/A: public 5 and 1, hidden 2, secret 3, its administrator."""
    put(store, {HANDLE: [url(5), url(1), hidden(2), hidden(3, 0b0100), admin_value()]})
    return store


def answer(
    store: Store,
    question: Question,
    identity: Reference | None = None,
    foreign: Foreign = NOTHING_FOREIGN,
) -> Answer:
    with store.read() as view:
        found = resolve(view, question, identity, foreign, POLICY)
    assert isinstance(found, Answer)
    return found


def indexes(found: Answer) -> list[int]:
    assert found.response_code == 1, found
    return [value.index for value in found.values]


def test_public_values_come_in_stored_order(stored: Store) -> None:
    assert indexes(answer(stored, Question(b"88.118/a"))) == [5, 1, 100]


def test_filters_are_joined_by_or(stored: Store) -> None:
    assert indexes(answer(stored, Question(HANDLE, (1,), (b"hs_admin",)))) == [1, 100]
    assert indexes(answer(stored, Question(HANDLE, (), (b"hs_admin.",)))) == [100]


def test_nothing_readable_is_200(stored: Store) -> None:
    for question in (
        Question(HANDLE, (77,)),
        Question(HANDLE, (2,)),
        Question(HANDLE, (77,), public_only=False),
        Question(HANDLE, (), (b"EMAIL",)),
    ):
        found = answer(stored, question)
        assert found.response_code == 200
        assert isinstance(found.body(HANDLE), ErrorAnswer)


def test_ours_and_not_stored(stored: Store) -> None:
    found = answer(stored, Question(b"88.118/Nothing"))
    assert found.response_code == 100
    assert b"88.118/Nothing" in found.message


def test_not_ours(stored: Store) -> None:
    found = answer(stored, Question(b"77/A"))
    assert found.response_code == 301
    assert b"77/A" in found.message


def test_a_handle_of_a_prefix_that_is_no_longer_homed_is_not_answered(stored: Store) -> None:
    with stored.write(journaled=False) as view:
        view.unhome(PREFIX)
    assert answer(stored, Question(HANDLE)).response_code == 301


def test_values_that_nobody_may_read(stored: Store) -> None:
    for identity in (None, ADMIN):
        found = answer(stored, Question(HANDLE, (1, 3), public_only=False), identity)
        assert found.response_code == 401
        assert b"index 3" in found.message


def test_values_for_administrators(stored: Store) -> None:
    question = Question(HANDLE, (1, 2), public_only=False)
    assert answer(stored, question).response_code == 402
    assert indexes(answer(stored, question, ADMIN)) == [1, 2]
    assert indexes(answer(stored, question, ROOT)) == [1, 2]
    assert answer(stored, question, STRANGER).response_code == 400


def test_public_values_need_nobody(stored: Store) -> None:
    assert indexes(answer(stored, Question(HANDLE, (1, 5), public_only=False))) == [5, 1]


def test_reading_needs_its_permission(store: Store) -> None:
    put(store, {HANDLE: [hidden(2), admin_value(ADMIN, 0xFFF & ~0x400)]})
    found = answer(store, Question(HANDLE, (2,), public_only=False), ADMIN)
    assert found.response_code == 400


def test_a_session_forces_authentication(stored: Store) -> None:
    question = Question(HANDLE, (1,), public_only=False, in_session=True)
    assert answer(stored, question).response_code == 402
    assert indexes(answer(stored, question, STRANGER)) == [1]


def test_a_foreign_group_may_be_needed_to_read(store: Store) -> None:
    put(store, {HANDLE: [hidden(2), admin_value(Reference(b"99/G", 1))]})
    question = Question(HANDLE, (2,), public_only=False)
    with store.read() as view:
        assert resolve(view, question, ADMIN) == Need(frozenset({b"99/G"}))
    known = {b"99/G": Record((group(1, ADMIN),))}
    assert indexes(answer(store, question, ADMIN, known)) == [2]


def test_a_question_has_limits(stored: Store) -> None:
    many = tuple(range(1, INDEXES_MAX + 1))
    assert indexes(answer(stored, Question(HANDLE, many))) == [5, 1, 100]
    assert answer(stored, Question(HANDLE, (*many, 1))).response_code == 4
    types = (b"URL",) * TYPES_MAX
    assert indexes(answer(stored, Question(HANDLE, (), types))) == [5, 1]
    assert answer(stored, Question(HANDLE, (), (*types, b"URL"))).response_code == 4


def test_bodies(stored: Store) -> None:
    assert answer(stored, Question(HANDLE, (1,))).body(b"88.118/a") == ValuesRequest(
        b"88.118/a", (url(1),)
    )


CHILD = b"0.NA/88.118.5"


def test_a_delegated_prefix_is_referred(store: Store) -> None:
    delegation = site_value(b"HS_SITE.PREFIX"), site_value(b"HS_NA_DELEGATE", 4)
    not_public = site_value(b"HS_SITE.PREFIX", 5, 0b1100)
    put(store, {PREFIX: [site_value(b"HS_SITE", 1), *delegation, not_public]})
    found = answer(store, Question(CHILD))
    assert found.response_code == 303
    assert found.body(CHILD) == ReferralAnswer(b"", delegation)
    assert answer(store, Question(b"88.118.5.7")).values == delegation
    assert answer(store, Question(CHILD, do_not_refer=True)).response_code == 100
    assert answer(store, Question(PREFIX)).response_code == 1


def test_a_stored_prefix_is_answered_although_its_parent_delegates(store: Store) -> None:
    put(store, {PREFIX: [site_value(b"HS_SITE.PREFIX")], CHILD: [url()]})
    assert answer(store, Question(CHILD)).response_code == 1


def test_an_ancestor_that_delegates_nothing_leaves_it_to_its_own(store: Store) -> None:
    above = site_value(b"HS_SITE.PREFIX", 7)
    put(store, {b"0.NA/88": [above], PREFIX: [url(), site_value(b"HS_SITE.PREFIX", 3, 0b1100)]})
    assert answer(store, Question(CHILD)).values == (above,), "what is not public delegates nothing"
    assert answer(store, Question(b"0.NA/88.9")).response_code == 303
    put(store, {PREFIX: [site_value(b"HS_SITE.PREFIX", 4)]})
    assert answer(store, Question(CHILD)).values == (site_value(b"HS_SITE.PREFIX", 4),)


def test_the_delegate_does_not_refer_to_itself(empty: Store) -> None:
    put(
        empty,
        {PREFIX: [site_value(b"HS_SITE.PREFIX")]},
        [b"0.NA/0.NA", PREFIX, prefix_marker(PREFIX)],
    )
    assert answer(empty, Question(CHILD)).response_code == 100


def test_what_the_tiers_answer_for(empty: Store) -> None:
    put(empty, {}, [PREFIX, prefix_marker(b"0.na/88.118")])
    with empty.read() as view:
        for handle in (b"88.118/x", b"0.NA/88.118.5", b"0.NA/88.118.5.1", b"88.118.5"):
            assert is_responsible(view, handle), handle
        for handle in (b"88.118.5/x", b"0.NA/88.118", b"0.NA/88.1180", b"0.NA/88", b"0.NA/0.NA"):
            assert not is_responsible(view, handle), handle
        assert find_referral(view, b"88.118/x") == ()


def test_the_root_answers_for_all_prefixes(store: Store) -> None:
    with store.read() as view:
        assert is_responsible(view, b"0.NA/12.34.56")
        assert is_responsible(view, b"0.NA/0.NA")
        assert not is_responsible(view, b"12.34/x")


def test_ancestors_end_at_the_root_or_a_bound() -> None:
    assert list(ancestors(b"0.NA/a.b.c")) == [b"0.NA/A.B", b"0.NA/A", b"0.NA/0.NA"]
    assert list(ancestors(b"0.NA/0.NA")) == []
    assert len(list(ancestors(b"0.NA/" + b"a." * 1_000))) == 64
