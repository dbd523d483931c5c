import { isKnown, locale, names } from './texts.js';

const DAYS = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** As `Intl.DateTimeFormat`, in the language of the page: where the browser does not know it, the server has given the names. */
export class Written {
  #format;
  #isLong;

  constructor(options) {
    this.#format = new Intl.DateTimeFormat(isKnown ? locale : 'en-GB', options);
    const long = [options.weekday, options.month, options.dateStyle].some((style) => style === 'long' || style === 'full');
    this.#isLong = long ? 'long' : 'short';
  }

  format(instant) {
    return isKnown ? this.#format.format(instant) : this.#spell(this.#format.formatToParts(instant));
  }

  formatRange(from, to) {
    return isKnown ? this.#format.formatRange(from, to) : this.#spell(this.#format.formatRangeToParts(from, to));
  }

  #spell(parts) {
    const spelled = parts.map(({ type, value }, i) => {
      if (type === 'weekday') return names.weekday[this.#isLong][DAYS.indexOf(value.slice(0, 3))];
      if (type === 'month' && MONTHS.includes(value.slice(0, 3))) return names.month[this.#isLong][MONTHS.indexOf(value.slice(0, 3))];
      if (type === 'literal' && (parts[i - 1]?.type === 'weekday' || value === ' at ')) return ', ';
      return value;
    });
    return spelled.join('');
  }
}

const formats = new Map();

function format(timeZone, options, instant) {
  const key = timeZone + JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Written({ timeZone, ...options }));
  return formats.get(key).format(new Date(instant));
}

const days = new Map();

/** The date an instant falls on in a zone, as YYYY-MM-DD. */
export function dayOf(instant, timeZone) {
  const options = { timeZone, year: 'numeric', month: '2-digit', day: '2-digit' };
  if (!days.has(timeZone)) days.set(timeZone, new Intl.DateTimeFormat('en-GB', options));
  return days.get(timeZone).format(new Date(instant)).split('/').reverse().join('-');
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
