import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';

/** A server's certificate that only those trust who are given it. */
export interface Certificate {
  /** Path of certificate and key (PKCS #12), for a server. */
  keystore: string;
  password: string;
  /** Path of the certificate alone (PEM), for those who are to trust it. */
  pem: string;
}

/** Makes a certificate of 127.0.0.1 in `folder`, by the `keytool` that comes with Java. */
export async function makeCertificate(folder: string): Promise<Certificate> {
  const [keystore, pem, password] = [join(folder, 'server.p12'), join(folder, 'server.pem'), 'changeit'];
  const keytool = (command: string) =>
    promisify(execFile)('keytool', [
      ...command.split(' '),
      ...['-alias', 'server', '-keystore', keystore, '-storetype', 'PKCS12', '-storepass', password],
    ]);
  await keytool('-genkeypair -keyalg EC -groupname secp256r1 -dname CN=127.0.0.1 -ext san=ip:127.0.0.1');
  await keytool(`-exportcert -rfc -file ${pem}`);
  return { keystore, password, pem };
}
