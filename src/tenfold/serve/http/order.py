"""From a body to a job: who answers, which tokens, within which limits."""

from tenfold.errors import AdapterError, DataError
from tenfold.evaluate import BASE_LABEL
from tenfold.serve.asking import Wanted
from tenfold.serve.choosing import Choice
from tenfold.serve.http import shapes
from tenfold.serve.http.problems import Problem, unknown_model
from tenfold.serve.http.schemas import ChatBody, CompletionBody
from tenfold.serve.job import Job
from tenfold.serve.keys import Key
from tenfold.serve.service import Service, some_seed
from tenfold.serve.skills import AUTO, Skill, names

Body = ChatBody | CompletionBody


async def start(service: Service, body: Body, key: Key | None) -> Job:
    """Choose, make tokens, ask the engine. Raises Problem or another TenfoldError, with nothing left under way."""
    skill, choice = await find(service, body, key)
    prompts = shapes.prompts(body, skill)
    check_amount(service, body, len(prompts))
    texts = [one for one in prompts if not isinstance(one, list)]
    tokens = await service.encode(texts) if texts else [one for one in prompts if isinstance(one, list)]
    check_tokens(service, tokens)
    try:
        return await service.start(skill, choice, tokens, wanted(body), key.name if key else "")
    except AdapterError as error:  # it was unloaded meanwhile, or its files cannot be read any more
        there = skill.mixed or skill.name in {BASE_LABEL, *(one.name for one in service.skills.all())}
        raise Problem(503, str(error), code="adapter_unavailable") if there else unknown_model(skill.name) from None


async def find(service: Service, body: Body, key: Key | None) -> tuple[Skill, Choice | None]:
    """Whom the request means. Raises Problem 404 for what is not there or not for this key."""

    def may(wanted: list[str]) -> bool:
        return key is None or key.may(wanted)

    try:
        if body.model == AUTO:
            skill, choice = await service.choose(shapes.asked(body), may)
        else:
            skill, choice = service.find(body.model), None
    except AdapterError as error:
        if body.model == AUTO:
            raise Problem(404, str(error), param="model", code="model_not_found") from None
        raise unknown_model(body.model) from None
    if not may(names(skill.name)):
        raise unknown_model(body.model)
    return skill, choice


def wanted(body: Body) -> Wanted:
    """What it asks for beside its prompts."""
    seed = some_seed()
    sampling = [body.sampling(seed, number) for number in range(body.n)]
    return Wanted(sampling, body.most, body.stops, body.told, body.json_wanted)


def check_amount(service: Service, body: Body, prompts: int) -> None:
    """Before any work is done for it. Raises Problem 400."""
    limits = service.limits
    if prompts * body.n > limits.answers:
        raise Problem(400, f"{prompts} prompts times n {body.n}: at most {limits.answers} answers", param="n")
    if (body.most or 0) > limits.new_tokens:
        message = f"max_tokens: at most {limits.new_tokens}"
        raise Problem(400, message, param="max_tokens", code="max_tokens_too_large")


def check_tokens(service: Service, prompts: list[list[int]]) -> None:
    """Raises Problem 400 for a prompt that is too long, DataError for tokens that the base does not have."""
    vocabulary = service.base.model.config.get_text_config().vocab_size
    for tokens in prompts:
        if len(tokens) > service.room:
            message = f"the prompt has {len(tokens)} tokens; at most {service.room}"
            raise Problem(400, message, param="messages", code="context_length_exceeded")
        if any(not 0 <= token < vocabulary for token in tokens):
            raise DataError(f"prompt: tokens are numbers from 0 to {vocabulary - 1}")
