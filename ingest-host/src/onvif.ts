import { randomUUID } from 'node:crypto';
import type { Socket } from 'node:dgram';
import { networkInterfaces } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { refuseHost, withoutBrackets } from '@video-pipeline/outbound';
import onvif, { type CamProfile } from 'onvif';
import { decoded } from './source/authorization.ts';
import { bound } from './source/rtp-udp.ts';

/** Multicast address of all devices (WS-Discovery 1.1, 2.4). */
const EVERYONE = { host: '239.255.255.250', port: 3702 };
const CALL_TIMEOUT_MS = 5_000;

export interface Device {
  /** URL of its device service. */
  address: string;
  name: string | undefined;
  hardware: string | undefined;
}

/** One profile of a device: its main stream or a smaller one. */
export interface Profile {
  name: string;
  /** Format of the video, as far as the device reports it. */
  codec: string | undefined;
  width: number | undefined;
  height: number | undefined;
  frameRate: number | undefined;
  /** URL of the stream, without credentials. */
  url: string;
}

/**
 * Finds the devices in the networks of this machine (WS-Discovery, ONVIF Core 7).
 * @param at address of a device or a network, `host[:port]`; default: all networks
 */
export async function discover(seconds: number, at?: string): Promise<Device[]> {
  const [, host = '', port = EVERYONE.port] = /^(.*?)(?::(\d+))?$/.exec(at ?? EVERYONE.host) ?? [];
  const own = Object.values(networkInterfaces()).flatMap((all = []) =>
    all.filter(({ family, internal }) => family === 'IPv4' && !internal).map(({ address }) => address),
  );
  const found = new Map<string, Device>();
  const sockets: Socket[] = [];
  try {
    // A machine in two networks has to send to both.
    for (const address of at === undefined ? own : ['']) {
      const socket = await bound(
        address,
        0,
        address ? (one) => one.setMulticastInterface(address) : undefined,
      );
      sockets.push(socket);
      socket.on('message', (answer, { address: from }) => {
        const device = deviceOf(String(answer), from);
        if (device) found.set(device.address, device);
      });
    }
    // Sent twice, since a datagram may be lost.
    for (const wait of [0.3, 0.7]) {
      for (const socket of sockets) socket.send(probeMessage(), Number(port), host, () => {});
      await delay(seconds * wait * 1000);
    }
  } finally {
    for (const socket of sockets) socket.close();
  }
  return [...found.values()];
}

function probeMessage(): string {
  return (
    '<?xml version="1.0" encoding="UTF-8"?><e:Envelope xmlns:e="http://www.w3.org/2003/05/soap-envelope" ' +
    'xmlns:w="http://schemas.xmlsoap.org/ws/2004/08/addressing" xmlns:d="http://schemas.xmlsoap.org/ws/2005/04/discovery" ' +
    'xmlns:dn="http://www.onvif.org/ver10/network/wsdl"><e:Header>' +
    `<w:MessageID>uuid:${randomUUID()}</w:MessageID>` +
    '<w:To>urn:schemas-xmlsoap-org:ws:2005:04:discovery</w:To>' +
    '<w:Action>http://schemas.xmlsoap.org/ws/2005/04/discovery/Probe</w:Action></e:Header>' +
    '<e:Body><d:Probe><d:Types>dn:NetworkVideoTransmitter</d:Types></d:Probe></e:Body></e:Envelope>'
  );
}

/** @param from sender of the answer. Only a URL of this host is accepted: the password will be sent to it. */
function deviceOf(answer: string, from: string): Device | undefined {
  const of = (name: string) =>
    new RegExp(`<(?:[\\w-]+:)?${name}[^>]*>([^<]*)<`).exec(answer)?.[1]?.trim().split(/\s+/);
  const address = of('XAddrs')?.find((url) => URL.parse(url)?.hostname === from);
  if (!address) return undefined;
  const scope = (kind: string) => {
    const value = of('Scopes')?.find((one) => one.startsWith(`onvif://www.onvif.org/${kind}/`));
    return value && printable(decoded(value.split('/').slice(4).join('/')));
  };
  return { address: printable(address), name: scope('name'), hardware: scope('hardware') };
}

/**
 * The profiles of a device, each with its URL from GetStreamUri (ONVIF Media, 5.15.1).
 * @param address URL of its device service, with credentials
 * @throws Error with the device's answer
 */
export async function profilesOf(address: URL): Promise<Profile[]> {
  await refuseHost(address.hostname);
  const isSecure = address.protocol === 'https:';
  const camera = new onvif.Cam({
    hostname: withoutBrackets(address.hostname),
    port: Number(address.port) || (isSecure ? 443 : 80),
    ...(address.pathname === '/' ? {} : { path: address.pathname }),
    username: decoded(address.username),
    password: decoded(address.password),
    timeout: CALL_TIMEOUT_MS,
    autoconnect: false,
    // Behind a router a device may report an address that can't be reached: the known one is kept.
    preserveAddress: true,
    ...(isSecure ? { useSecure: true, secureOpts: { rejectUnauthorized: false } } : {}),
  });
  // The device's time is part of the password digest (WS-Security).
  await answered((done) => camera.getSystemDateAndTime(done));
  await answered((done) => camera.getServices(done)).catch(() =>
    answered((done) => camera.getCapabilities(done)),
  );
  const profiles = (await answered<CamProfile[]>((done) => camera.getProfiles(done))) ?? [];
  const list: Profile[] = [];
  for (const { $, name, videoEncoderConfiguration: video } of profiles) {
    const profileToken = String($?.token ?? '');
    const answer = await answered<{ uri: string }>((done) =>
      camera.getStreamUri({ protocol: 'RTSP', profileToken }, done),
    );
    list.push({
      name: printable(String(name ?? profileToken)),
      codec: video?.encoding && printable(String(video.encoding)),
      width: video?.resolution?.width,
      height: video?.resolution?.height,
      frameRate: video?.rateControl?.frameRateLimit,
      url: printable(String(answer?.uri ?? '')),
    });
  }
  return list;
}

function answered<T>(call: (done: (error: Error | null, value?: T) => void) => void): Promise<T | undefined> {
  return new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value))));
}

/** Removes control characters: the text of a device is printed to a terminal. */
function printable(text: string): string {
  return text.replace(/\p{C}/gu, '').slice(0, 500);
}
