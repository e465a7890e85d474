import { expect, test, vi } from 'vitest';
import { Relay } from './relay.ts';

const DESCRIPTION = 'v=0\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\n';

function viewerOf(relay: Relay) {
  const outlet = { sendRtp: vi.fn(), sendRtcp: vi.fn(), ready: () => true };
  const letGo = vi.fn();
  return { outlet, letGo, playing: relay.play(outlet, letGo) };
}

test('a client of a source that ended is disconnected, and gets no packet of the next source', () => {
  const relay = new Relay();
  relay.begin(DESCRIPTION, 0);
  const [early, late] = [viewerOf(relay), viewerOf(relay)];
  early.playing.start();
  relay.end();
  expect(early.letGo).toHaveBeenCalledOnce();
  relay.begin(DESCRIPTION, 0);
  late.playing.start();
  expect(late.letGo).toHaveBeenCalledOnce();
  const next = viewerOf(relay);
  next.playing.start();
  relay.rtp([Buffer.from('x')]);
  expect([early, late, next].map(({ outlet }) => outlet.sendRtp.mock.calls.length)).toEqual([0, 0, 1]);
});
