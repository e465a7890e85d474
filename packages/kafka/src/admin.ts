import type { Admin } from 'kafkajs';
import type { Kafka } from './connect.ts';

/** A log that discards everything, for callers that report an outage themselves, and not each failed attempt. */
export const SILENT = { warn() {}, error() {} };

/** Runs `question` with an admin client that is connected for this call alone. */
export async function withAdmin<Answer>(
  kafka: Pick<Kafka, 'admin'>,
  question: (admin: Admin) => Promise<Answer>,
): Promise<Answer> {
  const admin = kafka.admin();
  try {
    await admin.connect();
    return await question(admin);
  } finally {
    await admin.disconnect();
  }
}
