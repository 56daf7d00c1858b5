"""Adapters that come and go within a limit of bytes."""

import threading
from pathlib import Path

import pytest
import torch
from peer import fill, plain_logits, some_ids, tiny_base

from tenfold.adapters import Bank
from tenfold.adapters.lora import Config
from tenfold.errors import AdapterError
from tenfold.store import AdapterCache, card, save

NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Four adapters of one size on disk."""
    place, bank = tmp_path_factory.mktemp("adapters"), Bank(tiny_base())
    for seed, name in enumerate(NAMES):
        bank.add(name, "lora", Config(lora_r=4), seed=seed)
        fill(bank.parameters(name).values(), seed)
        save(bank, name, place / name, card.describe(bank.base))
    return {name: place / name for name in NAMES}


@pytest.fixture(scope="module")
def size(folders):
    cache = AdapterCache(Bank(tiny_base()), folders)
    cache.get("a")
    assert cache.bytes == 4 * cache.bank.get("a").size
    return cache.bytes


def cache_of(folders, limit):
    return AdapterCache(Bank(tiny_base()), folders, limit)


def test_the_least_recently_used_one_leaves(folders, size):
    cache = cache_of(folders, 2 * size)
    for name in ("a", "b", "a", "c"):
        assert cache.get(name) == name
    assert cache.held == ["a", "c"] == list(cache.bank.adapters)
    assert (cache.hits, cache.misses, cache.evictions, cache.bytes) == (1, 3, 1, 2 * size)
    assert cache.hit_rate == 0.25


def test_without_a_limit_all_stay(folders, size):
    cache = cache_of(folders, None)
    for name in NAMES * 2:
        cache.get(name)
    assert (cache.hits, cache.misses, cache.evictions, cache.bytes) == (4, 4, 0, 4 * size)


def test_nothing_was_asked_for(folders):
    assert AdapterCache(Bank(tiny_base()), folders).hit_rate == 0.0


def test_what_comes_back_computes_what_it_did(folders, size):
    cache, ids = cache_of(folders, size), some_ids()
    first = {name: plain_logits(cache.bank, ids, cache.get(name)) for name in NAMES}
    again = {name: plain_logits(cache.bank, ids, cache.get(name)) for name in NAMES}
    assert all(torch.equal(first[name], again[name]) for name in NAMES)
    assert not torch.equal(first["a"], first["b"])
    assert (cache.misses, cache.evictions) == (8, 7)


def test_a_pinned_one_stays(folders, size):
    cache = cache_of(folders, 2 * size)
    with cache.pinned("a") as names, cache.pinned("a"):
        assert names == ["a"]
        for name in ("b", "c", "d"):
            cache.get(name)
        assert cache.held == ["a", "d"]
    cache.get("b")
    cache.get("c")
    assert cache.held == ["b", "c"]


def test_one_that_has_no_room_beside_the_pinned_leaves_all_as_it_was(folders, size):
    cache = cache_of(folders, 2 * size)
    with cache.pinned("a", "b"):
        with pytest.raises(AdapterError, match=f"'c' has {size:,} bytes beside {2 * size:,} bytes of adapters in use"):
            cache.get("c")
        assert cache.held == ["a", "b"] == list(cache.bank.adapters)
    with pytest.raises(AdapterError), cache.pinned("a", "b", "c"):
        raise AssertionError("there is no room for three")
    cache.get("c")
    cache.get("d")
    assert cache.held == ["c", "d"]


def test_one_that_is_larger_than_the_limit(folders, size):
    cache = cache_of(folders, size - 1)
    with pytest.raises(AdapterError, match=rf"'a' has {size:,} bytes; the cache may hold {size - 1:,}"):
        cache.get("a")
    assert not cache.bank.adapters
    assert not cache.bank._hosts
    assert cache.evictions == 0


def test_a_folder_has_its_own_name(folders, size, tmp_path):
    cache = AdapterCache(Bank(tiny_base()), max_bytes=2 * size)
    assert cache.get(folders["a"]) == "a"
    assert cache.get(Path(folders["a"])) == cache.get("a") == "a"
    assert (cache.hits, cache.misses) == (2, 1)
    (tmp_path / "a").mkdir()
    with pytest.raises(AdapterError, match="the name 'a' is that of"):
        cache.get(tmp_path / "a")


def test_an_unknown_name_lists_the_known(folders):
    with pytest.raises(AdapterError, match="no adapter 'x'; there are: a, b, c, d"):
        cache_of(folders, None).get("x")
    with pytest.raises(AdapterError, match="no adapter 'x'; there are: none"):
        AdapterCache(Bank(tiny_base())).get("x")


def test_what_cannot_be_loaded_pushes_nothing_out(folders, size, tmp_path):
    cache = cache_of({**folders, "broken": tmp_path}, size)
    cache.get("a")
    with pytest.raises(AdapterError, match="adapter_config"):
        cache.get("broken")
    assert cache.held == ["a"]


def test_one_that_was_taken_out_of_the_bank_is_loaded_again(folders):
    cache = cache_of(folders, None)
    cache.get("a")
    cache.bank.remove("a")
    assert cache.get("a") in cache.bank.adapters
    assert cache.misses == 2


def test_adapters_of_others_stay(folders, size):
    cache = cache_of(folders, size)
    cache.bank.add("mine", "lora", Config(lora_r=4))
    cache.get("a")
    cache.get("b")
    assert set(cache.bank.adapters) == {"mine", "b"}


def test_many_threads_share_one(folders, size):
    cache, wrong = cache_of(folders, 3 * size), []

    def ask(turn):
        for i in range(20):
            with cache.pinned(NAMES[(turn + i) % len(NAMES)]) as (name,):
                if name not in cache.bank.adapters or cache.bytes > 3 * size:
                    wrong.append(name)

    threads = [threading.Thread(target=ask, args=(turn,)) for turn in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert cache.hits + cache.misses == 60
    assert cache.misses - cache.evictions == len(cache.held) <= 3
