// A real handler with faults between its work and the commit: after each batch it requests the next fault from
// FAULTS_URL.
import { resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { MSKEvent } from '@video-pipeline/frame';

const file = resolve(process.env.FAULTS_HANDLER ?? '');
const { handler: work } = await import(pathToFileURL(file).href);

export const handler = async (event: MSKEvent): Promise<void> => {
  await work(event);
  const fault = await fetch(process.env.FAULTS_URL ?? '').then((answer) => answer.text());
  if (fault === 'again') await work(event);
  if (fault.startsWith('clock ')) shiftClock(Number(fault.slice('clock '.length)));
  if (fault === 'throw') throw new Error('a fault after all was done');
  if (fault === 'hang') await new Promise(() => {});
  if (fault === 'die') process.kill(process.pid, 'SIGKILL');
};

const realNow = Date.now;

/** Sets the clock that this process reads, as an administrator or a time server may. */
function shiftClock(ms: number): void {
  Date.now = () => realNow() + ms;
}
