import { redact } from '@video-pipeline/telemetry';
import { type Device, discover, type Profile, profilesOf } from './onvif.ts';
import { SourceError } from './source/source-error.ts';

type Found = Device & ({ streams: Profile[] } | { error: string });

/**
 * Prints ONVIF devices with the URLs of their streams.
 * @param at `host[:port]` to ask; true asks all networks
 * @param user `name:password` for the devices
 * @throws SourceError when no device answers
 */
export async function runDiscover(
  at: string | true,
  { seconds, user = '', json }: { seconds: number; user?: string; json: boolean },
): Promise<void> {
  const devices = await discover(seconds, at === true ? undefined : at);
  if (devices.length === 0) {
    const where = at === true ? 'in the networks of this machine' : `at ${at}`;
    throw new SourceError(`no camera ${where} answered within ${seconds} s: many have ONVIF switched off`);
  }
  const found = await Promise.all(devices.map((device) => ask(device, user)));
  if (json) console.log(JSON.stringify(found));
  else for (const one of found) for (const line of describe(one)) console.log(line);
}

/** Prints the streams of one device. @param url `onvif://name:password@host/` */
export async function runOnvif(url: string, json: boolean): Promise<void> {
  const address = URL.parse(url.replace(/^onvif:/i, 'http:'));
  if (!address) throw new SourceError('open: not a URL', true);
  const streams = await profilesOf(address).catch((error: Error) => {
    throw new SourceError(`${redact(url)}: ${error.message}`);
  });
  if (json) console.log(JSON.stringify({ streams }));
  else for (const stream of streams) console.log(inWords(stream));
}

async function ask(device: Device, user: string): Promise<Found> {
  const address = new URL(device.address);
  const [name = '', ...password] = user.split(':');
  address.username = encodeURIComponent(name);
  address.password = encodeURIComponent(password.join(':'));
  try {
    return { ...device, streams: await profilesOf(address) };
  } catch (error) {
    return { ...device, error: (error as Error).message };
  }
}

function describe(found: Found): string[] {
  const what = [found.name, found.hardware].filter(Boolean).join(', ');
  const streams = 'error' in found ? [`its streams: ${found.error}`] : found.streams.map(inWords);
  return [`${found.address}  ${what}`, ...streams.map((line) => `  ${line}`)];
}

function inWords({ name, codec, width, height, frameRate, url }: Profile): string {
  const video = [codec, width && height && `${width}x${height}`, frameRate && `${frameRate} frames/s`];
  return `${name.padEnd(16)}${video.filter(Boolean).join(', ').padEnd(32)}${url}`;
}
