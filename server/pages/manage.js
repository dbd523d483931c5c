import { Written } from './dates.js';
import { t } from './texts.js';

// The token stands behind the #, so that it reaches neither logs nor other servers.
const [code, token] = location.hash.slice(1).split('.');
const element = (id) => document.getElementById(id);
const notice = element('notice');

const STATES = {
  pending: t('waiting for approval'),
  confirmed: t('confirmed'),
  completed: t('over'),
  cancelled: t('cancelled'),
  rejected: t('not approved'),
  expired: t('not answered in time'),
  no_show: t('missed'),
};

async function ask(path, options = {}) {
  const answer = await fetch(`/api/v1/bookings/${encodeURIComponent(code)}${path}`, {
    ...options,
    headers: { 'X-Manage-Token': token, 'Content-Type': 'application/json' },
  });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail || body.title);
  return body;
}

function show(booking) {
  const when = new Written({ dateStyle: 'full', timeStyle: 'short' });
  element('code').textContent = booking.code;
  element('state').textContent = STATES[booking.status] ?? booking.status;
  element('when').textContent = when.formatRange(new Date(booking.start), new Date(booking.end));
  element('professional').textContent = booking.professional_name ?? '';
  element('ask').hidden = !['pending', 'confirmed'].includes(booking.status);
  element('sure').hidden = true;
  element('booking').hidden = false;
}

async function attempt(work, done) {
  try {
    show(await work());
    notice.textContent = done;
  } catch (error) {
    notice.textContent = error instanceof TypeError ? t('The server cannot be reached.') : error.message;
  }
}

function choose(sure) {
  element('ask').hidden = sure;
  element('sure').hidden = !sure;
  element(sure ? 'no' : 'cancel').focus();
}

element('cancel').addEventListener('click', () => choose(true));
element('no').addEventListener('click', () => choose(false));
element('yes').addEventListener('click', async (event) => {
  event.target.disabled = true;
  await attempt(async () => {
    await ask('/cancel', { method: 'POST', body: '{}' });
    return ask('');
  }, t('The booking is cancelled.'));
  event.target.disabled = false;
});

if (code && token) attempt(() => ask(''), '');
else notice.textContent = t('This link is not whole. Please copy all of it from your mail.');
