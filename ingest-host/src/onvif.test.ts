import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { discover, profilesOf } from './onvif.ts';

const envelope = (body: string) =>
  `<?xml version="1.0"?><s:Envelope xmlns:s="http://www.w3.org/2003/05/soap-envelope" xmlns:tt="http://www.onvif.org/ver10/schema"><s:Body>${body}</s:Body></s:Envelope>`;
const profile = (token: string, name: string, width: number, height: number) =>
  `<trt:Profiles token="${token}"><tt:Name>${name}</tt:Name><tt:VideoEncoderConfiguration token="e"><tt:Encoding>H264</tt:Encoding>` +
  `<tt:Resolution><tt:Width>${width}</tt:Width><tt:Height>${height}</tt:Height></tt:Resolution>` +
  '<tt:RateControl><tt:FrameRateLimit>25</tt:FrameRateLimit></tt:RateControl></tt:VideoEncoderConfiguration></trt:Profiles>';

/** What a camera answers to each action; `place` is another than the one it is reached at, as behind a router. */
const ANSWERS: [RegExp, string][] = [
  [
    /GetSystemDateAndTime/,
    '<tds:GetSystemDateAndTimeResponse><tds:SystemDateAndTime><tt:UTCDateTime><tt:Time><tt:Hour>7</tt:Hour><tt:Minute>0</tt:Minute><tt:Second>0</tt:Second></tt:Time><tt:Date><tt:Year>2026</tt:Year><tt:Month>11</tt:Month><tt:Day>25</tt:Day></tt:Date></tt:UTCDateTime></tds:SystemDateAndTime></tds:GetSystemDateAndTimeResponse>',
  ],
  [
    /GetServices/,
    '<tds:GetServicesResponse><tds:Service><tds:Namespace>http://www.onvif.org/ver10/device/wsdl</tds:Namespace><tds:XAddr>http://10.9.9.9/onvif/device_service</tds:XAddr></tds:Service><tds:Service><tds:Namespace>http://www.onvif.org/ver10/media/wsdl</tds:Namespace><tds:XAddr>http://10.9.9.9/onvif/media</tds:XAddr></tds:Service></tds:GetServicesResponse>',
  ],
  [
    /GetProfiles/,
    `<trt:GetProfilesResponse>${profile('main', 'Main', 1920, 1080)}${profile('sub', 'Sub', 640, 360)}</trt:GetProfilesResponse>`,
  ],
  [
    /ProfileToken>main</,
    '<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://10.9.9.9:554/main</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>',
  ],
  [
    /ProfileToken>sub</,
    '<trt:GetStreamUriResponse><trt:MediaUri><tt:Uri>rtsp://10.9.9.9:554/sub</tt:Uri></trt:MediaUri></trt:GetStreamUriResponse>',
  ],
];

/** A camera that asks for the user `admin`. */
async function startDevice() {
  const server = createServer(async (request, response) => {
    let asked = '';
    for await (const part of request) asked += part;
    const isOpen = asked.includes('GetSystemDateAndTime') || /Username>admin</.test(asked);
    const answer = ANSWERS.find(([action]) => action.test(asked))?.[1] ?? '';
    const refusal =
      '<s:Fault><s:Code><s:Value>s:Sender</s:Value></s:Code><s:Reason><s:Text xml:lang="en">Sender not Authorized</s:Text></s:Reason></s:Fault>';
    response.writeHead(isOpen ? 200 : 400, { 'content-type': 'application/soap+xml' });
    response.end(envelope(isOpen ? answer : refusal));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => void server.close());
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Answers WS-Discovery with these messages, each to every probe. */
async function startResponder(...answers: string[]) {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  await once(socket, 'listening');
  onTestFinished(() => void socket.close());
  socket.on('message', (probe, { port, address }) => {
    if (!String(probe).includes('NetworkVideoTransmitter')) return;
    for (const answer of answers) socket.send(answer, port, address);
  });
  return `127.0.0.1:${socket.address().port}`;
}

const match = (address: string) =>
  envelope(
    '<d:ProbeMatches><d:ProbeMatch><d:Types>dn:NetworkVideoTransmitter</d:Types><d:Scopes>onvif://www.onvif.org/type/video_encoder ' +
      `onvif://www.onvif.org/name/Yard%20Cam onvif://www.onvif.org/hardware/X1</d:Scopes><d:XAddrs>http://10.9.9.9/onvif/device_service ${address}</d:XAddrs></d:ProbeMatch></d:ProbeMatches>`,
  );

test('a camera that responds is listed once, with the address of its response, and other packets are ignored', async () => {
  const address = 'http://127.0.0.1:8000/onvif/device_service';
  const at = await startResponder(
    '\x00noise',
    match('http://169.254.169.254/latest'),
    match(address),
    match(address),
  );
  expect(await discover(0.5, at)).toEqual([{ address, name: 'Yard Cam', hardware: 'X1' }]);
});

test('an unreachable network leaves no socket open', async () => {
  const ports = () => process.getActiveResourcesInfo().filter((kind) => kind === 'UDPWrap').length;
  // Those of the tests before this one.
  await expect.poll(ports).toBe(0);
  await expect(discover(0.1, '127.0.0.1:99999')).rejects.toThrow('Port');
  await expect.poll(ports).toBe(0);
});

test('the profiles of a camera are listed with their URLs', async () => {
  const device = await startDevice();
  const video = { codec: 'H264', frameRate: 25 };
  expect(await profilesOf(new URL(`http://admin:p%40ss@${device}/onvif/device_service`))).toEqual([
    { ...video, name: 'Main', width: 1920, height: 1080, url: 'rtsp://10.9.9.9:554/main' },
    { ...video, name: 'Sub', width: 640, height: 360, url: 'rtsp://10.9.9.9:554/sub' },
  ]);
  await expect(profilesOf(new URL(`http://${device}/`))).rejects.toThrow('Sender not Authorized');
  await expect(profilesOf(new URL('http://169.254.169.254/'))).rejects.toThrow('link-local');
});
