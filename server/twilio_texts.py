"""Text messages by Twilio, with its own asynchronous client, which comes with the extra `sms`.

Set up as `twilio://ACCOUNT:TOKEN@+15550100`; behind the @ stands the number, or the messaging
service, that they come from.
"""

import asyncio
import logging
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from jobs.channels import Undeliverable
from jobs.queue import Later

_TIMEOUT_S: Final = 20.0
_BAD_REQUEST: Final = 400


class TwilioTexts:
    def __init__(self, url: str, http_client: Any = None) -> None:
        """Raises `ValueError` for a URL that is none of those, or where Twilio's library is not installed."""
        parts = urlsplit(url)
        credentials, _, sender = parts.netloc.rpartition("@")
        account, _, token = credentials.partition(":")
        if parts.scheme != "twilio" or not (account and token and sender) or parts.path or parts.query:
            raise ValueError("write twilio://ACCOUNT:TOKEN@+15550100")
        try:
            from twilio.http.async_http_client import AsyncTwilioHttpClient
            from twilio.rest import Client
        except ImportError:
            raise ValueError("it needs Twilio's library: pip install 'slotcast[sms]'") from None
        quiet = logging.getLogger("slotcast.twilio")
        # It would log what is sent, and to whom.
        quiet.setLevel(logging.WARNING)
        client = http_client or AsyncTwilioHttpClient(pool_connections=False, logger=quiet)
        self._client = Client(unquote(account), unquote(token), http_client=client)
        key = "messaging_service_sid" if sender.startswith("MG") else "from_"
        self._sender: dict[str, Any] = {key: unquote(sender)}

    async def send(self, to: str, text: str) -> None:
        from twilio.base.exceptions import TwilioException, TwilioRestException

        try:
            async with asyncio.timeout(_TIMEOUT_S):
                await self._client.messages.create_async(to=to, body=text, **self._sender)
        except TwilioRestException as refused:
            said = f"Twilio answered {refused.status}, code {refused.code}"
            raise (Undeliverable(said) if refused.status == _BAD_REQUEST else Later(said)) from None
        except (TwilioException, OSError, TimeoutError) as error:
            raise Later(f"Twilio: {type(error).__name__}") from None
