"""What a webhook's signature is made with, and which targets a node may reach."""

import base64

from server.auth import Auth
from server.config import Settings
from server.http_poster import HttpPoster
from server.remote import networks
from server.targets import Targets


def secret_of(auth: Auth, webhook_id: str, generation: int) -> str:
    """As receivers' libraries take it. It follows from the server's secret and is kept nowhere."""
    return "whsec_" + base64.b64encode(auth.derive(f"webhook:{webhook_id}:{generation}".encode())).decode()


def targets_of(settings: Settings) -> Targets:
    return Targets(insecure=settings.webhook_insecure, private=networks(settings.webhook_allow_private))


def poster_of(settings: Settings) -> HttpPoster:
    """To be made in a running loop, and closed."""
    return HttpPoster(targets_of(settings))
