"""Say that this ingress lives, in a bucket whose entries expire: when it is silent, what it left open is closed (G6).

The recorder closes its attempts as `unknown`; the approver withdraws the questions its callers waited for.
"""

import asyncio

import structlog
from nats.errors import Error as NatsError
from nats.js.kv import KeyValue

log = structlog.get_logger(__name__)

#: Seconds between two signs of life; the entries' time to live is several times that.
INTERVAL = 1.0


async def announce(bucket: KeyValue, ingress: str) -> None:
    """Write our entry, forever."""
    while True:
        try:
            await bucket.put(ingress, b"")
        except (NatsError, OSError, TimeoutError) as error:
            log.warning("sign of life not written", error=str(error) or type(error).__name__)
        await asyncio.sleep(INTERVAL)


async def withdraw(bucket: KeyValue, ingress: str) -> None:
    """End in an orderly way: nothing is open any more."""
    try:
        await bucket.delete(ingress)
    except (NatsError, OSError, TimeoutError) as error:
        log.warning("sign of life not taken back", error=str(error) or type(error).__name__)
