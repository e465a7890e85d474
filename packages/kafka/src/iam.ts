import type { Mechanism } from 'kafkajs';

/** A broker refuses to authenticate us, or no token could be made. The message names the broker and holds no token. */
export class KafkaAuthError extends Error {
  override readonly name = 'KafkaAuthError';
  /** Read by kafkajs. */
  readonly retriable = false;
}

/** A broker takes no more connections for a moment; kafkajs tries again, later each time and not all at once. */
export class KafkaThrottledError extends Error {
  override readonly name = 'KafkaThrottledError';
  /** Read by kafkajs. */
  readonly retriable = true;
}

/**
 * MSK's error text when clients open more IAM connections a second than a broker accepts: 4 on `kafka.t3.small`, 100 on
 * the larger ones.
 * @see https://docs.aws.amazon.com/msk/latest/developerguide/limits.html
 */
const TOO_MANY = /too many connects/i;

/**
 * A token for MSK's IAM, signed with the AWS credentials that the environment, a profile or the machine's role gives.
 * @throws the AWS SDK's error when there are none
 */
export async function iamToken(region: string): Promise<string> {
  // Loaded on demand: the signer loads half of the AWS SDK.
  const { generateAuthToken } = await import('aws-msk-iam-sasl-signer-js');
  return (await generateAuthToken({ region })).token;
}

/**
 * SASL/OAUTHBEARER (RFC 7628). kafkajs 2.2.4 has it too, but doesn't read the broker's answer. It takes a refusal for
 * success, sends its next request, and reports only `Closed connection`.
 * @param createToken called for each connection, and again before the broker's session ends
 */
export function oauthBearer(createToken: () => Promise<string>): Mechanism {
  return {
    mechanism: 'oauthbearer',
    authenticationProvider: ({ host, port, saslAuthenticate }) => ({
      async authenticate() {
        try {
          const request = { encode: bytesOf(`n,,\x01auth=Bearer ${await createToken()}\x01\x01`) };
          const refusal = await saslAuthenticate({ request, response: REFUSAL });
          if (!refusal) return;
          // The broker closes the connection only after this answer. On an open connection kafkajs would go on.
          await saslAuthenticate({ request: { encode: bytesOf('\x01') } }).catch(() => {});
          throw new Error(`refused: ${refusal}`);
        } catch (error) {
          // A connection that broke says nothing about the token.
          const { message, retriable } = error as Error & { retriable?: boolean };
          if (retriable) throw error;
          const broker = `KAFKA_AUTH=iam, broker ${host}:${port}`;
          if (TOO_MANY.test(message))
            throw new KafkaThrottledError(`${broker} takes no more connections for now`, { cause: error });
          throw new KafkaAuthError(`${broker}: ${message}`, { cause: error });
        }
      },
    }),
  };
}

/** A message of the client (RFC 7628, 3.1 and 3.2.3), its length before it. */
function bytesOf(message: string): () => Buffer {
  const length = Buffer.alloc(4);
  length.writeInt32BE(Buffer.byteLength(message));
  return () => Buffer.concat([length, Buffer.from(message)]);
}

/** The broker's answer, after its length: empty for success, otherwise the reason (RFC 7628, 3.2.2). */
const REFUSAL = {
  decode: (answer: Buffer) => answer.subarray(4),
  parse: (reason: Buffer) => reason.toString(),
};
