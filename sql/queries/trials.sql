-- name: trials_to_tell
-- Trials of businesses that take bookings, or did until lately, of which an owner has not been told what is due: days
-- before the end, the fewest that are reached. A notice is passed over when the next one is due already.
SELECT b.id::text, to_us(b.trial_ends_at) AS ends_us, due.days
FROM businesses b CROSS JOIN LATERAL (
    SELECT d AS days FROM unnest($2::int[]) AS d
    WHERE b.trial_ends_at <= from_us($1) + d * interval '1 day' ORDER BY d LIMIT 1
) AS due
WHERE b.deleted_at IS NULL AND b.status = 'active'
    AND b.trial_ends_at > from_us($1) - interval '7 days' AND b.trial_ends_at <= from_us($1) + $3 * interval '1 day'
    AND NOT EXISTS (SELECT FROM trial_notices n
        WHERE n.business_id = b.id AND n.ends_at = b.trial_ends_at AND n.days <= due.days)
ORDER BY b.trial_ends_at LIMIT $4;

-- name: tell_of_trial
-- Nothing when somebody else has told of it, or the trial has got another end meanwhile.
INSERT INTO trial_notices (business_id, ends_at, days)
SELECT b.id, b.trial_ends_at, $3 FROM businesses b
WHERE b.id = $1::uuid AND b.trial_ends_at = from_us($2) AND b.status = 'active' AND b.deleted_at IS NULL
ON CONFLICT DO NOTHING RETURNING days;
