"""Adapters of a run for others: what is sent to a hub, its card, and the sending."""

from tenfold.publication.parcel import Parcel, pack
from tenfold.publication.sending import send

__all__ = ["Parcel", "pack", "send"]
