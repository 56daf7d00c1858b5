"""What the sections of ``serving`` share: the base, its adapters in the bank and on disk, and the prompts."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import cases
import torch

from tenfold import base
from tenfold.adapters import Bank, compose
from tenfold.adapters.composition import Composition
from tenfold.adapters.lora import Config
from tenfold.store import card, save

RANK, SPREAD = 8, 0.01
FEW = 8


@dataclass
class World:
    """bank: adapters a0 to a7 at first. folder: a place for files. prompts: token ids, as many as requests."""

    options: argparse.Namespace
    bank: Bank
    folder: Path
    prompts: list[list[int]]

    def compositions(self, adapters: int) -> list[Composition]:
        """One for each request, in turns; () without adapters."""
        have = min(adapters, len(self.prompts))
        spread = [i * adapters // have for i in range(have)] if have else []
        return [compose(f"a{spread[i % have]}") if have else () for i in range(len(self.prompts))]

    def need(self, adapters: int) -> None:
        """Put adapters a0, a1, ... into the bank until there are so many."""
        for i in range(adapters):
            if f"a{i}" not in self.bank.adapters:
                add(self.bank, f"a{i}", i)

    def saved(self, name: str) -> Path:
        """An adapter on disk, in PEFT's format."""
        place = self.folder / name
        if not place.exists():
            save(self.bank, name, place, card.describe(self.bank.base))
        return place

    def model_folder(self) -> Path:
        """The base on disk, in transformers' format."""
        place = self.folder / "model"
        if not place.exists():
            self.bank.base.model.save_pretrained(place)
            self.bank.base.tokenizer.save_pretrained(place)
        return place


def add(bank: Bank, name: str, seed: int) -> None:
    """A filled adapter."""
    bank.add(name, "lora", Config(lora_r=RANK), seed=seed)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for key, parameter in bank.parameters(name).items():
            if key.endswith(".b"):
                parameter.normal_(std=SPREAD, generator=generator)


def make(options: argparse.Namespace, folder: Path) -> World:
    """The base with a few adapters, and the prompts."""
    bank = Bank(base.load(cases.BASE_MODEL))
    with (options.data / "mnli" / "train.jsonl").open("rb") as file:
        rows = [json.loads(next(file)) for _ in range(options.requests)]
    texts = [f"Premise: {r['premise']}\nHypothesis: {r['hypothesis']}\nExplain the relation:" for r in rows]
    world = World(options, bank, folder, [bank.base.tokenizer(text)["input_ids"] for text in texts])
    world.need(FEW)
    return world
