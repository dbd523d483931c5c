"""Every bound in one place. A name carries its unit; relations between bounds are asserted below."""

from typing import Final

# Requests
body_bytes_max: Final = 64 * 1024
header_line_bytes_max: Final = 8 * 1024
whole_request_bytes_max: Final = header_line_bytes_max
"""Of a request that is read in one piece: no line of it can be too long."""
idempotency_key_chars_max: Final = 128
request_deadline_s: Final = 10.0
page_size_default: Final = 50
page_size_max: Final = 200
name_chars_max: Final = 200
text_chars_max: Final = 2_000

# Time: years a booking may lie in; outside them zone rules and arithmetic mean nothing.
year_min: Final = 2000
year_max: Final = 2100

# Services
duration_minutes_max: Final = 24 * 60
buffer_minutes_max: Final = 4 * 60
notice_minutes_max: Final = 90 * 24 * 60
horizon_days_max: Final = 730
horizon_days_default: Final = 90
capacity_max: Final = 1_000
durations_per_service_max: Final = 12
cap_max: Final = 1_000
questions_per_service_max: Final = 20
options_per_question_max: Final = 50
answer_chars_max: Final = 1_000
offerings_per_professional_max: Final = 500
"""That are not over."""
resources_per_service_max: Final = 20
"""Choices among resources that a service asks for; one of each kind is taken."""
locations_per_service_max: Final = 200
parts_per_meeting_max: Final = 10
"""Other calendars that one meeting takes up."""
lineups_tried_max: Final = 5
"""Choices of who takes part that one request tries, where others are faster."""
gathering_ttl_s: Final = 30
"""How long a booking of several calendars may be on its way before what it has taken is free again."""
meetings_alternatives_days: Final = 2
joint_views_max: Final = 200
"""Different live views, on one node, of services that take several calendars."""

# Schedules
weekly_ranges_max: Final = 7 * 12
overrides_max: Final = 400
later_hours_max: Final = 24
holidays_max: Final = 400
"""Of a business, from today on."""
rule_chars_max: Final = 200
rule_interval_max: Final = 366

# Calendars
hold_ttl_default_s: Final = 5 * 60
hold_ttl_max_s: Final = 15 * 60
holds_per_holder_max: Final = 3
time_off_days_max: Final = 366
time_off_series_max: Final = 400
"""Periods that one rule of recurring time off makes."""
series_max: Final = 104
"""Bookings of one series: two years, week by week."""
series_days_max: Final = 750
doubles_per_calendar_max: Final = 500
done_days: Final = 8
"""How long a calendar remembers a meeting that is over: for a week's cap, and for those marked as no-show later."""
sweep_events_max: Final = 200
blocks_per_calendar_max: Final = 2_000
alternatives_max: Final = 5
alternatives_tried_max: Final = 400
range_days_max: Final = 62
professionals_per_service_max: Final = 50
"""Beyond it the slots of a service are asked for one professional at a time."""
slots_per_answer_max: Final = 5_000
"""Also of a view: its snapshot, some 110 bytes a slot, must stay well below `socket_cut_bytes`."""

# People
password_chars_min: Final = 8
password_chars_max: Final = 1_024
password_hash_passes: Final = 2
password_hash_kib: Final = 19_456
"""Parameters of argon2id: some 25 ms on one core."""
passwords_waiting_max: Final = 64
"""Passwords waiting to be hashed; beyond it sign-ins are refused."""
passwords_wait_s: Final = 5.0
passwords_retry_after_s: Final = 2
token_chars_max: Final = 4_096
access_token_ttl_s: Final = 15 * 60
refresh_token_ttl_s: Final = 30 * 24 * 3600
refresh_grace_s: Final = 10
"""How long a refresh token that was used is answered again, for an answer that got lost on its way."""
sessions_per_user_max: Final = 50
locations_per_manager_max: Final = 50
"""They stand in the token, which must stay within `token_chars_max`."""
scopes_per_token_max: Final = 40
businesses_per_user_max: Final = 100
code_ttl_s: Final = 10 * 60
code_tries_max: Final = 5
proof_ttl_s: Final = 15 * 60
grants_per_member_max: Final = 12

# Businesses
origins_max: Final = 50
languages_max: Final = 20
accept_language_chars_max: Final = 200
"""Of an `Accept-Language`; what stands beyond is not looked at."""
translated_chars_max: Final = 1_000
"""A longer text stays in English: it is mostly what the caller has sent."""
trial_days_max: Final = 3_650
cancellation_notice_minutes_max: Final = 90 * 24 * 60
statistics_days_max: Final = 366
analytics_days_max: Final = 366
analytics_cells_max: Final = 50_000
"""Days of calendars whose open time one answer of analytics works out; what is over has been worked out before."""
analytics_rows_max: Final = 1_000
"""Services, and professionals, of one answer of analytics."""
feed_days_back: Final = 31
feed_days_ahead: Final = 366
feed_entries_max: Final = 1_000
export_bookings_max: Final = 10_000

# The actor runtime
mailbox_depth_max: Final = 2_048
activation_batch_max: Final = 256
activation_waiting_max: Final = 20_000
passivate_after_s: Final = 20 * 60
answers_kept_s: Final = 60.0
keys_per_calendar_max: Final = 100_000
"""Hashes of idempotency keys one calendar remembers."""
waits_per_client_max: Final = 20
explained_events_max: Final = 20_000
"""How far a calendar's history is gone through to tell how it was."""
answers_per_actor_max: Final = 16
"""Ready answers (slots, availability) one calendar keeps encoded."""

