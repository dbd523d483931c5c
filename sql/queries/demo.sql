-- name: demo_calendar
SELECT b.slug, b.name AS business_name, p.id::text, p.display_name, c.time_zone, s.id::text AS service_id,
    s.name AS service_name, s.duration_minutes
FROM businesses b
JOIN professionals p ON p.business_id = b.id AND p.deleted_at IS NULL
JOIN calendars c ON c.id = p.id
JOIN professional_services o ON o.professional_id = p.id
JOIN services s ON s.id = o.service_id AND s.deleted_at IS NULL
WHERE b.slug = 'demo' ORDER BY p.id, s.id LIMIT 1;
