"""One example for each body that says something, as `/openapi.json` and `/docs` show it."""

from typing import Any, Final

_PROFESSIONAL: Final = "01a1fd5e-3a45-7000-8b77-3f2766762ede"
_SERVICE: Final = "01a1fd5e-3a4b-7000-9a11-7cb0a0d6c2f4"
_CLIENT: Final = "01a1fd5e-5a40-7000-8d0c-1f6f2a9c3b10"
_START: Final = "2027-03-01T09:00:00+01:00"
_WEEKDAYS: Final = [{"weekday": day, "start": "09:00", "end": "17:30"} for day in range(5)]

BODIES: Final[dict[str, dict[str, Any]]] = {
    # Signing in
    "Register": {"name": "Cleo Winter", "email": "cleo@example.com", "password": "a long sentence"},
    "Login": {"email": "cleo@example.com", "password": "a long sentence"},
    "Refresh": {"refresh_token": "AaH-rB18cAC…"},
    "Logout": {"all": True},
    "UserPatch": {"name": "Cleo Sommer", "locale": "kk"},
    "Verify": {"phone": "+49 30 901820"},
    "VerifyConfirm": {"verification_id": "01a1fd5e-7b00-7000-8e00-9d1b6f3c5a21", "code": "204517"},
    "OfferingCreate": {
        "professional_id": _PROFESSIONAL, "type": "group", "title": "Pottery for beginners",
        "start_date": "2027-03-01", "end_date": "2027-03-05", "start_time": "10:00", "end_time": "16:00",
        "duration_minutes": 120, "max_attendees": 8, "anti_scalping": "standard",
    },
    "SeriesAsk": {
        "professional_id": _PROFESSIONAL, "service_id": _SERVICE, "start": _START, "rrule": "FREQ=WEEKLY;COUNT=10",
    },
    "SeriesCreate": {
        "professional_id": _PROFESSIONAL, "service_id": _SERVICE, "start": _START, "rrule": "FREQ=WEEKLY;COUNT=10",
        "client_id": _CLIENT, "on_conflict": "skip",
    },
    "WaitlistJoin": {
        "service_id": _SERVICE, "professional_id": _PROFESSIONAL, "client_id": _CLIENT,
        "from": _START, "to": "2027-03-05T18:00:00+01:00",
    },
    "OfferingPatch": {"max_attendees": 10},
    "ServiceTokenCreate": {"name": "website", "scopes": ["catalogue.read", "bookings.make"], "ttl_days": 90},
    # The business and its people
    "BusinessCreate": {
        "slug": "salon-sommer", "name": "Salon Sommer", "time_zone": "Europe/Berlin", "region": "DE",
        "owner": {"name": "Ada Sommer", "email": "ada@example.com", "password": "a long sentence"},
    },
    "BusinessPatch": {"cancellation_notice_minutes": 1440, "allowed_origins": ["https://salon.example.com"]},
    "BusinessDecision": {"trial_days": 30},
    "ReasonGiven": {"reason": "unpaid for three months"},
    "LocationCreate": {"name": "Mitte", "time_zone": "Europe/Berlin", "address": "Torstraße 1, Berlin"},
    "LocationPatch": {"phone": "+49 30 901820"},
    "MembershipCreate": {"email": "grace@example.com", "role": "professional", "professional_id": _PROFESSIONAL},
    "MembershipPatch": {"role": "manager", "grants": ["clients.remove"]},
    "PermissionRequestCreate": {"permission": "catalogue.write", "reason": "I keep the price list"},
    "PermissionDecision": {"answer": "until the end of the year"},
    "WebhookCreate": {"url": "https://example.com/slotcast", "events": ["booking.created", "booking.cancelled"]},
    "WebhookPatch": {"enabled": True},
    "WebhookRotate": {"overlap_hours": 0},
    "BanCreate": {"email": "nobody@example.com", "reason": "did not come three times"},
    "ClientCreate": {"first_name": "Cleo", "last_name": "Winter", "phone_number": "+49 30 901820", "chat_id": 4711},
    "ClientPatch": {"email": "cleo@example.com"},
    "PreferencesPut": {"reminders": True, "channel": "sms"},
    "RemindersPut": {"minutes": [1440, 120]},
    "ChatCallbackPut": {"url": "https://bot.example.com/slotcast"},
    # Catalogue and calendars
    "ProfessionalCreate": {"display_name": "Grace Herbst", "specialisation": "Colour", "time_zone": "Europe/Berlin"},
    "ProfessionalPatch": {"bio": "Twenty years of colour."},
    "ServiceCreate": {
        "name": "Colour", "duration_minutes": 90, "buffer_after_minutes": 15, "price_minor": 8900, "currency": "EUR",
        "professional_ids": [_PROFESSIONAL],
    },
    "HolidayCreate": {"date": "2026-12-25", "name": "Christmas Day"},
    "ServicePatch": {"price_minor": 9500, "confirmation": "approval"},
    "ServiceForProfessional": {"service_id": _SERVICE},
    "SchedulePut": {
        "time_zone": "Europe/Berlin", "weekly": _WEEKDAYS, "overrides": [{"date": "2026-12-24", "ranges": []}],
        "breaks": [{"weekday": 0, "start": "12:30", "end": "13:00"}],
    },
    "TimeOffCreate": {"start": "2027-07-01T00:00:00Z", "end": "2027-07-15T00:00:00Z", "description": "holiday"},
    # Holds and bookings
    "HoldCreate": {"professional_id": _PROFESSIONAL, "service_id": _SERVICE, "start": _START, "ttl_seconds": 300},
    "BookingCreate": {
        "professional_id": _PROFESSIONAL, "service_id": _SERVICE, "start": _START, "client_id": _CLIENT,
    },
    "PublicBookingCreate": {
        "professional_id": _PROFESSIONAL, "service_id": _SERVICE, "start": _START,
        "guest": {"name": "Cleo Winter", "email": "cleo@example.com"},
    },
    "BookingPatch": {"notes": "comes with a dog"},
    "RescheduleBody": {"start": _START},
    "CancelBody": {"reason": "ill"},
    "ReasonBody": {"reason": "closed that day"},
}  # fmt: skip
