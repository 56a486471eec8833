"""A sample vendor API: a shop's back office with orders, refunds and customers, behind an API key.

Not a part of Countersign: it stands where the APIs that your agents call would.
"""

import argparse
import asyncio

from aiohttp import web
from aiohttp.typedefs import Handler

from examples.serving import serve

API_KEY = "vendor-key-that-no-agent-holds"
ORDERS = {"1001": {"order": "1001", "customer": "C-17", "total": 42.0, "state": "delivered"}}

REFUNDS = web.AppKey("refunds", list[dict[str, object]])


@web.middleware
async def authenticated(request: web.Request, handler: Handler) -> web.StreamResponse:
    """As vendors do: no key, no service."""
    if request.headers.get("X-Shop-Key") != API_KEY:
        return web.json_response({"error": "unknown API key"}, status=401)
    answer: web.StreamResponse = await handler(request)
    return answer


async def get_order(request: web.Request) -> web.Response:
    """`GET /v1/orders/{order}`."""
    order = ORDERS.get(request.match_info["order"])
    return web.json_response(order or {"error": "no such order"}, status=200 if order else 404)


async def create_refund(request: web.Request) -> web.Response:
    """`POST /v1/refunds` with `{order, amount}`."""
    wanted = await request.json()
    refunds = request.app[REFUNDS]
    refunds.append(wanted)
    return web.json_response({"refund": f"R-{len(refunds)}", **wanted, "state": "paid"}, status=201)


async def list_refunds(request: web.Request) -> web.Response:
    """`GET /v1/refunds`: what was really paid, for whoever checks."""
    return web.json_response(request.app[REFUNDS])


async def delete_customer(request: web.Request) -> web.Response:
    """`DELETE /v1/customers/{customer}`."""
    return web.json_response({"deleted": request.match_info["customer"]})


def application() -> web.Application:
    """The vendor's routes."""
    app = web.Application(middlewares=[authenticated])
    app[REFUNDS] = []
    app.router.add_get("/v1/orders/{order}", get_order)
    app.router.add_post("/v1/refunds", create_refund)
    app.router.add_get("/v1/refunds", list_refunds)
    app.router.add_delete("/v1/customers/{customer}", delete_customer)
    return app


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="A sample vendor API")
    parser.add_argument("--port", type=int, default=9002)
    asyncio.run(serve(application(), parser.parse_args().port))
