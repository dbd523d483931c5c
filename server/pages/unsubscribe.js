import { t } from './texts.js';

const token = location.hash.slice(1);
const button = document.getElementById('stop');
const notice = document.getElementById('notice');

button.addEventListener('click', async () => {
  button.disabled = true;
  try {
    const answer = await fetch(`/api/v1/unsubscribe/${encodeURIComponent(token)}`, { method: 'POST' });
    button.hidden = answer.ok;
    notice.textContent = answer.ok ? t('Done: you get no more reminders.') : (await answer.json()).detail;
  } catch {
    notice.textContent = t('The server cannot be reached.');
  }
  button.disabled = false;
});
