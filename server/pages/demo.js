import { make } from './grid.js';
import { Pane } from './pane.js';
import { parts, t } from './texts.js';

const RETRY_MS = 3_000;
const notice = document.getElementById('notice');

/** How far the server's clock is ahead. The Date header has whole seconds, so a small difference says nothing. */
function clockOffset(response) {
  const difference = Date.parse(response.headers.get('Date')) + 500 - Date.now();
  return Math.abs(difference) > 2_000 ? difference : 0;
}

function start({ professional, service, business }, offsetMs) {
  const offer = document.getElementById('offer');
  const terms = [service.duration_minutes, professional.display_name, business.name, professional.time_zone];
  const name = make('strong', {}, service.name);
  offer.replaceChildren(...parts('{0}, {1} min with {2} at {3}. Times are in {4}.', name, ...terms));
  offer.hidden = false;
  notice.hidden = true;
  const now = () => Date.now() + offsetMs;
  for (const visitor of [t('Visitor A'), t('Visitor B')]) {
    const pane = new Pane({ visitor, professional, service, now });
    document.getElementById('panes').append(pane.root);
    pane.start();
  }
}

async function load() {
  const response = await fetch('/demo.json', { cache: 'no-store' }).catch(() => null);
  if (response?.ok) {
    start(await response.json(), clockOffset(response));
  } else if (response?.status === 404) {
    const docs = make('a', { href: '/docs' }, t('API docs'));
    const flag = make('code', {}, '--demo');
    notice.replaceChildren(...parts('This server has no demo calendar. Start it with {0}, or read the {1}.', flag, docs));
  } else {
    notice.textContent = t('The server does not answer yet. Trying again…');
    setTimeout(load, RETRY_MS);
  }
}

load();
