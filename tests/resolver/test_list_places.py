from resolver.list_places import START, ListPlaces, Place

LIST = b"0.NA/88"


def place(position: int, total: int = 100) -> Place:
    return Place(position, b"88/%03d" % position, total)


def test_the_nearest_exact_place_before_a_position_is_best() -> None:
    places = ListPlaces()
    for position in (40, 10, 30):
        places.note(LIST, place(position))
    assert places.find(LIST, 39, 100, 1_000) == place(30)
    assert places.find(LIST, 40, 100, 0) == place(40)
    assert places.find(LIST, 9, 100, 1_000) == START
    assert places.find(b"0.NA/89", 39, 100, 1_000) == START


def test_an_old_place_serves_where_an_exact_one_is_too_far() -> None:
    places = ListPlaces()
    places.note(LIST, place(30, total=99))
    assert places.find(LIST, 40, 100, 40) == START
    assert places.find(LIST, 41, 100, 40) == place(30, total=99)
    assert places.find(LIST, 71, 100, 40) is None


def test_a_place_is_kept_once_as_it_was_last() -> None:
    places = ListPlaces()
    places.note(LIST, place(30, total=99))
    places.note(LIST, place(30))
    places.note(LIST, place(30))
    assert places.find(LIST, 30, 99, 0) == place(30)


def test_no_more_places_are_kept_than_may_be() -> None:
    places = ListPlaces(places_max=2)
    for number in range(9):
        places.note(LIST, place(number + 1))
        places.note(b"0.NA/%d" % number, place(1))
    assert places.find(LIST, 8, 100, 1) is None
    assert places.find(LIST, 9, 100, 0) == place(9)
    assert places.find(b"0.NA/8", 1, 100, 0) == place(1)
    assert places.find(b"0.NA/7", 1, 100, 0) is None
