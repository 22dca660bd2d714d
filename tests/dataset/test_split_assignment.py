from __future__ import annotations

from collections import Counter

from autodistill_rfdetr_seg.dataset.split_assignment import assign

SHARES = {"train": 0.8, "valid": 0.1, "test": 0.1}


def test_sizes_honour_the_shares() -> None:
    places = assign({f"g{i}": 1 for i in range(200)}, SHARES)
    assert Counter(places.values()) == {"train": 160, "valid": 20, "test": 20}


def test_adding_images_moves_none() -> None:
    few = assign({f"g{i}": 1 for i in range(50)}, SHARES)
    many = assign({f"g{i}": 1 for i in range(300)}, SHARES, previous=few)
    assert all(many[group] == split for group, split in few.items())
    assert Counter(many.values()) == {"train": 240, "valid": 30, "test": 30}


def test_groups_stay_whole_and_sizes_are_within_one() -> None:
    groups = {f"video{i}": 10 for i in range(30)}
    places = assign(groups, SHARES)
    images = Counter()
    for group, split in places.items():
        images[split] += groups[group]
    assert all(abs(images[name] - share * 300) <= 10 for name, share in SHARES.items())


def test_no_wanted_split_stays_empty_where_there_is_enough() -> None:
    for count in range(3, 12):
        assert set(assign({f"g{i}": 1 for i in range(count)}, SHARES).values()) == set(SHARES)
    assert "test" not in assign({f"g{i}": 1 for i in range(9)}, {"train": 0.8, "valid": 0.2, "test": 0}).values()


def test_order_of_the_groups_does_not_matter_and_the_seed_does() -> None:
    names = [f"g{i}" for i in range(40)]
    forward, backward = assign(dict.fromkeys(names, 1), SHARES), assign(dict.fromkeys(names[::-1], 1), SHARES)
    assert forward == backward
    assert forward != assign(dict.fromkeys(names, 1), SHARES, seed=1)
