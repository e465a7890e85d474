import { webcrypto } from 'node:crypto';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { SubjectAlternativeNameExtension, X509CertificateGenerator } from '@peculiar/x509';

/** A self-signed certificate of a server: only clients with its file trust it. */
export interface Certificate {
  /** Certificate and key (PEM), for a server. */
  server: string;
  /** Path of a file with both. */
  serverFile: string;
  /** Path of the certificate without its key (PEM), for clients that should trust it. */
  pem: string;
}

const DAY_MS = 86_400_000;

/** Makes a certificate for 127.0.0.1 in `folder`. */
export async function makeCertificate(folder: string): Promise<Certificate> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await X509CertificateGenerator.createSelfSigned({
    ...{ name: 'CN=127.0.0.1', keys: keys as CryptoKeyPair, signingAlgorithm: algorithm },
    notBefore: new Date(Date.now() - DAY_MS),
    notAfter: new Date(Date.now() + DAY_MS),
    extensions: [new SubjectAlternativeNameExtension([{ type: 'ip', value: '127.0.0.1' }])],
  });
  const key = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64');
  const text = certificate.toString('pem');
  const server = `${text}\n-----BEGIN PRIVATE KEY-----\n${key.replace(/.{64}/g, '$&\n')}\n-----END PRIVATE KEY-----\n`;
  const [pem, serverFile] = [join(folder, 'server.pem'), join(folder, 'server-with-key.pem')];
  await writeFile(pem, text);
  await writeFile(serverFile, server, { mode: 0o600 });
  return { server, serverFile, pem };
}
