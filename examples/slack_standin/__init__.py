"""A Slack to develop against on one machine: it speaks Slack's protocols and enforces Slack's limits.

    clock       time, real or turned by hand            limits      Slack's numbers, each one can be switched off
    schema      the small language of "must be …"       blockkit    Block Kit in that language
    records     users, channels, messages, views        workspace   everything Slack remembers
    webapi      `/api/<method>`: tokens, 429, errors    methods/    what each Web API method does
    socketmode  WebSockets, envelopes, redelivery       http_post   the signed POST to a request URL
    mrkdwn      what user text smuggled in          payloads    the JSON of interactions
    people      what a person does: click, submit       response_url  `/actions/…`, 5 uses in 30 minutes
    faults      outages, lost answers, forged clicks    control     the same over HTTP, and the page to look at
    server      `SlackStandin`, which ties them together

Its counterpart is an unmodified slack_sdk; `python -m examples.slack_standin --json` runs it on its own.
"""

from examples.slack_standin.clock import Clock, ManualClock, SystemClock
from examples.slack_standin.delivery import Delivery
from examples.slack_standin.errors import NotOnScreen, SlackError
from examples.slack_standin.limits import Limits
from examples.slack_standin.records import Channel, Ephemeral, File, Message, Revision, User, View
from examples.slack_standin.server import SlackStandin

__all__ = [
    "Channel",
    "Clock",
    "Delivery",
    "Ephemeral",
    "File",
    "Limits",
    "ManualClock",
    "Message",
    "NotOnScreen",
    "Revision",
    "SlackError",
    "SlackStandin",
    "SystemClock",
    "User",
    "View",
]