# The journal
batch_events_max: Final = 512
journal_waiting_max: Final = 8_192
commit_timeout_s: Final = 5.0
release_timeout_s: Final = 7.0
"""How long a shard that is given up waits for the fate of what was decided in it."""

# Messages
export_messages_max: Final = 20_000
reminders_max: Final = 5
reminder_minutes_min: Final = 5
reminder_minutes_max: Final = 60 * 24 * 60
callback_url_chars_max: Final = 2_000
# Jobs
job_payload_bytes_max: Final = 32 * 1024
job_key_chars_max: Final = 300
job_reason_chars_max: Final = 1_000
job_attempts_max: Final = 100
job_pause_s: Final = 5.0
"""After the first try that failed; longer after each, up to `job_pause_max_s`."""
job_pause_max_s: Final = 6 * 3600.0
job_timeout_s: Final = 60.0
job_done_kept_s: Final = 2 * 24 * 3600
"""How long a key stands for a job that was done."""
job_dead_kept_s: Final = 60 * 24 * 3600
jobs_at_once_max: Final = 500
jobs_forgotten_at_once_max: Final = 5_000
follower_events_max: Final = 500
"""Events that a follower digests in one transaction."""

# Webhooks
webhooks_per_business_max: Final = 10
webhook_pauses_s: Final = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Between the tries of one delivery: three days in all."""
webhook_failing_s_max: Final = 5 * 24 * 3600
"""A webhook to which nothing has got through for so long is disabled."""
webhook_rest_s: Final = 5.0
webhook_rest_max_s: Final = 300.0
"""How long a target in trouble is left alone: at first, and at most."""
webhook_under_way_max: Final = 4
"""Deliveries to one target that a node has under way."""
webhook_overlap_hours: Final = 24
webhook_overlap_hours_max: Final = 72
deliveries_kept_s: Final = 30 * 24 * 3600
deliveries_forgotten_at_once_max: Final = 5_000

# Live
message_bytes_max: Final = 8 * 1024
subscriptions_per_socket_max: Final = 100
commands_in_flight_per_socket_max: Final = 256
login_timeout_s: Final = 10.0
socket_behind_bytes: Final = 64 * 1024
unlooked_bytes: Final = 16 * 1024
"""Of one view, to each of its sockets, before it is looked at how far they are behind."""
direct_views_max: Final = 4
"""Of one socket: what is written without a look is counted by each view for itself."""
socket_cut_bytes: Final = 1024 * 1024
socket_cut_s: Final = 10.0
heartbeat_s: Final = 25.0
ring_frames_max: Final = 256
ring_bytes_max: Final = 128 * 1024
views_per_calendar_max: Final = 200
view_linger_s: Final = 60.0
"""How long a view nobody watches keeps its ring, so that reconnecting viewers need no snapshot."""
sockets_max: Final = 50_000
ticket_ttl_s: Final = 30
visitors_per_address_max: Final = 1_000
"""Live connections of one address that have not logged in."""
subscriptions_per_visitor_max: Final = 20
tickets_waiting_max: Final = 10_000

# The cluster
forwarded_waiting_max: Final = 8_192
"""Requests that wait for other nodes, and as many that other nodes wait for."""
rerouting_max: Final = 10_000
"""Requests that wait for a calendar to have an owner."""
replicas_max: Final = 100_000
relay_keep_s: Final = 1.0
relay_forgotten_s: Final = 5.0
relays_per_message_max: Final = 5_000
lease_ttl_default_s: Final = 5.0
directory_timeout_s: Final = 1.0
moves_at_once: Final = 8
"""Shards that one node hands over at a time, and that wait for one heir."""
bus_message_bytes_max: Final = 1024 * 1024
"""Of one message, and about as much as one PUBLISH carries."""
bus_outbox_bytes_max: Final = 8 * 1024 * 1024
"""What one node may have waiting for the bus."""

assert hold_ttl_default_s <= hold_ttl_max_s
assert page_size_default <= page_size_max
assert batch_events_max <= mailbox_depth_max <= journal_waiting_max, "one actor must not fill the journal"
assert 150 * slots_per_answer_max < socket_cut_bytes, "a snapshot must not cut the socket it is sent to"
assert socket_behind_bytes < socket_cut_bytes
assert direct_views_max * unlooked_bytes <= socket_behind_bytes
assert message_bytes_max <= body_bytes_max
assert request_deadline_s < gathering_ttl_s <= hold_ttl_max_s, "a request must not outlive what it holds"
assert hold_ttl_max_s <= passivate_after_s, "a calendar with a hold must stay until the hold ends"
assert commit_timeout_s < release_timeout_s, "a commit that ends in time is waited for"
assert 60 * locations_per_manager_max + 40 * grants_per_member_max + 500 < token_chars_max, "rights must fit a token"
assert token_chars_max < header_line_bytes_max, "a token must fit its header"
assert passwords_wait_s < request_deadline_s
assert refresh_grace_s < access_token_ttl_s < refresh_token_ttl_s
assert commit_timeout_s < request_deadline_s, "a caller must outlive the commit that decides its answer"
assert 150 * slots_per_answer_max < bus_message_bytes_max <= bus_outbox_bytes_max, "a snapshot must fit into a message"
assert job_pause_s < job_pause_max_s < job_done_kept_s < job_dead_kept_s, "a key outlives the pause between two tries"
assert 2 * relay_keep_s < relay_forgotten_s
assert 2 * directory_timeout_s < lease_ttl_default_s, "a beat that was not answered must be tried again in time"
