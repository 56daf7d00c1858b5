"""Two hundred streams at once, each with what it gets alone."""

import asyncio
import random

import openai
from world import answers

ADAPTERS = ("upper", "talk", "upper:0.5+talk:0.5", "base")


def test_two_hundred_parallel_streams(server, run):
    draw = random.Random(0)
    texts = ["".join(draw.choices("abcdefgh 123", k=draw.randint(1, 30))) for _ in range(10)]
    truth = {(name, text): answers(run, [text], name, max_new_tokens=8)[0] for name in ADAPTERS for text in texts}
    asked = [*truth] * 5
    draw.shuffle(asked)
    assert len(asked) == 200

    async def stream(client, name, text):
        said = []
        messages = [{"role": "user", "content": text}]
        async for chunk in await client.chat.completions.create(
            model=name, messages=messages, stream=True, max_tokens=8
        ):
            said += [choice.delta.content or "" for choice in chunk.choices]
        return "".join(said)

    async def all_of_them():
        async with openai.AsyncOpenAI(base_url=f"{server.address}v1", api_key="none", max_retries=0) as client:
            return await asyncio.gather(*(stream(client, *one) for one in asked))

    found = asyncio.run(all_of_them())
    assert found == [truth[one] for one in asked]
