"""The demo business: made once, kept afterwards."""

import secrets
from typing import Final, NamedTuple

from protocol import bodies, services
from protocol.ids import new_id
from server.identity import contact_keys
from server.passwords import hash_password
from storage import businesses, catalogue, people
from storage.postgres import Database

SLUG: Final = "demo"
EMAIL: Final = "owner@demo.example"
_ZONE: Final = "Europe/Berlin"


class Demo(NamedTuple):
    business_id: str
    email: str
    password: str | None
    """Only when the business was just made."""


async def ensure(database: Database, shard_count: int, password: str | None = None) -> Demo:
    """The demo business with an owner, a professional, two services and a client."""
    business = await businesses.business_by_slug(database, SLUG)
    if business is not None:
        return Demo(business.id, EMAIL, None)
    password = password or secrets.token_urlsafe(9)
    business_id = new_id()
    async with database.transaction() as tx:
        await tx.value("insert_business", business_id, SLUG, "Demo Salon", _ZONE)
        user_id = new_id()
        await tx.value(
            "insert_user", user_id, EMAIL, None, None, "Demo Owner", hash_password(password), False, "en", None
        )
        await tx.value("insert_membership", new_id(), business_id, user_id, "owner", None)
        who = bodies.ProfessionalCreate(
            display_name="Ada Sommer", specialisation="Cuts and colour", bio="Takes her time.", username="ada"
        )
        professional = await people.add_professional(tx, business_id, who, _ZONE, shard_count)
        for name, minutes, price in (("Haircut", 30, 3500), ("Colour", 90, 9500)):
            service = services.ServiceCreate(
                name=name,
                duration_minutes=minutes,
                step_minutes=30,
                price_minor=price,
                currency="EUR",
                professional_ids=[professional.id],
            )
            await catalogue.add_service(tx, business_id, service)
        client = bodies.ClientCreate(first_name="Max", last_name="Muster", phone_number="+49 30 1234567")
        keys = contact_keys(client.email, client.phone_number, None)
        await people.add_client(tx, business_id, client, keys)
    return Demo(business_id, EMAIL, password)
