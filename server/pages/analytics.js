import { Chart } from './chart.js';
import { addDays, dayOf } from './dates.js';
import { make } from './grid.js';
import { language, locale, n, t } from './texts.js';

const BASE = '/api/v1/';
const CHOICES_MAX = 200;
const find = (selector) => document.querySelector(selector);
const [login, notice, report, asked] = ['login', 'notice', 'report', 'asked'].map((id) => document.getElementById(id));

const whole = new Intl.NumberFormat(locale);
const tenths = new Intl.NumberFormat(locale, { maximumFractionDigits: 1 });
const percent = new Intl.NumberFormat(locale, { style: 'percent', maximumFractionDigits: 0 });
const share = (part, all) => (all ? percent.format(part / all) : '–');
const used = (figures) => (figures.utilisation === null ? '–' : percent.format(figures.utilisation));
const inHours = (minutes) => tenths.format(minutes / 60);

/** What is signed in, in memory alone: a reload asks again. */
let session = null;
let serial = 0;

function tell(text = '') {
  notice.textContent = text;
  notice.hidden = !text;
}

async function request(path, { token, body } = {}) {
  const headers = { 'Accept-Language': language, ...(token && { Authorization: `Bearer ${token}` }) };
  if (body) headers['Content-Type'] = 'application/json';
  const sent = { method: body ? 'POST' : 'GET', headers, body: body && JSON.stringify(body), cache: 'no-store' };
  const response = await fetch(BASE + path, sent).catch(() => null);
  const answer = await response?.json().catch(() => null);
  if (response?.ok) return answer;
  throw answer ?? { code: 'away', detail: t('The server does not answer. Try again.') };
}

/** As the one who is signed in; a token that has ended is renewed once. */
async function ask(path) {
  const before = session;
  try {
    return await request(path, { token: before.access_token });
  } catch (problem) {
    if (problem.code !== 'unauthorized') throw problem;
    // Several may find out at once, and a refresh token is good for one of them.
    before.renewed ??= request('auth/refresh', { body: { refresh_token: before.refresh_token } });
    session = await before.renewed;
    return request(path, { token: session.access_token });
  }
}

function failed(problem) {
  if (problem.code === 'unauthorized') {
    session = null;
    login.hidden = false;
    report.hidden = true;
  }
  tell(problem.detail || problem.title);
}

async function signIn() {
  const { email, password, business } = login.elements;
  const body = { email: email.value, password: password.value };
  if (business.value) body.business = business.value;
  session = await request('auth/login', { body }).catch((problem) => {
    if (problem.code === 'business_required') {
      find('.which').hidden = false;
      business.focus();
    }
    throw problem;
  });
  password.value = '';
  const lists = [['location_id', 'locations', 'name'], ['professional_id', 'professionals', 'display_name'], ['service_id', 'services', 'name']];
  await Promise.all(lists.map((list) => fill(...list)));
  login.hidden = true;
  report.hidden = false;
  // Before what takes a while: who has gone on meanwhile is not to be called back.
  asked.querySelector('[aria-pressed="true"]')?.focus();
  await show();
}

async function fill(field, path, name) {
  const { items } = await ask(`${path}?limit=${CHOICES_MAX}`);
  const select = asked.elements[field];
  const options = items.map((item) => make('option', { value: item.id, textContent: item[name] }));
  select.replaceChildren(select.options[0], ...options);
}

async function show() {
  const query = new URLSearchParams([...new FormData(asked)].filter(([, value]) => value));
  const mine = ++serial;
  report.ariaBusy = 'true';
  try {
    const found = await ask(`analytics?${query}`);
    if (mine !== serial) return;
    tell();
    draw(found);
  } finally {
    if (mine === serial) report.ariaBusy = 'false';
  }
}

const chart = new Chart(find('.chart'), find('.said'), (day) =>
  [
    n('{0} booking', '{0} bookings', day.bookings),
    day.cancelled && n('{0} cancelled', '{0} cancelled', day.cancelled),
    day.no_show && n('{0} no-show', '{0} no-shows', day.no_show),
    day.utilisation !== null && t('{0} of open time', used(day)),
  ].filter(Boolean).join(', '),
);

function draw({ total, by_day, by_service, by_professional, time_zone }) {
  find('.zone').textContent = t('Days are those of each calendar; the business is in {0}.', time_zone);
  const lead = total.lead_hours;
  const early = lead === null ? '–' : lead < 48 ? t('{0} h', tenths.format(lead)) : t('{0} d', tenths.format(lead / 24));
  const cards = [
    [t('Bookings'), whole.format(total.bookings), total.pending ? n('{0} pending', '{0} pending', total.pending) : ''],
    [t('People'), whole.format(total.attendees), ''],
    [t('Open time used'), used(total), total.open_minutes === null ? '' : t('{0} of {1} h', inHours(total.booked_minutes), inHours(total.open_minutes))],
    [t('Cancelled'), share(total.cancelled, total.bookings), t('{0}, by clients {1}', whole.format(total.cancelled), whole.format(total.cancelled_by_clients))],
    [t('No-shows'), share(total.no_show, total.bookings), whole.format(total.no_show)],
    [t('Booked ahead, on average'), early, ''],
  ];
  const shown = cards.map(([name, value, more]) => make('div', {}, make('dt', {}, name), make('dd', {}, value, make('small', {}, more))));
  find('.total').replaceChildren(...shown);
  chart.draw(by_day);
  table(find('#services'), t('Service'), by_service, 'name', false);
  table(find('#professionals'), t('Professional'), by_professional, 'display_name', true);
}

function table(element, title, rows, name, withOpen) {
  const columns = [
    [t('Bookings'), (row) => whole.format(row.bookings)],
    [t('People'), (row) => whole.format(row.attendees)],
    [t('Hours'), (row) => inHours(row.booked_minutes)],
    [t('Cancelled'), (row) => share(row.cancelled, row.bookings)],
    [t('No-shows'), (row) => share(row.no_show, row.bookings)],
    ...(withOpen ? [[t('Open time used'), used]] : []),
  ];
  const head = [title, ...columns.map(([text]) => text)].map((text) => make('th', { scope: 'col' }, text));
  const body = rows.map((row) => {
    const cells = columns.map(([, value]) => make('td', {}, value(row)));
    return make('tr', {}, make('th', { scope: 'row' }, row[name]), ...cells);
  });
  if (!rows.length) body.push(make('tr', {}, make('td', { className: 'none', colSpan: head.length }, t('Nothing in this period.'))));
  element.replaceChildren(make('thead', {}, make('tr', {}, ...head)), make('tbody', {}, ...body));
}

function choose(button) {
  const today = dayOf(Date.now());
  asked.elements.from.value = addDays(today, Number(button.dataset.from));
  asked.elements.to.value = addDays(today, Number(button.dataset.to));
  press(button);
}

function press(chosen) {
  for (const button of asked.querySelectorAll('.presets button')) button.ariaPressed = String(button === chosen);
}

login.onsubmit = (event) => {
  event.preventDefault();
  tell();
  signIn().catch(failed);
};
asked.onsubmit = (event) => {
  event.preventDefault();
  show().catch(failed);
};
asked.onclick = ({ target }) => {
  if (!target.dataset.from) return;
  choose(target);
  show().catch(failed);
};
asked.onchange = ({ target }) => {
  if (target.type === 'date') press(null);
};
choose(asked.querySelector('[data-from="-29"]'));
