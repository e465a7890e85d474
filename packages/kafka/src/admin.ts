import type { Admin } from 'kafkajs';
import type { Kafka } from './connect.ts';

/** For whoever tells of an outage by other means than each attempt to reach a broker. */
export const SILENT = { warn() {}, error() {} };

/** Asks something over a connection of its own. */
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
