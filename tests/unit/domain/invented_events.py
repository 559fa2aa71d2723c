"""An invented event in three versions, for the tests of upcasting: none of the catalogue's own has a second one yet.

Version 2 splits `volume` ("5 ml") into number and unit, keeps `tube`, gives up `nurse`; version 3 calls the number by
another name, and makes `label` of two fields.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import pytest

from ledger.domain.catalogue import CATALOGUE
from ledger.domain.model import CLEAR, Decimal, EventModel, Fact, Label
from ledger.domain.roles import INVESTIGATOR
from ledger.domain.versions import chain


class SampledV1(Fact):
    """A sample was taken."""

    recorders = INVESTIGATOR
    volume: Label
    tube: Label | None = None
    rack: Annotated[Label | None, CLEAR] = None
    nurse: Label | None = None


class SampledV2(Fact):
    """A sample was taken."""

    v = 2
    before = SampledV1
    came_from = {"volume_value": ("volume",), "volume_unit": ("volume",)}
    dropped = frozenset({"nurse"})
    recorders = INVESTIGATOR

    volume_value: Decimal | None = None
    volume_unit: Label | None = None
    tube: Label | None = None
    rack: Annotated[Label | None, CLEAR] = None

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        content.pop("nurse", None)
        if "volume" in content:
            content["volume_value"], _, content["volume_unit"] = content.pop("volume").partition(" ")


class Sampled(Fact):
    """A sample was taken."""

    v = 3
    before = SampledV2
    came_from = {"millilitres": ("volume_value",), "label": ("tube", "rack")}
    recorders = INVESTIGATOR
    words = "took a sample"

    millilitres: Decimal | None = None
    volume_unit: Label | None = None
    label: Label | None = None

    @classmethod
    def upcast(cls, body: dict[str, Any], content: dict[str, Any]) -> None:
        if "volume_value" in content:
            content["millilitres"] = content.pop("volume_value")
        parts = [body.pop("rack", None), content.pop("tube", None)]
        if any(parts):
            content["label"] = "/".join(part or "?" for part in parts)


@contextmanager
def a_release_with(*models: type[EventModel]) -> Iterator[None]:
    """The catalogue also has these events, or has these versions of them, while the context lasts."""
    with pytest.MonkeyPatch.context() as patch:
        for model in models:
            patch.setitem(CATALOGUE._models, model.__name__, model)
            patch.setitem(CATALOGUE._versions, model.__name__, chain(model))
        yield
