import { readFile } from 'node:fs/promises';
import { setTimeout as wait } from 'node:timers/promises';
import { inject } from 'vitest';
import { UP } from './share-servers.ts';

/** The files of a project that shares servers wait for them, as the run itself does not. */
let said = '';
while (said === '') {
  said = await readFile(inject('sharedServers'), 'utf8').catch(() => '');
  if (said === '') await wait(50);
}
if (said !== UP) throw new Error(`the servers that the tests share did not start: ${said}`);
