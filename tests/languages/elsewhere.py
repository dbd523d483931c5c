"""What the search for texts cannot see: templates that stand for several sentences, and what libraries say."""

WHOLE = {
    "{0} is {1}": ["{0} is held", "{0} is booked", "{0} is blocked"],
    "booking this takes {0}": [
        "booking this takes an e-mail address",
        "booking this takes an e-mail address and a device token",
    ],
    "possible until {0}; ask the business": [
        "possible until {0} minutes before the start; ask the business",
        "possible until the start; ask the business",
    ],
    "the booking is {0}": [
        f"the booking is {status}"
        for status in ("held", "pending", "confirmed", "completed", "cancelled", "rejected", "expired", "no_show")
    ],
    "the business is {0}": [f"the business is {status}" for status in ("pending", "active", "suspended", "rejected")],
    "the job is {0}": ["the job is behind", "the job is working", "the job is done"],
    "there is no such {0}": [
        "there is no such booking",
        "there is no such hold",
        "there is no such waitlist entry",
    ],
    "this {0} has a booking or a hold already": [
        "this person has a booking or a hold already",
        "this device has a booking or a hold already",
    ],
}
"""Holes whose few values make different sentences in a language that bends its words."""

NOT_FOUND = {
    ("actors/inquiries.py", "refusal.detail"): "what the calendar has said",
    ("protocol/errors.py", "_FIELD_AT.sub('', text)"): "what msgspec says, see LIBRARIES",
    ("protocol/errors.py", "message"): "the same, without the field",
    ("protocol/session.py", "why"): "the same",
    ("protocol/session.py", "str(error)"): "the same",
    ("server/reading.py", "str(error)"): "the same",
    ("server/live/sse.py", "str(error)"): "the same",
    ("server/identity.py", "str(error)"): "what email-validator says, see LIBRARIES",
    ("actors/calendar/decide.py", "c.detail"): "found where it was decided, by another calendar",
    ("actors/cluster/messages.py", "refused.detail"): "found where it was raised",
    ("actors/cluster/messages.py", "problem.detail"): "found where it was raised, on another node",
    ("server/outcomes.py", "refusal.detail"): "found where it was decided",
    ("server/desk.py", "refused.detail"): "found where it was raised",
    ("server/rest/memberships.py", "refused.detail"): "found where it was raised",
    ("server/rest/analytics.py", "otherwise"): "sentences that are said elsewhere, too",
}
"""Texts that are no literals, and why none is lost."""

BUILDERS = ("protocol/errors.py",)
"""Where the speakers themselves are made: their arguments are others' texts."""

OPERATORS = ("storage/embedded.py", "server/serve.py", "server/jobs_cli.py")
"""What these say is read by whoever runs the server, on its command line, and stays in English."""

_JSON_ERRORS = (
    "expected '\"'", "expected ',' or ']'", "expected ',' or '}'", "expected ':'", "invalid character",
    "invalid character in unicode escape", "invalid escape character in string", "invalid escaped character",
    "invalid number", "invalid utf-16 surrogate pair", "object keys must be strings", "trailing characters",
    "trailing comma in array", "trailing comma in object",
)  # fmt: skip

LIBRARIES = (
    # msgspec, of values
    "Expected `{0}`, got `{1}`",
    "Expected `{0}`",
    "Expected `str` of length >= {0}",
    "Expected `str` of length <= {0}",
    "Expected `array` of length >= {0}",
    "Expected `array` of length <= {0}",
    "Expected `array` of length {0}, got {1}",
    "Expected `object` of length <= {0}",
    "Expected `object` of length >= {0}",
    "Expected `int` >= {0}",
    "Expected `int` <= {0}",
    "Expected `int` that's a multiple of {0}",
    "Expected `float` {0} {1}",
    "Expected `datetime` with a timezone component",
    "Integer value out of range",
    "Number out of range",
    "Invalid RFC3339 encoded date",
    "Invalid RFC3339 encoded datetime",
    "Invalid RFC3339 encoded time",
    "Invalid UUID",
    "Invalid base64 encoded string",
    "Invalid enum value {0}",
    "Invalid value {0}",
    "Object contains unknown field `{0}`",
    "Object missing required field `{0}`",
    "has characters or a form that is not allowed",
    # msgspec, of the bytes
    "Input data was truncated",
    *(f"JSON is malformed: {error} (byte {{0}})" for error in _JSON_ERRORS),
    "'utf-8' codec can't decode byte {0} in position {1}: {2}",
    # email-validator: the sentences that a caller can act on, and what the many others have in common
    "An email address must have an @-sign.",
    "There must be something before the @-sign.",
    "There must be something after the @-sign.",
    "There can't be anything after the email address.",
    "An email address cannot {0}.",
    "An open angle bracket {0}.",
    "The email address is too long {0}.",
    "The email address contains {0}.",
    "The display name contains {0}.",
    "The part after the @-sign {0}.",
    "After the @-sign, periods cannot {0}.",
    "Extra character(s) found after close quote: {0}",
    "Quoting the part before the @-sign is not allowed here.",
    "A bracketed IP address after the @-sign is not allowed here.",
)
"""What libraries say and callers hear; a translation may leave out what a hole holds. What is not here is heard in
English.
"""
