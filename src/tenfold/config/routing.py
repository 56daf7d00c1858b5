"""The settings of what chooses an adapter for a request."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator, model_validator

from tenfold import plugins
from tenfold.errors import nearest

ROUTERS = "tenfold.route.kinds"
AUTO, NONE = "auto", "none"


def _as_list(given: Any) -> Any:
    return [given] if isinstance(given, str) else given


Names = Annotated[list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])]


class RouterSettings(BaseModel):
    """What is set once for a whole run about its router."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    router: Names = Field(
        [AUTO],
        description="How a request finds its adapter: a kind (tfidf, embedding, bert, nearest, hidden), a list of them "
        "whose calibrated logits are added, or none. auto: tfidf where several tasks have adapters.",
    )
    router_coverage: float = Field(
        0.95, gt=0, le=1, description="Share of the requests in scope that should go to an adapter, not to the base."
    )
    bert_classifier: bool = Field(False, description="MoLE's name for router: bert; with embedding_classifier both.")
    embedding_classifier: bool = Field(False, description="MoLE's name for router: embedding.")

    @property
    def router_kinds(self) -> list[str]:
        """The kinds of the router, none where it is off; ``auto`` is tfidf."""
        flags = {"bert": self.bert_classifier, "embedding": self.embedding_classifier}
        named = [kind for kind, wanted in flags.items() if wanted]
        return named or {AUTO: ["tfidf"], NONE: []}.get(self.router[0], self.router)

    @field_validator("router")
    @classmethod
    def _known_routers(cls, given: list[str]) -> list[str]:
        known = plugins.names(ROUTERS, ("Scorer",))
        if len(given) == 1 and given[0] in (AUTO, NONE):
            return given
        for name in given:
            if (kind := name.partition(":")[0]) not in known:
                raise ValueError(f"{name!r} given; must be {', '.join(known)}, none, or a list{nearest(kind, known)}")
        if not given or len(set(given)) < len(given):
            raise ValueError(f"{given!r} given; must name each kind once, or be none")
        return given

    @model_validator(mode="after")
    def _one_router(self) -> Self:
        if self.router != [AUTO] and (self.bert_classifier or self.embedding_classifier):
            raise ValueError("router and the classifiers by MoLE's names say the same; give one of them")
        return self
