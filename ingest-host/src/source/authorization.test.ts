import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { Authorization, authorizationOf } from './authorization.ts';

// The example of RFC 7616, 3.9.1; its client's nonce can't be given, so the response is made anew.
const RFC =
  'realm="http-auth@example.org", qop="auth, auth-int", nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"';

test.each([
  ['SHA-256', 'sha256'],
  ['MD5', 'md5'],
])('the response to Digest with %s and qop equals the example of RFC 7616', (name, algorithm) => {
  const authorization = new Authorization({ user: 'Mufasa', password: 'Circle of Life' });
  authorization.challenge([`Digest ${RFC}, algorithm=${name}`]);
  const header = authorization.header('GET', '/dir/index.html') ?? '';
  const hash = (text: string) => createHash(algorithm).update(text).digest('hex');
  const cnonce = /cnonce="(.*?)"/.exec(header)?.[1];
  const [secret, request] = [
    hash('Mufasa:http-auth@example.org:Circle of Life'),
    hash('GET:/dir/index.html'),
  ];
  const nonce = '7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v';
  expect(header).toContain(`response="${hash(`${secret}:${nonce}:00000001:${cnonce}:auth:${request}`)}"`);
  expect(header).toContain(`algorithm=${name}`);
  expect(header).toContain('opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"');
  expect(authorization.header('GET', '/')).toContain('nc=00000002');
});

test.each(['MD5-sess', 'SHA-256-sess', 'MD5', 'SHA-256'])(
  'the response to Digest with %s and qop=auth-int is that of RFC 7616, 3.4',
  (name) => {
    const authorization = new Authorization({ user: 'a"b', password: 'p' });
    authorization.challenge([`Digest realm="x", nonce="n", qop="auth-int", algorithm=${name}`]);
    const header = authorization.header('GET', '/') ?? '';
    const algorithm = name.replace('-sess', '').replace('-', '');
    const hash = (text: string) => createHash(algorithm).update(text).digest('hex');
    const cnonce = /cnonce="(.*?)"/.exec(header)?.[1];
    const secret = hash('a"b:x:p');
    const key = name.endsWith('-sess') ? hash(`${secret}:n:${cnonce}`) : secret;
    const request = hash(`GET:/:${hash('')}`);
    expect(header).toContain(`response="${hash(`${key}:n:00000001:${cnonce}:auth-int:${request}`)}"`);
    expect(header).toContain('qop=auth-int, nc=00000001');
    expect(header).toContain('username="a\\"b"');
  },
);

test.each([
  'Digest realm="x", nonce="n", qop="auth , auth-int"',
  'Digest\trealm="x",\tnonce\t=\t"n",\tqop=" auth"',
  'Basic realm="y" ,\tDigest\trealm="x", nonce="n", qop="auth"',
])('white space of HTTP is accepted in a challenge: %j', (header) => {
  const authorization = new Authorization({ user: 'a', password: 'p' });
  authorization.challenge([header]);
  expect(authorization.header('GET', '/')).toMatch(/^Digest .*realm="x", nonce="n".*qop=auth, nc=/);
});

test('two challenges in one header are both read', () => {
  const authorization = new Authorization({ user: 'a', password: 'p' });
  authorization.challenge(['Digest realm="cam", nonce="n", Basic realm="other"']);
  expect(authorization.header('GET', '/')).toContain('realm="cam"');
  authorization.challenge(['Basic realm="other", Digest realm="cam", nonce="n"']);
  expect(authorization.header('GET', '/')).toMatch(/^Digest .*realm="cam"/);
});

test('uses the strongest Digest algorithm that is offered, and Basic only if there is no other', () => {
  const authorization = new Authorization({ user: 'admin', password: 'p@ss' });
  authorization.challenge([
    'Basic realm="x"',
    'Digest realm="x", nonce="y"',
    'Digest realm="x", nonce="z", algorithm="SHA-256"',
  ]);
  expect(authorization.header('DESCRIBE', 'rtsp://h/x')).toContain('nonce="z"');
  authorization.challenge(['Basic realm="x"']);
  expect(authorization.header('DESCRIBE', 'rtsp://h/x')).toBe(`Basic ${btoa('admin:p@ss')}`);
  expect(() => authorization.challenge(['Negotiate'])).toThrow(
    'authentication by negotiate is not supported',
  );
});

test.each(['a', '- ', 'a=', 'a="', '= '])(
  'a challenge with %j repeated 32,000 times is read quickly',
  (piece) => {
    const began = process.cpuUsage();
    const authorization = new Authorization({ user: 'admin', password: 'p' });
    authorization.challenge([`Basic ${piece.repeat(32_000 / piece.length)}`]);
    const { user, system } = process.cpuUsage(began);
    expect((user + system) / 1_000).toBeLessThan(100);
  },
);

test('a password whose percent-encoding is not UTF-8 is used unchanged', () => {
  const authorization = authorizationOf(new URL('rtsp://us%C3%A9r:p%E4ss%@h/'));
  authorization?.challenge(['Basic realm="x"']);
  expect(authorization?.header('GET', '/')).toBe(`Basic ${Buffer.from('usér:p%E4ss%').toString('base64')}`);
});

test('a realm is sent back and hashed byte by byte, also with quotes', () => {
  // As a camera sends it in Latin-1, in UTF-8, and with quotes.
  for (const realm of ['Cam\xe9ra', 'Cam\xc3\xa9ra', 'the "x" \\ cam']) {
    const authorization = new Authorization({ user: 'é', password: 'ü' });
    const sent = `"${realm.replace(/["\\]/g, '\\$&')}"`;
    authorization.challenge([`Digest realm=${sent}, nonce="n"`]);
    const header = authorization.header('GET', '/') ?? '';
    const hash = (text: string) => createHash('md5').update(text, 'latin1').digest('hex');
    expect(header).toContain(`username="\xc3\xa9", realm=${sent}, nonce="n"`);
    expect(header).toContain(
      `response="${hash(`${hash(`\xc3\xa9:${realm}:\xc3\xbc`)}:n:${hash('GET:/')}`)}"`,
    );
  }
});

test('a request is repeated once with the password, and again while its nonce is stale', () => {
  const authorization = new Authorization({ user: 'a', password: 'p' });
  const again = (repeats: number, stale = '') =>
    authorization.challenge([`Digest realm="x", nonce="${repeats}"${stale}`], repeats);
  expect([again(0), again(1)]).toEqual([true, false]);
  expect([again(0), again(1, ', stale=TRUE'), again(2, ', stale=true'), again(3, ', stale=true')]).toEqual([
    true,
    true,
    true,
    false,
  ]);
});

test('a URL with only a password has credentials, and one without both has none', () => {
  const authorization = authorizationOf(new URL('rtsp://:p@h/'));
  authorization?.challenge(['Basic realm="x"']);
  expect(authorization?.header('GET', '/')).toBe(`Basic ${btoa(':p')}`);
  expect(authorizationOf(new URL('rtsp://h/'))).toBeUndefined();
});
