const formats = new Map();

function format(timeZone, options, instant) {
  const key = timeZone + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat('en-GB', { timeZone, ...options }));
  return formats.get(key).format(new Date(instant));
}

/** The date an instant falls on in a zone, as YYYY-MM-DD. */
export function dayOf(instant, timeZone) {
  const text = format(timeZone, { year: 'numeric', month: '2-digit', day: '2-digit' }, instant);
  return text.split('/').reverse().join('-');
}

export const timeOf = (instant, timeZone) => format(timeZone, { hour: '2-digit', minute: '2-digit' }, instant);

/** A date is only a name for a day, so its arithmetic is done at noon UTC, where no zone can shift it. */
const noon = (day) => Date.parse(`${day}T12:00:00Z`);

export const addDays = (day, count) => new Date(noon(day) + count * 86_400_000).toISOString().slice(0, 10);
export const daysBetween = (from, to) => (noon(to) - noon(from)) / 86_400_000;

export const dayText = (day, options) => format('UTC', options, noon(day));
export const longDay = (day) => dayText(day, { weekday: 'long', day: 'numeric', month: 'long' });
export const shortDay = (day) => dayText(day, { weekday: 'short', day: 'numeric', month: 'short' });

export function minutesAndSeconds(ms) {
  const seconds = Math.max(0, Math.ceil(ms / 1000));
  return `${Math.floor(seconds / 60)}:${String(seconds % 60).padStart(2, '0')}`;
}
