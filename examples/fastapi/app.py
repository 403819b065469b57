"""A service that quotes prices: `GET /quote?item=coffee&quantity=3`, `GET /health`."""

import quotes
import scatter_agent
from fastapi import FastAPI, HTTPException

app = FastAPI(title="Quotes")


@app.get("/quote")
async def quote(item: str = "coffee", quantity: int = 1) -> quotes.Quote:
    """Quote a price."""
    if item not in quotes.PRICES:
        raise HTTPException(404, f"There is no {item}; there is {', '.join(quotes.PRICES)}.")
    return await quotes.quote(item, quantity)


@app.get("/health")
def health() -> dict[str, str]:
    """Say what the agent says."""
    return {"agent": scatter_agent.status().state}


scatter_agent.start(application="quotes")
