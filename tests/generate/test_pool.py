"""Adapters by public name: tiers, pins, replacement at once, and all of it beside passes that run."""

import json
import shutil
import threading

import pytest
import torch
from peer import fill, tiny_base
from safetensors.torch import load_file, save_file
from worlds import alone, prompts, same

from tenfold import store
from tenfold.adapters import Bank, compose
from tenfold.adapters.lora import Config
from tenfold.errors import AdapterError, GenerationError
from tenfold.generate import Live, Pool, Request
from tenfold.generate.event import Answer
from tenfold.store import card, save

NAMES = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Adapters of one size on disk; a2 is another a."""
    place, bank = tmp_path_factory.mktemp("adapters"), Bank(tiny_base())
    for seed, name in enumerate([*NAMES, "a2"]):
        bank.add(name, "lora", Config(lora_r=4), seed=seed)
        fill(bank.parameters(name).values(), seed, spread=0.3)
        save(bank, name, place / name, card.describe(bank.base))
    return {name: place / name for name in [*NAMES, "a2"]}


SIZE = 4 * 2 * (4 * (32 + 32) * 2 + 4 * (32 + 16) * 2 + 4 * (32 + 64) * 3)


def test_tiers_by_what_was_used_least_recently(folders):
    pool = Pool(Bank(tiny_base()), max_bytes=2 * SIZE, max_ram_bytes=SIZE)
    for name in NAMES:
        pool.put(name, folders[name])
    assert sorted(pool.tier(name) for name in NAMES) == ["disk", "disk", "disk", "ram"]
    for name in ("a", "b", "a", "c"):
        with pool.pinned(name) as internal:
            assert internal in pool.bank.adapters
            assert pool.tier(name) == "ready"
    assert {name: pool.tier(name) for name in NAMES} == {"a": "ready", "b": "ram", "c": "ready", "d": "disk"}
    with pool.pinned("a"), pool.pinned("b"), pytest.raises(AdapterError, match=r"'c' has .* does not fit beside"):
        pool.pin("c")
    with pool.pinned("c"):
        assert pool.tier("c") == "ready"


def test_generations_are_digests_and_replaced_ones_live_until_their_last_pin(folders):
    pool = Pool(Bank(tiny_base()))
    first = pool.put("a", folders["a"])
    assert pool.put("a", folders["a"]) == first == pool.generation("a")
    old, generation = pool.pin("a")
    again, _ = pool.pin("a")
    assert (old, generation) == (again, first)
    second = pool.put("a", folders["a2"], expect=first)
    new, generation = pool.pin("a")
    assert generation == second != first
    assert {old, new} <= set(pool.bank.adapters)
    pool.unpin(old)
    assert old in pool.bank.adapters
    pool.unpin(again)
    assert old not in pool.bank.adapters
    pool.drop("a", expect=second)
    assert pool.names() == []
    assert new in pool.bank.adapters
    pool.unpin(new)
    assert not pool.bank.adapters


def test_an_old_generation_comes_back_while_it_is_pinned(folders):
    pool = Pool(Bank(tiny_base()))
    first = pool.put("a", folders["a"])
    old, _ = pool.pin("a")
    pool.put("a", folders["a2"])
    assert pool.put("a", folders["a"]) == first
    again, _ = pool.pin("a")
    assert again == old
    pool.unpin(old)
    pool.unpin(again)
    assert pool.tier("a") == "ready"
    assert list(pool.bank.adapters) == [old]


def test_compare_and_swap(folders):
    pool = Pool(Bank(tiny_base()))
    first = pool.put("a", folders["a"], expect="")
    for expect in ("", "other"):
        with pytest.raises(GenerationError, match=f"'a' is generation {first}, not"):
            pool.put("a", folders["a2"], expect=expect)
    with pytest.raises(GenerationError, match="'b' is generation none, not x"):
        pool.put("b", folders["b"], expect="x")
    with pytest.raises(GenerationError):
        pool.drop("a", expect="other")
    assert (pool.names(), pool.generation("a")) == (["a"], first)


def test_bad_folders_change_nothing(folders, tmp_path):
    pool = Pool(Bank(tiny_base()), max_bytes=SIZE)
    first = pool.put("a", folders["a"])
    torn = shutil.copytree(folders["b"], tmp_path / "torn")
    (torn / "adapter_model.safetensors").write_bytes(b"torn")
    for folder in (torn, tmp_path / "missing"):
        with pytest.raises(AdapterError):
            pool.put("a", folder)
    small = Pool(Bank(tiny_base()), max_bytes=SIZE - 1)
    with pytest.raises(AdapterError, match="all may have"):
        small.put("a", folders["a"])
    assert (pool.generation("a"), small.names()) == (first, [])
    with pytest.raises(AdapterError, match="no adapter 'z'; there are: a"):
        pool.pin("z")


def test_files_that_change_on_disk_are_not_taken_for_what_was_put(folders, tmp_path):
    place = shutil.copytree(folders["a"], tmp_path / "a")
    pool = Pool(Bank(tiny_base()), max_bytes=SIZE, max_ram_bytes=0)
    pool.put("a", place)
    tensors = load_file(folders["a2"] / "adapter_model.safetensors")
    save_file(tensors, place / "adapter_model.safetensors", {"format": "pt"})
    with pytest.raises(AdapterError, match="has changed since it was loaded"):
        pool.pin("a")
    assert pool.put("a", place) == pool.generation("a")
    with pool.pinned("a"):
        pass


def test_a_file_that_is_written_over_does_not_change_what_runs(folders, tmp_path):
    place = shutil.copytree(folders["a"], tmp_path / "a")
    pool = Pool(Bank(tiny_base()))
    pool.put("a", place)
    with pool.pinned("a") as internal:
        before = [p.clone() for p in pool.bank.parameters(internal).values()]
        file = place / "adapter_model.safetensors"
        with file.open("r+b") as handle:
            handle.seek(file.stat().st_size // 2)
            handle.write(b"\x11" * 64)
        assert all(map(torch.equal, before, pool.bank.parameters(internal).values()))


def test_replacing_beside_passes_fails_no_request_and_changes_no_token(folders):
    """Loads, replacements and drops in another thread while the engine runs."""
    bank = Bank(tiny_base())
    pool, live, stop, troubles = Pool(bank, max_bytes=4 * SIZE), Live(bank, max_rows=6), threading.Event(), []
    for name in NAMES:
        pool.put(name, folders[name])

    def churn():
        try:
            while not stop.is_set():
                for folder in ("a2", "a"):
                    pool.put("a", folders[folder])
                pool.drop("d")
                pool.put("d", folders["d"])
        except Exception as error:  # noqa: BLE001
            troubles.append(error)

    thread = threading.Thread(target=churn)
    thread.start()
    asked, answers, generations = {}, {}, {}
    try:
        for i, prompt in enumerate(prompts(40, high=12)):
            internal, generation = pool.pin(NAMES[i % 3])
            number = live.submit(Request(prompt, compose(internal), 6))
            asked[number], generations[number] = (prompt, internal, NAMES[i % 3]), generation
            _step(live, pool, asked, answers)
        while not live.idle:
            _step(live, pool, asked, answers)
    finally:
        stop.set()
        thread.join()
    assert not troubles
    truth = Bank(tiny_base())
    by_generation = {}
    for name in [*NAMES, "a2"]:
        by_generation[store.adapter.digest(folders[name])] = store.load(truth, folders[name])
    for number, (prompt, _, _) in asked.items():
        expected, gaps = alone(truth, prompt, compose(by_generation[generations[number]]), 6)
        assert same(answers[number].completion().tokens, expected, gaps)[0]


def _step(live, pool, asked, answers):
    for event in live.step():
        answers.setdefault(event.number, Answer()).add(event)
        if event.finish:
            assert event.finish == "length"
            pool.unpin(asked[event.number][1])


def test_a_thousand_adapters(folders, tmp_path):
    bank = Bank(tiny_base())
    settings = json.loads((folders["a"] / "adapter_config.json").read_text())
    tensors = load_file(folders["a"] / "adapter_model.safetensors")
    keys = [key for key in tensors if ".layers.0.self_attn.q_proj." in key]
    settings |= {"target_modules": ["model.layers.0.self_attn.q_proj"]}
    pool = Pool(bank, max_bytes=100 * 4 * 4 * 64, max_ram_bytes=400 * 4 * 4 * 64)
    for i in range(1000):
        place = tmp_path / f"t{i}"
        place.mkdir()
        (place / "adapter_config.json").write_text(json.dumps(settings))
        save_file({key: tensors[key] * (1 + i / 100) for key in keys}, place / "adapter_model.safetensors")
        pool.put(f"t{i}", place)
    assert len(pool.names()) == len({pool.generation(name) for name in pool.names()}) == 1000
    live, answers, held = Live(bank, max_rows=64), {}, {}
    for turn in range(2):
        for i, prompt in enumerate(prompts(64, high=10)):
            internal, _ = pool.pin(f"t{(turn * 500 + 7 * i) % 1000}")
            number = live.submit(Request(prompt, compose(internal), 4))
            held[number] = (prompt, internal)
        while not live.idle:
            for event in live.step():
                answers.setdefault(event.number, Answer()).add(event)
        for number, (prompt, internal) in held.items():
            if number % 8 == 0:
                expected, gaps = alone(bank, prompt, compose(internal), 4)
                assert same(answers[number].completion().tokens, expected, gaps)[0]
            pool.unpin(internal)
        held.clear()
    tiers = [pool.tier(name) for name in pool.names()]
    assert tiers.count("ready") == 100
    assert 300 < tiers.count("ram") <= 400
    assert len(bank.adapters) == 100
